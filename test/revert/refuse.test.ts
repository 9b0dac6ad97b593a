/** What cannot be undone is said tensor by tensor; what is damaged is not passed on. */
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { MoeError } from '../../src/common/errors.ts';
import type { Recipe } from '../../src/recipe/types.ts';
import { planRevert, revertOutput } from '../../src/revert/index.ts';
import { widens } from '../../src/revert/recover.ts';
import { executePlan, readManifest } from '../../src/write/index.ts';
import type { Manifest } from '../../src/write/index.ts';
import { hashes, planOf, writeDense } from '../write/dense.ts';
import type { DenseOptions } from '../write/dense.ts';

async function made(
  changes: Partial<Recipe>,
  options: DenseOptions = {},
): Promise<{ out: string; dest: string; manifest: Manifest }> {
  const dense = writeDense(options);
  const { plan, sources } = await planOf([dense], changes);
  const out = join(dirname(dense), 'moe');
  await executePlan(plan, sources, out);
  return { out, dest: join(dirname(dense), 'back'), manifest: readManifest(join(out, 'moe-manifest.json')) };
}

async function failure(work: Promise<unknown>): Promise<MoeError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof MoeError) return error;
    throw error;
  }
  throw new Error('expected a failure');
}

describe('reasons', () => {
  const cases: [string, Partial<Recipe>, DenseOptions, RegExp, RegExp][] = [
    ['noise', { expert_init: { method: 'noise', std: 0.1, ratio: 1 } }, {}, /gate_proj/, /noise was added/],
    [
      'svd',
      { expert_init: { method: 'svd', rank: 2, scale: 1 } },
      {},
      /gate_proj/,
      /outside its top singular directions/,
    ],
    [
      're-drawn everywhere',
      { experts: 2, expert_init: { method: 'drop', ratio: 0.9, variant: 'paper' } },
      {},
      /gate_proj/,
      /\d+ of its 24 entries along dimension 0 are in no expert any more/,
    ],
    [
      'narrowed',
      { output: { dtype: 'bfloat16', shard_size: 5e9, clone: 'auto' } },
      { dtype: 'F32' },
      /./,
      /rounded from F32 to BF16/,
    ],
    ['odd scale', { granularity: 3, experts: 6, top_k: 3 }, {}, /(?:up|down)_proj/, /scaled by [\d.]+, which rounds/],
    ['gemma', {}, { modelType: 'gemma', config: { head_dim: 4 } }, /norm|embed/, /added, which rounds|scaled by/],
  ];
  it.each(cases)('%s', async (_name, changes, options, tensor, reason) => {
    const { out, dest, manifest } = await made(changes, options);
    const plan = planRevert(manifest);
    expect(plan.possible).toBe(false);
    expect(plan.refusals.some((refusal) => tensor.test(refusal.tensor) && reason.test(refusal.reason))).toBe(true);
    const error = await failure(revertOutput(out, dest));
    expect([error.code, error.kind]).toEqual(['not-revertible', 'input']);
    expect(error.place.details?.['refusalCount']).toBe(plan.refusals.length);
    expect(existsSync(dest)).toBe(false);
    expect(readdirSync(dirname(dest)).filter((name) => name.includes('moe-partial'))).toEqual([]);
  });

  it('names only the tensors concerned: an odd scale spoils one matrix, not the others', async () => {
    const { manifest } = await made({ granularity: 3, experts: 6, top_k: 3 });
    const names = planRevert(manifest).refusals.map(({ tensor }) => tensor);
    expect(names.every((name) => /mlp\.(?:up|down)_proj/.test(name))).toBe(true);
  });

  it('averaged parents: experts of the base come back, the averaged rest does not', async () => {
    const base = writeDense({ seed: 1 });
    const other = writeDense({ seed: 2 });
    const { plan, sources } = await planOf([base, other], {
      parents: [{ path: other, experts: 2 }],
      experts: 4,
      rest: 'average',
    });
    const out = join(dirname(base), 'moe');
    await executePlan(plan, sources, out);
    const manifest = readManifest(join(out, 'moe-manifest.json'));
    for (const parent of [0, 1]) {
      const { refusals } = planRevert(manifest, parent);
      expect(refusals.some(({ tensor, reason }) => /q_proj/.test(tensor) && /averaged/.test(reason))).toBe(true);
      expect(refusals.some(({ tensor }) => /mlp/.test(tensor))).toBe(false);
    }
    expect(() => planRevert(manifest, 2)).toThrow(/made from 2 checkpoint/);
  });

  it('another parent with the base’s rest: both experts are there, the other’s rest is not', async () => {
    // Wide enough that its attention is too large to be kept in the manifest.
    const config = { hidden_size: 256, head_dim: 64 };
    const base = writeDense({ seed: 1, config });
    const other = writeDense({ seed: 2, config });
    const { plan, sources } = await planOf([base, other], { parents: [{ path: other, experts: 2 }], experts: 4 });
    const out = join(dirname(base), 'moe');
    await executePlan(plan, sources, out);
    const back = join(dirname(base), 'back');
    await revertOutput(out, back);
    expect(hashes(back)).toEqual(hashes(base));
    const { refusals } = planRevert(readManifest(join(out, 'moe-manifest.json')), 1);
    expect(
      refusals.some(({ tensor, reason }) => /q_proj/.test(tensor) && /no output tensor was made from it/.test(reason)),
    ).toBe(true);
  });
});

