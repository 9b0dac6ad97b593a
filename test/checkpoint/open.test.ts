import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { MoeError } from '../../src/common/errors.ts';
import {
  TINY_CONFIG,
  codes,
  failure,
  problem,
  safetensors,
  temporaryFolder,
  tinyDense,
  writeIndex,
  writeJson,
  writeModel,
} from './files.ts';
import type { TestTensor } from './files.ts';

const A: TestTensor = { name: 'a.weight', shape: [2, 2] };
const B: TestTensor = { name: 'b.weight', shape: [3] };
const C: TestTensor = { name: 'c.weight', shape: [1] };
const S1 = 'model-00001-of-00002.safetensors';
const S2 = 'model-00002-of-00002.safetensors';

/** A folder with two shards and the index that belongs to them. */
function sharded(): string {
  const folder = temporaryFolder();
  writeModel(join(folder, S1), [A]);
  writeModel(join(folder, S2), [B, C]);
  writeIndex(folder, { 'a.weight': S1, 'b.weight': S2, 'c.weight': S2 }, 32);
  return folder;
}

describe('a folder with one file', () => {
  it('gives tensors with absolute offsets, the config and the sidecars', async () => {
    const folder = temporaryFolder();
    writeModel(join(folder, 'model.safetensors'), [A, B]);
    writeJson(join(folder, 'config.json'), TINY_CONFIG);
    writeFileSync(join(folder, 'LICENSE'), 'MIT');
    writeFileSync(join(folder, '.gitattributes'), 'x');
    const cp = await openCheckpoint(folder);
    expect(cp).toMatchObject({ format: 'hf', root: folder, planOnly: false, index: null, gguf: null, problems: [] });
    const { a, b } = { a: cp.tensors.get('a.weight'), b: cp.tensors.get('b.weight') };
    expect(a).toMatchObject({ dtype: 'F32', shape: [2, 2], file: 'model.safetensors', bytes: 16 });
    expect(b?.begin).toBe((a?.begin ?? 0) + 16);
    expect((b?.begin ?? 0) + 12).toBe(cp.files[0]?.bytes);
    expect(cp.sidecars.map((s) => s.name)).toEqual(['LICENSE', 'config.json']);
    expect(cp.config?.['hidden_size']).toBe(8);
  });

  it('opens the same folder through config.json', async () => {
    const folder = temporaryFolder();
    writeModel(join(folder, 'model.safetensors'), [A]);
    writeJson(join(folder, 'config.json'), TINY_CONFIG);
    const cp = await openCheckpoint(join(folder, 'config.json'));
    expect([...cp.tensors.keys()]).toEqual(['a.weight']);
    expect(cp.path).toBe(join(folder, 'config.json'));
  });

  it('takes model.safetensors where an index lists other files, as loaders do, and says so', async () => {
    const folder = sharded();
    writeModel(join(folder, 'model.safetensors'), [A]);
    const cp = await openCheckpoint(folder);
    expect([...cp.tensors.keys()]).toEqual(['a.weight']);
    expect(codes(cp.problems, 'warning')).toContain('two-checkpoints');
    const viaIndex = await openCheckpoint(join(folder, 'model.safetensors.index.json'));
    expect(viaIndex.tensors.size).toBe(3);
  });

  it('throws for a single file that is refused, and reports it when asked to be lenient', async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'model.safetensors'), '');
    expect(await failure(() => openCheckpoint(folder))).toMatchObject({ kind: 'input', code: 'empty-file' });
    const cp = await openCheckpoint(folder, { lenient: true });
    expect(codes(cp.problems, 'error')).toEqual(['empty-file']);
    expect(cp.files[0]?.state).toBe('unreadable');
  });

  it('leaves adapters and second copies out, and says so', async () => {
    const folder = sharded();
    writeModel(join(folder, 'adapter_model.safetensors'), [{ name: 'lora.weight', shape: [1] }]);
    writeModel(join(folder, 'consolidated.safetensors'), [{ name: 'layers.0.w', shape: [1] }]);
    const cp = await openCheckpoint(folder);
    expect(cp.tensors.size).toBe(3);
    expect(cp.problems.filter((p) => p.code === 'unlisted-file').map((p) => [p.severity, p.file])).toEqual([
      ['info', 'adapter_model.safetensors'],
      ['info', 'consolidated.safetensors'],
    ]);
  });
});

