import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MoeError } from '../../src/common/errors.ts';
import { readGgufHeader, scanGgufHeader } from '../../src/gguf/header.ts';
import { readStoredTensor } from '../../src/gguf/tensor-data.ts';
import { caught, f32, gguf, kv, scratch, str, tensorInfo, u32, u64, u8 } from './build.ts';
import type { Parts } from './build.ts';

const { file } = scratch();
const ARCH = kv.text('general.architecture', 'llama');

/** The error that reading a file with these bytes gives. */
function errorOf(bytes: Uint8Array): MoeError {
  const error = caught(() => readGgufHeader(file(bytes)));
  if (!(error instanceof MoeError)) throw new Error(`expected a MoeError, got ${String(error)}`);
  return error;
}

function codeOf(parts: Parts): string {
  return errorOf(gguf(parts)).code;
}

describe('a whole file', () => {
  const data = Buffer.concat(Array.from({ length: 32 }, (_, i) => f32(i)));
  const path = file(
    gguf({
      keys: [
        ARCH,
        kv.u32('llama.block_count', 40),
        kv.u64('big', 2n ** 60n),
        kv.f32('eps', 1e-5),
        kv.bool('flag', 1),
        kv.texts('names', ['a', '', 'ü', '__proto__']),
        kv.floats('scores', [0.5, -1]),
        kv.text('__proto__', 'a key like any other'),
        Buffer.concat([str('nested'), u32(9), u32(9), u64(1), u32(0), u64(2), u8(7), u8(8)]),
      ],
      tensors: [tensorInfo('blk.0.ffn_gate_inp.weight', [4, 8], 0, 0)],
      data,
    }),
  );
  const header = readGgufHeader(path);

  it('gives metadata of every kind', () => {
    expect(header.version).toBe(3);
    expect(header.metadata.get('llama.block_count')).toBe(40);
    expect(header.metadata.get('big')).toBe(2n ** 60n);
    expect(header.metadata.get('eps')).toBe(Math.fround(1e-5));
    expect(header.metadata.get('flag')).toBe(true);
    expect(header.metadata.get('names')).toEqual({
      kind: 'strings',
      elementType: 'STRING',
      values: ['a', '', 'ü', '__proto__'],
    });
    expect(header.metadata.get('scores')).toEqual({
      kind: 'numbers',
      elementType: 'FLOAT32',
      values: new Float32Array([0.5, -1]),
    });
    expect(header.metadata.get('__proto__')).toBe('a key like any other');
    expect(header.metadata.get('nested')).toMatchObject({
      kind: 'arrays',
      values: [{ elementType: 'UINT8', values: new Uint8Array([7, 8]) }],
    });
    expect(header.metadataTypes.get('names')).toBe('ARRAY[STRING]');
    expect(header.metadataTypes.get('big')).toBe('UINT64');
    expect(header.notes).toEqual([]);
  });

  it('gives tensors with row-major shape and absolute offset', () => {
    const tensor = header.tensors.get('blk.0.ffn_gate_inp.weight');
    expect(tensor).toMatchObject({ shape: [8, 4], elements: 32, bytes: 128, offset: header.dataStart });
    expect(header.dataStart % 32).toBe(0);
    if (tensor === undefined) throw new Error('no tensor');
    expect(readStoredTensor(tensor)[7 * 4 + 3]).toBe(31);
  });

  it('reads version 2 the same way', () => {
    expect(readGgufHeader(file(gguf({ version: 2, keys: [ARCH] }))).version).toBe(2);
  });

  it('honours another alignment', () => {
    const bytes = gguf({
      keys: [kv.u32('general.alignment', 256)],
      tensors: [tensorInfo('a', [1], 0, 0), tensorInfo('b', [1], 0, 256)],
      alignment: 256,
      data: Buffer.concat([f32(1), Buffer.alloc(252), f32(2)]),
    });
    const read = readGgufHeader(file(bytes));
    expect(read.alignment).toBe(256);
    expect([...read.tensors.values()].map((t) => readStoredTensor(t)[0])).toEqual([1, 2]);
  });

  it('notes gaps, trailing bytes and text that is not UTF-8', () => {
    const bytes = gguf({
      keys: [kv.text('broken', Buffer.from([0x61, 0xff])), kv.text('honest', '\ufffd')],
      tensors: [tensorInfo('a', [1], 0, 64)],
      data: Buffer.alloc(64 + 4 + 100),
    });
    const codes = readGgufHeader(file(bytes)).notes.map((note) => `${note.code} ${note.field ?? ''}`.trim());
    expect(codes).toEqual(['gguf-not-utf8 broken', 'gguf-holes', 'gguf-trailing']);
  });
});