describe('damage', () => {
  it('of an expert, a document or a file’s length stops it; nothing stands under the name', async () => {
    const { out, dest } = await made({ experts: 2 });
    const damage = async (name: string, change: (bytes: Buffer) => Buffer): Promise<MoeError> => {
      const path = join(out, name);
      const bytes = readFileSync(path);
      writeFileSync(path, change(Buffer.from(bytes)));
      try {
        return await failure(revertOutput(out, dest));
      } finally {
        writeFileSync(path, bytes);
        expect(existsSync(dest)).toBe(false);
        expect(readdirSync(dirname(dest)).filter((entry) => entry.includes('moe-partial'))).toEqual([]);
      }
    };
    const flip = (bytes: Buffer): Buffer => {
      bytes[bytes.length - 3] = (bytes[bytes.length - 3] ?? 0) ^ 1;
      return bytes;
    };
    const [first = ''] = readdirSync(out).filter((name) => name.endsWith('.safetensors'));
    const data = await damage(first, flip);
    expect([data.code, data.kind]).toEqual(['revert-digest', 'check']);
    expect(data.place.tensor).toBeTypeOf('string');
    expect((await damage('tokenizer.json', flip)).code).toBe('revert-digest');
    expect((await damage(first, (bytes) => bytes.subarray(0, -4))).code).toBe('output-incomplete');
    expect((await damage('moe-manifest.json', flip)).code).toBe('manifest-damaged');
    await revertOutput(out, dest);
    // And it does not overwrite unasked, nor into itself.
    expect((await failure(revertOutput(out, dest))).code).toBe('output-exists');
    expect((await failure(revertOutput(out, join(out, 'back')))).code).toBe('output-in-source');
    expect((await revertOutput(out, dest, { overwrite: true })).identical).toBe(true);
  });

  it('cancelling leaves nothing', async () => {
    const { out, dest } = await made({});
    expect((await failure(revertOutput(out, dest, { signal: AbortSignal.abort() }))).kind).toBe('cancelled');
    expect(existsSync(dest)).toBe(false);
  });
});

describe('casts', () => {
  it('are undone only where nothing can have been rounded', () => {
    const dtypes = ['F64', 'F32', 'BF16', 'F16'];
    const lossless = dtypes.flatMap((a) => dtypes.filter((b) => widens(a, b)).map((b) => `${a}>${b}`));
    expect(lossless).toEqual([
      'F64>F64',
      'F32>F64',
      'F32>F32',
      'BF16>F64',
      'BF16>F32',
      'BF16>BF16',
      'F16>F64',
      'F16>F32',
      'F16>F16',
    ]);
    expect(widens('U8', 'F32')).toBe(false);
  });
});