describe('shards and their index', () => {
  it('is quiet where both agree', async () => {
    const cp = await openCheckpoint(sharded());
    expect(cp.problems).toEqual([]);
    expect(cp.files.map((f) => f.name)).toEqual([S1, S2]);
    expect([...cp.tensors.keys()]).toEqual(['a.weight', 'b.weight', 'c.weight']);
    expect(cp.index?.totalSize).toBe(32);
  });

  it('names a missing shard and the tensors that are lost with it', async () => {
    const folder = sharded();
    rmSync(join(folder, S2));
    const cp = await openCheckpoint(folder);
    expect(problem(cp.problems, 'missing-shard')).toMatchObject({ file: S2, details: { tensorCount: 2 } });
    expect(problem(cp.problems, 'tensors-unreadable').details).toEqual({ tensors: ['b.weight', 'c.weight'], count: 2 });
    expect(cp.files[1]).toMatchObject({ state: 'missing', path: join(folder, S2) });
    expect([...cp.tensors.keys()]).toEqual(['a.weight']);
  });

  it('finds what the index does not know, and what only the index knows', async () => {
    const folder = sharded();
    writeIndex(folder, { 'a.weight': S1, 'b.weight': S2, 'ghost.weight': S1 }, 32);
    const cp = await openCheckpoint(folder);
    expect(problem(cp.problems, 'index-tensor-missing')).toMatchObject({ tensor: 'ghost.weight', file: S1 });
    expect(problem(cp.problems, 'unlisted-tensors')).toMatchObject({ tensor: 'c.weight', file: S2 });
  });

  it('finds a tensor that lies elsewhere, and one that lies twice', async () => {
    const folder = sharded();
    writeModel(join(folder, S2), [A, B]);
    writeIndex(folder, { 'a.weight': S1, 'b.weight': S1 });
    const cp = await openCheckpoint(folder);
    expect(problem(cp.problems, 'duplicate-tensor')).toMatchObject({ tensor: 'a.weight', severity: 'error' });
    expect(cp.tensors.get('a.weight')?.file).toBe(S1);
    // S2 is not in the index at all now, so its new tensor is an unlisted one.
    expect(problem(cp.problems, 'index-wrong-file').tensor).toBe('b.weight');
  });

  it('compares total_size with the bytes that are there', async () => {
    const folder = sharded();
    writeIndex(folder, { 'a.weight': S1, 'b.weight': S2, 'c.weight': S2 }, 33);
    const cp = await openCheckpoint(folder);
    expect(problem(cp.problems, 'index-total-size')).toMatchObject({
      severity: 'warning',
      details: { totalSize: 33, bytes: 32 },
    });
  });

  it('reads shards without an index, and asks for one', async () => {
    const folder = sharded();
    rmSync(join(folder, 'model.safetensors.index.json'));
    const cp = await openCheckpoint(folder);
    expect(cp.tensors.size).toBe(3);
    expect(codes(cp.problems, 'error')).toEqual(['missing-index']);
  });

  it('survives an index that is no JSON, or leads out of the folder', async () => {
    const folder = sharded();
    const index = join(folder, 'model.safetensors.index.json');
    writeFileSync(index, '{"weight_map": {');
    expect(codes((await openCheckpoint(folder)).problems)).toContain('invalid-index-json');
    expect((await failure(() => openCheckpoint(index))).kind).toBe('input');
    writeIndex(folder, { 'a.weight': '../../etc/passwd' });
    const cp = await openCheckpoint(folder);
    expect(codes(cp.problems)).toContain('invalid-index-file-name');
    expect(cp.tensors.size).toBe(3);
  });

  it('calls a whole .tmp beside a whole file a leftover', async () => {
    const folder = sharded();
    writeModel(join(folder, `${S1}.tmp`), [A]);
    const cp = await openCheckpoint(folder);
    expect(problem(cp.problems, 'leftover-file')).toMatchObject({ severity: 'warning', file: `${S1}.tmp` });
    expect(problem(cp.problems, 'leftover-file').message).toContain('whole by its header');
  });

  it('keeps __proto__ and constructor as names like any other', async () => {
    const folder = temporaryFolder();
    const names = ['__proto__', 'constructor', 'toString'];
    writeModel(
      join(folder, S1),
      names.map((name) => ({ name, shape: [1] })),
    );
    writeFileSync(
      join(folder, 'model.safetensors.index.json'),
      `{"metadata":{},"weight_map":{"__proto__":"${S1}","constructor":"${S1}","toString":"${S1}"}}`,
    );
    const cp = await openCheckpoint(folder);
    expect(codes(cp.problems)).toEqual([]);
    expect([...cp.tensors.keys()]).toEqual(names);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });
});