describe('refusals', () => {
  it.each<[string, Parts, string]>([
    ['another format', { magic: 'PK\u0003\u0004' }, 'not-gguf'],
    ['GGML of 2022', { magic: 'lmgg' }, 'gguf-old-format'],
    ['version 1', { version: 1 }, 'gguf-version'],
    ['version 4', { version: 4 }, 'gguf-version'],
    ['big endian', { version: 0x03000000 }, 'gguf-big-endian'],
    ['too many keys', { keyCount: 100_001 }, 'gguf-too-many'],
    ['too many tensors', { tensorCount: 2n ** 63n }, 'gguf-too-many'],
    ['a key twice', { keys: [ARCH, ARCH] }, 'gguf-duplicate-key'],
    ['an empty key', { keys: [kv.u32('', 1)] }, 'gguf-name'],
    ['a key that is not UTF-8', { keys: [Buffer.concat([str(Buffer.from([0xff])), u32(4), u32(1)])] }, 'gguf-name'],
    ['an unknown value type', { keys: [Buffer.concat([str('k'), u32(13)])] }, 'gguf-value-type'],
    ['an unknown element type', { keys: [Buffer.concat([str('k'), u32(9), u32(99), u64(0)])] }, 'gguf-value-type'],
    ['a boolean of 2', { keys: [kv.bool('k', 2)] }, 'gguf-bool'],
    ['an alignment of 33', { keys: [kv.u32('general.alignment', 33)] }, 'gguf-alignment'],
    ['an alignment of 0', { keys: [kv.u32('general.alignment', 0)] }, 'gguf-alignment'],
    ['an alignment that is text', { keys: [kv.text('general.alignment', '32')] }, 'gguf-alignment'],
    [
      'a tensor twice',
      { tensors: [tensorInfo('t', [1], 0, 0), tensorInfo('t', [1], 0, 32)], data: Buffer.alloc(64) },
      'gguf-duplicate-tensor',
    ],
    [
      'five dimensions',
      { tensors: [tensorInfo('t', [1, 1, 1, 1, 1], 0, 0)], data: Buffer.alloc(64) },
      'gguf-dimensions',
    ],
    ['a size beyond 2^53', { tensors: [tensorInfo('t', [2n ** 40n, 2n ** 40n], 0, 0)] }, 'gguf-dimensions'],
    ['an unknown tensor type', { tensors: [tensorInfo('t', [32], 99, 0)] }, 'gguf-tensor-type'],
    ['a removed tensor type', { tensors: [tensorInfo('t', [32], 31, 0)] }, 'gguf-tensor-type'],
    [
      'a row that is no multiple of the block',
      { tensors: [tensorInfo('t', [33], 2, 0)], data: Buffer.alloc(64) },
      'gguf-row-length',
    ],
    ['an unaligned offset', { tensors: [tensorInfo('t', [1], 0, 4)], data: Buffer.alloc(64) }, 'gguf-offset'],
    ['an offset beyond 2^53', { tensors: [tensorInfo('t', [1], 0, 2n ** 63n)] }, 'gguf-offset'],
    ['data beyond the end', { tensors: [tensorInfo('t', [1024], 0, 0)], data: Buffer.alloc(64) }, 'gguf-truncated'],
    [
      'tensors that overlap',
      { tensors: [tensorInfo('a', [32], 0, 0), tensorInfo('b', [32], 0, 64)], data: Buffer.alloc(256) },
      'gguf-overlap',
    ],
    [
      'tensors at one place',
      { tensors: [tensorInfo('a', [8], 0, 0), tensorInfo('b', [8], 0, 0)], data: Buffer.alloc(64) },
      'gguf-overlap',
    ],
  ])('%s', (_name, parts, code) => {
    expect(codeOf(parts)).toBe(code);
  });

  it('deep nesting', () => {
    const level = (inner: Buffer): Buffer => Buffer.concat([u32(9), u64(1), inner]);
    const value = level(level(level(level(level(Buffer.concat([u32(0), u64(0)]))))));
    expect(codeOf({ keys: [Buffer.concat([str('k'), u32(9), value])] })).toBe('gguf-depth');
  });

  it('claims that the file cannot hold, before memory is taken', () => {
    const claims: Buffer[] = [
      Buffer.concat([str('k'), u32(8), u64(2n ** 62n)]),
      Buffer.concat([str('k'), u32(8), u64(2n ** 26n)]),
      Buffer.concat([str('k'), u32(9), u32(8), u64(2n ** 62n)]),
      Buffer.concat([str('k'), u32(9), u32(6), u64(2n ** 62n)]),
      Buffer.concat([str('k'), u32(9), u32(9), u64(2n ** 31n)]),
      u64(2n ** 64n - 1n),
    ];
    const before = process.memoryUsage().arrayBuffers;
    for (const claim of claims) expect(codeOf({ keys: [claim] })).toBe('gguf-truncated');
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32 * 1024 * 1024);
  });

  it('names file, byte, key and tensor', () => {
    const error = errorOf(
      gguf({ keys: [ARCH, kv.u32('llama.block_count', 1)], tensors: [tensorInfo('blk.0.x', [1], 77, 0)] }),
    );
    expect(error.kind).toBe('input');
    expect(error.place).toMatchObject({
      tensor: 'blk.0.x',
      details: { keysRead: 2, keysDeclared: 2, tensorsRead: 0, tensorsDeclared: 1 },
    });
    expect(error.message).toContain('blk.0.x');
    expect(error.message).toContain(error.place.file);
    expect(error.place.byte).toBeGreaterThan(24);
    expect(errorOf(gguf({ keys: [kv.bool('some.key', 9)] })).place.field).toBe('some.key');
  });

  it('a Git LFS pointer, an empty file, a folder and a missing file', () => {
    expect(errorOf(Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:0\n')).code).toBe(
      'git-lfs-pointer',
    );
    expect(errorOf(Buffer.alloc(0)).code).toBe('not-gguf');
    expect(caught(() => readGgufHeader('.'))).toMatchObject({ code: 'gguf-unreadable' });
    expect(caught(() => readGgufHeader('./no-such-file.gguf'))).toMatchObject({ code: 'file-not-found' });
  });
});

