/** Real and reference checkpoints, where they are at hand: written, proven against their source, undone bit for bit. */
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { revertOutput } from '../../src/revert/index.ts';
import { verifyOutput } from '../../src/verify/index.ts';
import { executePlan, readManifest } from '../../src/write/index.ts';
import { hashes, newFolder, planOf } from '../write/dense.ts';

const MODELS = fileURLToPath(new URL('../../../shared/models/', import.meta.url));
const DENSE = [
  'stories260K',
  'hf-tiny/llama',
  'hf-tiny/llama_sharded',
  'hf-tiny/mistral',
  'hf-tiny/qwen2',
  'hf-tiny/qwen3',
];

describe('reference checkpoints', () => {
  it.each(DENSE)('%s', async (name) => {
    const source = join(MODELS, name);
    if (!existsSync(source)) {
      console.warn(`SKIPPED: ${name} (shared/models is not here)`);
      return;
    }
    for (const changes of [{}, { granularity: 2, experts: 4, top_k: 2 }]) {
      const folder = newFolder();
      const { plan, sources } = await planOf([source], changes);
      await executePlan(plan, sources, join(folder, 'moe'));
      const report = await verifyOutput(join(folder, 'moe'), { sources });
      expect(report.problems).toEqual([]);
      await revertOutput(join(folder, 'moe'), join(folder, 'back'));
      expect(hashes(join(folder, 'back'))).toEqual(hashes(source));
    }
  });
});

/** The digests of every tensor as the gguf package dequantises it, in Hugging Face order, rounded to bf16. */
function compareWithGoldens(tensors: ReadonlyMap<string, readonly string[]>): void {
  const path = fileURLToPath(
    new URL('../../../shared/data/goldens/smollm2-135m.gguf-tensors.json.gz', import.meta.url),
  );
  if (!existsSync(path)) {
    console.warn('SKIPPED: digests of the gguf package (shared/data is not here)');
    return;
  }
  const goldens = JSON.parse(gunzipSync(readFileSync(path)).toString('utf8')) as {
    tensors: { hf: string; bf16_sha256_smol_hf: string }[];
  };
  expect(goldens.tensors).toHaveLength(272);
  for (const { hf, bf16_sha256_smol_hf: golden } of goldens.tensors) {
    for (const name of tensors.has(hf) ? [hf] : [0, 1].map((e) => hf.replace('.mlp.', `.mlp.experts.${String(e)}.`))) {
      expect(tensors.get(name), name).toEqual([golden]);
    }
  }
}

describe('the real SmolLM2-135M as GGUF', () => {
  const gguf = fileURLToPath(new URL('../../.cache/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf', import.meta.url));
  it('is written from its quantised blocks and proven; revert says why it cannot give the GGUF back', async () => {
    if (!existsSync(gguf)) {
      console.warn('SKIPPED: .cache/smollm2 is not here (scripts/fetch-smollm2.mjs fetches it)');
      return;
    }
    const folder = newFolder();
    const out = join(folder, 'moe');
    // Two layers as experts: the path is the same for thirty.
    const { plan, sources } = await planOf([gguf], { experts: 2, layers: [0, 1] });
    await executePlan(plan, sources, out);
    expect((await verifyOutput(out, { sources })).problems).toEqual([]);
    compareWithGoldens(readManifest(join(out, 'moe-manifest.json')).tensors);
    await expect(revertOutput(out, join(folder, 'back'))).rejects.toMatchObject({
      code: 'not-revertible',
      message: expect.stringMatching(/GGUF file, whose quantised blocks do not follow from the values/) as unknown,
    });
    expect(readdirSync(out).length).toBeGreaterThan(3);
    expect(statSync(out).isDirectory()).toBe(true);
  }, 120_000);
});