describe('a lone file', () => {
  it('has no config where none fits', async () => {
    const folder = temporaryFolder();
    writeModel(join(folder, 'x.safetensors'), [A]);
    writeJson(join(folder, 'config.json'), TINY_CONFIG);
    const cp = await openCheckpoint(join(folder, 'x.safetensors'));
    expect(cp).toMatchObject({ format: 'safetensors', config: null });
    expect(problem(cp.problems, 'config-not-used').message).toContain('no tensor has a name of the model');
  });

  it('takes the config beside it when the sizes agree, and not when they do not', async () => {
    const folder = temporaryFolder();
    const file = join(folder, 'model.safetensors');
    writeModel(file, tinyDense());
    writeJson(join(folder, 'config.json'), TINY_CONFIG);
    expect((await openCheckpoint(file)).config?.['model_type']).toBe('llama');
    writeJson(join(folder, 'config.json'), { ...TINY_CONFIG, hidden_size: 9 });
    expect((await openCheckpoint(file)).config).toBeNull();
  });

  it('does not lay the whole model’s config over one shard', async () => {
    const folder = sharded();
    writeJson(join(folder, 'config.json'), TINY_CONFIG);
    const cp = await openCheckpoint(join(folder, S1));
    expect(cp.config).toBeNull();
    expect(codes(cp.problems, 'info')).toEqual(['one-shard']);
  });

  it('is known by its content, whatever its name', async () => {
    const folder = temporaryFolder();
    writeModel(join(folder, 'weights.bin'), [A]);
    expect((await openCheckpoint(join(folder, 'weights.bin'))).tensors.size).toBe(1);
  });
});

describe('aliases in __metadata__', () => {
  it.each([
    ['dropped → kept', { 'model.embed_tokens.weight': 'lm_head.weight' }],
    ['kept → dropped', { 'lm_head.weight': 'model.embed_tokens.weight' }],
  ])('finds the embedding of a tied model that stores only lm_head.weight (%s)', async (_, metadata) => {
    const folder = temporaryFolder();
    const tensors = tinyDense().map((t) => (t.name.includes('embed_tokens') ? { ...t, name: 'lm_head.weight' } : t));
    writeModel(join(folder, 'model.safetensors'), tensors, { format: 'pt', ...metadata });
    const cp = await openCheckpoint(folder);
    expect([...cp.aliases]).toEqual([['model.embed_tokens.weight', 'lm_head.weight']]);
  });

  it('takes no free text for an alias', async () => {
    const folder = temporaryFolder();
    writeModel(join(folder, 'model.safetensors'), [A], {
      format: 'pt',
      'a.weight': 'made by hand. Enjoy!',
      note: 'a.weight',
    });
    expect((await openCheckpoint(folder)).aliases.size).toBe(0);
  });
});