describe('a cut file', () => {
  const whole = readFileSync(new URL('./fixtures/models/qwen2.gguf', import.meta.url));
  const all = readGgufHeader(file(whole));

  it('is an error at every length, and keeps what was parsed before', () => {
    let keys = 0;
    let tensors = 0;
    for (let length = 24; length < whole.length; length += 29) {
      const scan = scanGgufHeader(file(whole.subarray(0, length), 'cut.gguf'));
      expect(scan.error?.code).toBe('gguf-truncated');
      expect(scan.metadata.size).toBeGreaterThanOrEqual(keys);
      expect(scan.tensors.size).toBeGreaterThanOrEqual(tensors);
      keys = scan.metadata.size;
      tensors = scan.tensors.size;
      for (const [key, value] of scan.metadata) expect(value).toEqual(all.metadata.get(key));
    }
    expect([keys, tensors]).toEqual([all.metadata.size, all.tensors.size]);
  });

  it('does not invent where data lies when the tensor table is cut', () => {
    const scan = scanGgufHeader(file(whole.subarray(0, all.dataStart - 100), 'cut.gguf'));
    const [tensor] = scan.tensors.values();
    expect(tensor?.offset).toBe(-1);
    if (tensor !== undefined) expect(caught(() => readStoredTensor(tensor))).toMatchObject({ code: 'gguf-truncated' });
  });
});

