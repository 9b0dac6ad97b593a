import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import {
  DTYPES,
  SafetensorsWriter,
  encodeHeader,
  headerOfBytes,
  openSafetensors,
  readHeader,
  referenceOrder,
  tensorBytes,
} from '../src/index.ts';
import type { Dtype, TensorSpec } from '../src/index.ts';
import { anyText, errorOf, pythonWith, rejectionOf, runPython, temporaryFolder } from './helpers.ts';

const folder = temporaryFolder();
afterAll(folder.remove);
let count = 0;
const fresh = (): string => join(folder.path, `w${String(count++)}.safetensors`);

const specs: readonly TensorSpec[] = [
  { name: 'a', dtype: 'BF16', shape: [2, 3] },
  { name: 'none', dtype: 'F32', shape: [0, 7] },
  { name: 'b', dtype: 'U8', shape: [] },
];

const anySpecs = fc.uniqueArray(
  fc.record({
    name: anyText(10).filter((name) => name !== '__metadata__'),
    dtype: fc.constantFrom<Dtype>(...DTYPES),
    // A multiple of four elements is a whole number of bytes in every dtype.
    shape: fc.array(fc.nat(4), { maxLength: 3 }).map((dims) => [...dims, 4]),
  }),
  { selector: (spec) => spec.name, maxLength: 8 },
);

describe('encodeHeader', () => {
  test('the bytes of the reference', () => {
    // serialize({"test": TensorInfo {F32, [2, 2], …}}) of the reference's own test_serialization family.
    const { bytes, dataBytes } = encodeHeader([{ name: 'attn.0', dtype: 'F32', shape: [1, 2, 3] }]);
    expect(bytes.toString('latin1')).toBe(
      '@\0\0\0\0\0\0\0{"attn.0":{"dtype":"F32","shape":[1,2,3],"data_offsets":[0,24]}}',
    );
    expect(dataBytes).toBe(24);
  });

  test('offsets follow the given order', () => {
    const { offsets, dataBytes } = encodeHeader(specs);
    expect([...offsets]).toEqual([
      ['a', { begin: 0, end: 12 }],
      ['none', { begin: 12, end: 12 }],
      ['b', { begin: 12, end: 13 }],
    ]);
    expect(dataBytes).toBe(13);
  });

  test('alignment and padding are of the data section', () => {
    for (const align of [8, 64, 4096]) expect(encodeHeader(specs, { align }).bytes.length % align).toBe(0);
    expect(encodeHeader(specs, { align: 1 }).bytes.at(-1)).toBe(0x7d);
    expect(encodeHeader(specs, { padTo: 4096 }).bytes.length).toBe(4096);
    expect(encodeHeader(specs, { padTo: 1001 }).bytes.length).toBe(1001);
    const { bytes } = encodeHeader(specs, { padTo: 1001 });
    expect(headerOfBytes(Buffer.concat([bytes, Buffer.alloc(13)])).dataStart).toBe(1001);
    expect(errorOf(() => encodeHeader(specs, { padTo: 50 })).code).toBe('header-does-not-fit');
    expect(errorOf(() => encodeHeader(specs, { align: 0 })).code).toBe('invalid-argument');
  });

  test('metadata: absent, empty, from an object or a Map', () => {
    const text = (options: Parameters<typeof encodeHeader>[1]): string =>
      encodeHeader([], options).bytes.toString('latin1', 8).trimEnd();
    expect(text({})).toBe('{}');
    expect(text({ metadata: {} })).toBe('{"__metadata__":{}}');
    expect(text({ metadata: { format: 'pt' } })).toBe('{"__metadata__":{"format":"pt"}}');
    expect(text({ metadata: new Map([['__proto__', 'x"\u0001']]) })).toBe(
      '{"__metadata__":{"__proto__":"x\\"\\u0001"}}',
    );
    expect(errorOf(() => encodeHeader([], { metadata: { a: '\ud800' } })).code).toBe('invalid-metadata');
  });

  test('refusals', () => {
    const u8 = (name: string): TensorSpec => ({ name, dtype: 'U8', shape: [1] });
    expect(errorOf(() => encodeHeader([u8('a'), u8('a')])).code).toBe('duplicate-key');
    expect(errorOf(() => encodeHeader([u8('__metadata__')])).code).toBe('invalid-tensor-name');
    expect(errorOf(() => encodeHeader([u8('\udc00')])).code).toBe('invalid-tensor-name');
    expect(errorOf(() => encodeHeader([{ name: 'a', dtype: 'F4', shape: [3] }])).tensor).toBe('a');
    const large: TensorSpec = { name: 'a', dtype: 'U8', shape: [2 ** 53 - 1] };
    expect(errorOf(() => encodeHeader([large, u8('b')])).code).toBe('offset-too-large');
    expect(errorOf(() => encodeHeader([], { padTo: 8 + 100_000_001 })).code).toBe('header-too-large');
  });

  test('whatever is encoded reads back', () => {
    fc.assert(
      fc.property(anySpecs, fc.dictionary(fc.string(), fc.string(), { maxKeys: 3 }), (list, metadata) => {
        const { bytes, offsets, dataBytes } = encodeHeader(list, { metadata });
        const header = headerOfBytes(Buffer.concat([bytes, Buffer.alloc(dataBytes)]));
        expect([...header.tensors.keys()]).toEqual(list.map((spec) => spec.name));
        for (const spec of list) {
          const info = header.tensors.get(spec.name);
          expect(info).toEqual({ ...spec, ...offsets.get(spec.name) });
        }
        expect(Object.fromEntries(header.metadata)).toEqual({ ...metadata });
      }),
      { numRuns: 200 },
    );
  });
});