describe('what is not a checkpoint', () => {
  it('refuses pickles unread, by name and by content', async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'pytorch_model.bin'), Buffer.from([0x80, 2, 0x63]));
    writeJson(join(folder, 'config.json'), TINY_CONFIG);
    expect(await failure(() => openCheckpoint(folder))).toMatchObject({
      kind: 'input',
      code: 'pickle-refused',
      place: { file: 'pytorch_model.bin' },
    });
    const alone = await failure(() => openCheckpoint(join(folder, 'pytorch_model.bin')));
    expect(alone.code).toBe('pickle-refused');
    expect(String(alone.place['hint'])).toContain('can run any code');
    // A zip archive under a safetensors name.
    writeFileSync(join(folder, 'x.safetensors'), Buffer.concat([Buffer.from('PK\x03\x04'), Buffer.alloc(60, 7)]));
    expect((await failure(() => openCheckpoint(join(folder, 'x.safetensors')))).code).toBe('pickle-refused');
  });

  it('mentions pickles beside safetensors', async () => {
    const folder = sharded();
    writeFileSync(join(folder, 'pytorch_model.bin'), 'x');
    expect(codes((await openCheckpoint(folder)).problems)).toEqual(['pickle-ignored']);
  });

  it('names what it found instead', async () => {
    const folder = temporaryFolder();
    expect((await failure(() => openCheckpoint(join(folder, 'no')))).code).toBe('not-found');
    expect((await failure(() => openCheckpoint(folder))).code).toBe('empty-folder');
    mkdirSync(join(folder, 'transformer'));
    const outer = await failure(() => openCheckpoint(folder));
    expect(outer).toMatchObject({ code: 'no-checkpoint' });
    expect(outer.message).toContain('transformer');
    writeFileSync(join(folder, 'page.html'), '<!doctype html>'.padEnd(64));
    expect((await failure(() => openCheckpoint(join(folder, 'page.html')))).message).toContain('web page');
    writeFileSync(join(folder, 'a.json'), '{"x": 1}');
    expect((await failure(() => openCheckpoint(join(folder, 'a.json')))).code).toBe('unknown-format');
  });

  it('does not wait for a pipe or fall into a circle of links', async () => {
    const folder = temporaryFolder();
    if (process.platform !== 'win32') {
      execFileSync('mkfifo', [join(folder, 'model.safetensors')]);
      expect((await failure(() => openCheckpoint(join(folder, 'model.safetensors')))).code).toBe('not-a-file');
      expect((await failure(() => openCheckpoint(folder))).kind).toBe('input');
    }
    const circle = temporaryFolder();
    symlinkSync('loop.safetensors', join(circle, 'loop.safetensors'));
    expect((await failure(() => openCheckpoint(join(circle, 'loop.safetensors')))).code).toBe('dangling-link');
    expect((await failure(() => openCheckpoint(circle))).kind).toBe('input');
  });

  it('says that a file may not be read', async () => {
    if (process.getuid?.() === 0) {
      process.emitWarning('SKIPPED: root may read everything, so a refused permission cannot be tried');
      return;
    }
    const folder = temporaryFolder();
    writeModel(join(folder, 'model.safetensors'), [A]);
    chmodSync(join(folder, 'model.safetensors'), 0o000);
    expect((await failure(() => openCheckpoint(folder))).code).toBe('permission-denied');
  });

  it('stops when cancelled', async () => {
    const signal = AbortSignal.abort();
    expect(await failure(() => openCheckpoint(sharded(), { signal }))).toMatchObject({ kind: 'cancelled' });
  });
});