describe('metadata larger than any fixed window', () => {
  // As field report G3-12: 300,000 tokens push the rest beyond 8 MiB; hyper-parameters come after them.
  const count = 300_000;
  const tokens = Array.from({ length: count }, (_, i) => `token-number-${String(i).padStart(7, '0')}`);
  const bytes = gguf({
    keys: [
      ARCH,
      kv.texts('tokenizer.ggml.tokens', tokens),
      Buffer.concat([str('tokenizer.ggml.scores'), u32(9), u32(6), u64(count), Buffer.alloc(4 * count)]),
      kv.text('long', 'x'.repeat(3_000_000)),
      kv.u32('llama.block_count', 40),
      kv.u32('llama.expert_count', 8),
      kv.u32('llama.expert_used_count', 2),
    ],
    tensors: [tensorInfo('blk.0.ffn_gate_inp.weight', [4, 8], 0, 0)],
    data: Buffer.concat(Array.from({ length: 32 }, (_, i) => f32(i))),
  });

  it('is read whole, in linear time', () => {
    const path = file(bytes);
    const begin = performance.now();
    const header = readGgufHeader(path);
    expect(performance.now() - begin).toBeLessThan(3_000);
    expect(
      ['llama.block_count', 'llama.expert_count', 'llama.expert_used_count'].map((key) => header.metadata.get(key)),
    ).toEqual([40, 8, 2]);
    const read = header.metadata.get('tokenizer.ggml.tokens');
    expect(typeof read === 'object' && read.kind === 'strings' ? read.values[count - 1] : undefined).toBe(
      tokens[count - 1],
    );
    expect(header.metadata.get('long')).toHaveLength(3_000_000);
    const tensor = header.tensors.get('blk.0.ffn_gate_inp.weight');
    if (tensor === undefined) throw new Error('no tensor');
    expect(readStoredTensor(tensor)[31]).toBe(31);
  });
});

describe('hostile bytes', () => {
  const seeds = ['mixtral', 'phi3_longrope'].map((name) =>
    readFileSync(new URL(`./fixtures/models/${name}.gguf`, import.meta.url)),
  );

  /** Either a header comes back or a MoeError of kind input: never another exception. */
  function survives(bytes: Uint8Array): void {
    const error = caught(() => scanGgufHeader(file(bytes, 'fuzz.gguf')));
    if (error !== undefined) expect(error).toMatchObject({ name: 'MoeError', kind: 'input' });
  }

  it('are survived when bytes of a real header change', () => {
    const edits = fc.array(fc.tuple(fc.nat(2_500), fc.constantFrom(0, 1, 2, 9, 127, 128, 254, 255)), {
      minLength: 1,
      maxLength: 6,
    });
    fc.assert(
      fc.property(fc.constantFrom(...seeds), edits, (seed, changes) => {
        const bytes = Buffer.from(seed);
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        survives(bytes);
      }),
      { numRuns: 150 },
    );
  });

  it('are survived when 64-bit lengths change', () => {
    const value = fc.oneof(
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      fc.constantFrom(0n, 1n, 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n),
    );
    fc.assert(
      fc.property(fc.constantFrom(...seeds), fc.nat(2_000), value, (seed, at, length) => {
        const bytes = Buffer.from(seed);
        bytes.writeBigUInt64LE(length, Math.min(at, bytes.length - 8));
        survives(bytes);
      }),
      { numRuns: 100 },
    );
  });

  it('are survived after a right magic', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(3), fc.nat(3), (rest, keys, tensors) => {
        survives(Buffer.concat([Buffer.from('GGUF'), u32(3), u64(tensors), u64(keys), rest]));
      }),
      { numRuns: 100 },
    );
  });
});