describe('SafetensorsWriter', () => {
  test('tensors in order; empty ones may be left out', async () => {
    const path = fresh();
    const writer = await SafetensorsWriter.create(path, specs, { metadata: { format: 'pt' } });
    await writer.writeTensor('a', Buffer.from('abcdefghijkl'));
    await writer.writeTensor('b', Buffer.from('z'));
    await writer.finish();
    const file = await openSafetensors(path);
    expect(Buffer.from(await file.readTensor('a')).toString()).toBe('abcdefghijkl');
    expect(Buffer.from(await file.readTensor('b')).toString()).toBe('z');
    expect(file.header.metadata.get('format')).toBe('pt');
  });

  test('any chunking gives the same file', async () => {
    await fc.assert(
      fc.asyncProperty(anySpecs, fc.array(fc.nat(50), { maxLength: 10 }), async (list, sizes) => {
        const { bytes, dataBytes } = encodeHeader(list);
        const data = Buffer.from(Array.from({ length: dataBytes }, (_, i) => (i * 37) & 255));
        const path = fresh();
        const writer = await SafetensorsWriter.create(path, list, { fsync: false });
        let at = 0;
        for (const size of sizes) {
          const chunk = data.subarray(at, at + size);
          await writer.write(chunk);
          at += chunk.length;
          expect(writer.bytesWritten).toBe(at);
        }
        await writer.write(data.subarray(at));
        await writer.finish();
        expect(readFileSync(path).equals(Buffer.concat([bytes, data]))).toBe(true);
      }),
      { numRuns: 30 },
    );
  });

  test('too few bytes are not finished, too many not written', async () => {
    const path = fresh();
    const writer = await SafetensorsWriter.create(path, specs);
    await writer.write(Buffer.alloc(12));
    const few = await rejectionOf(writer.finish());
    expect([few.code, few.details]).toEqual(['write-size', { dataBytes: 13, given: 12 }]);
    expect((await rejectionOf(writer.write(Buffer.alloc(2)))).code).toBe('write-size');
    await writer.write(Buffer.alloc(1));
    await writer.finish();
    await readHeader(path);
    expect((await rejectionOf(writer.write(Buffer.alloc(0)))).code).toBe('writer-closed');
    await writer.abort();
    expect(existsSync(path)).toBe(true);
  });

  test('tensors out of order, unknown or of the wrong size', async () => {
    const writer = await SafetensorsWriter.create(fresh(), specs);
    expect((await rejectionOf(writer.writeTensor('b', Buffer.alloc(1)))).code).toBe('write-order');
    expect((await rejectionOf(writer.writeTensor('a', Buffer.alloc(11)))).code).toBe('write-size');
    expect((await rejectionOf(writer.writeTensor('c', Buffer.alloc(1)))).code).toBe('tensor-not-found');
    await writer.write(Buffer.alloc(4));
    expect((await rejectionOf(writer.writeTensor('a', Buffer.alloc(12)))).code).toBe('write-order');
    await writer.write(Buffer.alloc(8));
    await writer.writeTensor('none', Buffer.alloc(0));
    await writer.writeTensor('b', Buffer.alloc(1));
    await writer.finish();
  });

  test('two writes at once are refused, not mixed', async () => {
    const writer = await SafetensorsWriter.create(fresh(), specs);
    const first = writer.write(Buffer.alloc(6));
    expect((await rejectionOf(writer.write(Buffer.alloc(6)))).code).toBe('write-order');
    await first;
    await writer.abort();
  });

  test('abort removes the file; an existing one is not overwritten unasked', async () => {
    const path = fresh();
    const writer = await SafetensorsWriter.create(path, specs);
    await writer.write(Buffer.alloc(5));
    await writer.abort();
    expect(existsSync(path)).toBe(false);
    writeFileSync(path, 'precious');
    const error = await rejectionOf(SafetensorsWriter.create(path, specs));
    expect([error.code, error.details]).toEqual(['io-error', { systemCode: 'EEXIST' }]);
    expect(readFileSync(path, 'utf8')).toBe('precious');
    const again = await SafetensorsWriter.create(path, [], { overwrite: true });
    await again.finish();
    expect((await readHeader(path)).tensors.size).toBe(0);
  });

  test('a folder that does not exist', async () => {
    const error = await rejectionOf(SafetensorsWriter.create(join(folder.path, 'no', 'x.safetensors'), specs));
    expect(error.code).toBe('file-not-found');
  });
});