describe('config.json', () => {
  const withConfig = (text: string): string => {
    const folder = temporaryFolder();
    writeModel(join(folder, 'model.safetensors'), [A]);
    writeFileSync(join(folder, 'config.json'), text);
    return folder;
  };

  it('is a problem when broken, and the tensors are still listed', async () => {
    const cp = await openCheckpoint(withConfig('{"hidden_size": 8,'));
    expect(cp.tensors.size).toBe(1);
    expect(cp.config).toBeNull();
    expect(problem(cp.problems, 'config-not-json').file).toBe('config.json');
    expect(codes((await openCheckpoint(withConfig('[1]'))).problems)).toEqual(['config-not-json']);
  });

  it('may hold what Python writes', async () => {
    const cp = await openCheckpoint(
      withConfig('\uFEFF{"a": NaN, "b": [-Infinity, Infinity], "c": "NaN -Infinity", "I": 1}'),
    );
    expect(cp.config).toEqual({ a: null, b: [null, null], c: 'NaN -Infinity', I: 1 });
    expect(codes(cp.problems)).toEqual(['config-not-finite']);
  });

  it('may be a Git LFS pointer, which is said once', async () => {
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${'a'.repeat(64)}\nsize 900\n`;
    const cp = await openCheckpoint(withConfig(pointer));
    expect(codes(cp.problems)).toEqual(['git-lfs-pointer']);
    expect(cp.sidecars).toEqual([]);
  });

  it('and the weights: what pulling needs is said against what is free', async () => {
    const pointer = (size: number): string =>
      `version https://git-lfs.github.com/spec/v1\noid sha256:${'b'.repeat(64)}\nsize ${String(size)}\n`;
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'model.safetensors'), pointer(9e15));
    const alone = await failure(() => openCheckpoint(folder));
    expect(alone).toMatchObject({
      code: 'git-lfs-pointer',
      place: { file: 'model.safetensors', details: { neededBytes: 9e15 } },
    });
    expect(alone.place['hint']).toMatch(/git lfs pull.*about 9\.00 PB for 1 file.*are free here, .* too little/);
    const both = sharded();
    writeFileSync(join(both, S1), pointer(3e9));
    writeFileSync(join(both, S2), pointer(4e9));
    const cp = await openCheckpoint(both);
    const found = cp.problems.filter((p) => p.code === 'git-lfs-pointer');
    expect(found.map((p) => p.details?.['neededBytes'])).toEqual([7e9, 7e9]);
    expect(found[0]?.hint).toContain('about 7.00 GB for 2 files');
  });

  it('is refused when nested beyond reason', async () => {
    const deep = `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
    expect(codes((await openCheckpoint(withConfig(deep))).problems)).toEqual(['config-too-deep']);
  });

  it('cannot pollute prototypes', async () => {
    const cp = await openCheckpoint(withConfig('{"__proto__": {"polluted": 1}, "model_type": "llama"}'));
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    expect(cp.config?.['model_type']).toBe('llama');
  });
});

describe('without weights', () => {
  it('plans from config and index: shapes by the family, files by the index', async () => {
    const folder = temporaryFolder();
    writeJson(join(folder, 'config.json'), { ...TINY_CONFIG, torch_dtype: 'bfloat16' });
    const map = Object.fromEntries(tinyDense().map((t, i) => [t.name, i < 5 ? S1 : S2]));
    writeIndex(folder, { ...map, 'model.layers.0.self_attn.rotary_emb.inv_freq': S1 });
    const cp = await openCheckpoint(folder);
    expect(cp.planOnly).toBe(true);
    expect(cp.tensors.get('model.layers.1.mlp.down_proj.weight')).toMatchObject({
      dtype: 'BF16',
      shape: [8, 12],
      file: S2,
      begin: -1,
      bytes: 192,
    });
    expect(cp.tensors.size).toBe(tinyDense().length);
    expect(codes(cp.problems)).toEqual(['plan-only', 'index-tensor-unknown']);
  });

  it('plans from config alone', async () => {
    const folder = temporaryFolder();
    writeJson(join(folder, 'config.json'), TINY_CONFIG);
    const cp = await openCheckpoint(folder);
    expect(cp.planOnly).toBe(true);
    expect(cp.tensors.size).toBe(tinyDense().length);
    expect(codes(cp.problems)).toEqual(['plan-only', 'dtype-assumed']);
  });

  it('does not believe impossible sizes', async () => {
    const folder = temporaryFolder();
    writeJson(join(folder, 'config.json'), { ...TINY_CONFIG, num_hidden_layers: 1e9 });
    expect(codes((await openCheckpoint(folder)).problems)).toContain('config-too-large');
    writeJson(join(folder, 'config.json'), { ...TINY_CONFIG, hidden_size: 2 ** 50, vocab_size: 2 ** 50, head_dim: 4 });
    expect(codes((await openCheckpoint(folder)).problems)).toContain('config-too-large');
  });
});

describe('hostile files', () => {
  it('never fails otherwise than by a MoeError, whatever is changed', async () => {
    const folder = temporaryFolder();
    const whole = safetensors(tinyDense());
    const file = join(folder, 'model.safetensors');
    writeJson(join(folder, 'config.json'), TINY_CONFIG);
    const headerEnd = 8 + Number(whole.readBigUInt64LE(0));
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(headerEnd - 1), fc.nat(255)), { maxLength: 4 }),
        fc.option(fc.nat(whole.length)),
        async (changes, cut) => {
          const bytes = Buffer.from(whole);
          for (const [at, value] of changes) bytes[at] = value;
          writeFileSync(file, bytes);
          if (cut !== null) truncateSync(file, cut);
          try {
            const cp = await openCheckpoint(folder, { lenient: true });
            for (const tensor of cp.tensors.values()) {
              const size = cp.files.find((f) => f.name === tensor.file)?.bytes ?? 0;
              expect(tensor.begin + tensor.bytes).toBeLessThanOrEqual(size);
            }
          } catch (error) {
            if (!(error instanceof MoeError)) throw error;
            expect(error.kind).toBe('input');
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it('takes any JSON for config.json and index without crashing', async () => {
    const folder = sharded();
    await fc.assert(
      fc.asyncProperty(fc.json({ maxDepth: 4 }), fc.json({ maxDepth: 4 }), async (config, index) => {
        writeFileSync(join(folder, 'config.json'), config);
        writeFileSync(join(folder, 'model.safetensors.index.json'), index);
        const cp = await openCheckpoint(folder, { lenient: true }).catch((error: unknown) => {
          if (error instanceof MoeError) return null;
          throw error;
        });
        if (cp !== null) expect(cp.format).toBe('hf');
      }),
      { numRuns: 40 },
    );
  });

  it('does not expand a shard count that only a name claims', async () => {
    const folder = temporaryFolder();
    writeModel(join(folder, 'model-00001-of-999999.safetensors'), [A]);
    const cp = await openCheckpoint(folder);
    expect(cp.files).toHaveLength(1);
    renameSync(join(folder, 'model-00001-of-999999.safetensors'), join(folder, 'model-00001-of-00003.safetensors'));
    expect((await openCheckpoint(folder)).files).toHaveLength(3);
  });
});