describe('Python', () => {
  const all: TensorSpec[] = [
    ...DTYPES.flatMap((dtype) => [
      { name: `z.${dtype}`, dtype, shape: [2, 4] },
      { name: `é.${dtype}`, dtype, shape: [4] },
      { name: `\uffff.${dtype}`, dtype, shape: [0, 4] },
      { name: `𝄞.${dtype}`, dtype, shape: [1, 1, 4] },
    ]),
    { name: '', dtype: 'I32', shape: [] },
    { name: '__proto__', dtype: 'I32', shape: [1] },
    { name: 'q"\\\n\u0001\u007f/', dtype: 'I32', shape: [1] },
  ];
  const fill = (spec: TensorSpec, i: number): Buffer => Buffer.alloc(tensorBytes(spec.dtype, spec.shape), 65 + i);

  test('referenceOrder + encodeHeader write the bytes of safetensors.serialize', (context) => {
    const python = pythonWith(['safetensors']);
    if (python === undefined) return context.skip();
    const script = `
import sys, json, ctypes, safetensors
spec = json.load(sys.stdin)
tensors, alive = {}, []
for t in spec["tensors"]:
    data = bytes.fromhex(t["data"])
    if hasattr(safetensors, "TensorSpec"):
        alive.append(ctypes.create_string_buffer(data, max(1, len(data))))
        tensors[t["name"]] = safetensors.TensorSpec(
            dtype=t["py"], shape=t["shape"], data_ptr=ctypes.addressof(alive[-1]), data_len=len(data))
    else:
        tensors[t["name"]] = {"dtype": t["py"], "shape": t["shape"], "data": data}
sys.stdout.write(bytes(safetensors.serialize(tensors, spec["metadata"])).hex())
`;
    // The names that Python's side gives to the dtypes, as far as it takes them.
    const python_names: Partial<Record<Dtype, string>> = {
      BOOL: 'bool',
      U8: 'uint8',
      I8: 'int8',
      F8_E5M2: 'float8_e5m2',
      F8_E4M3: 'float8_e4m3fn',
      F8_E8M0: 'float8_e8m0fnu',
      F8_E4M3FNUZ: 'float8_e4m3fnuz',
      F8_E5M2FNUZ: 'float8_e5m2fnuz',
      I16: 'int16',
      U16: 'uint16',
      F16: 'float16',
      BF16: 'bfloat16',
      I32: 'int32',
      U32: 'uint32',
      F32: 'float32',
      C64: 'complex64',
      F64: 'float64',
      I64: 'int64',
      U64: 'uint64',
    };
    const usable = all.filter((spec) => python_names[spec.dtype] !== undefined).reverse();
    for (const metadata of [null, { format: 'pt' }, {}]) {
      const data = new Map(usable.map((spec, i) => [spec.name, fill(spec, i)]));
      const input = usable.map((spec) => ({
        ...spec,
        py: python_names[spec.dtype],
        data: (data.get(spec.name) ?? Buffer.alloc(0)).toString('hex'),
      }));
      const theirs = Buffer.from(runPython(python, script, JSON.stringify({ tensors: input, metadata })), 'hex');
      const ordered = referenceOrder(usable);
      const { bytes } = encodeHeader(ordered, metadata === null ? {} : { metadata });
      const ours = Buffer.concat([bytes, ...ordered.map((spec) => data.get(spec.name) ?? Buffer.alloc(0))]);
      expect(ours.toString('latin1')).toBe(theirs.toString('latin1'));
      expect(headerOfBytes(theirs).tensors.size).toBe(usable.length);
    }
  });

  test('every dtype that we write, Python reads with the same bytes', async (context) => {
    const python = pythonWith(['safetensors']);
    if (python === undefined) return context.skip();
    const path = fresh();
    const writer = await SafetensorsWriter.create(path, all, { align: 64, metadata: { format: 'pt', k: 'é' } });
    for (const [i, spec] of all.entries()) await writer.writeTensor(spec.name, fill(spec, i));
    await writer.finish();
    const script = `
import sys, json
from safetensors import deserialize, safe_open
path = sys.stdin.read()
with open(path, "rb") as f:
    found = {name: [t["dtype"], t["shape"], bytes(t["data"]).hex()] for name, t in deserialize(f.read())}
with safe_open(path, framework="np") as f:
    print(json.dumps([found, f.metadata(), sorted(f.keys())]))
`;
    const parsed: unknown = JSON.parse(runPython(python, script, path));
    expect(parsed).toEqual([
      Object.fromEntries(all.map((spec, i) => [spec.name, [spec.dtype, spec.shape, fill(spec, i).toString('hex')]])),
      { format: 'pt', k: 'é' },
      all.map((spec) => spec.name).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
    ]);
  });
});
