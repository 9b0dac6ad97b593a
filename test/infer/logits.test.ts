/** moe logits against transformers' logits: every tiny family, stories260K's siblings, the real SmolLM2 as folder and GGUF. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { cli, errorOf, scratch } from '../cli/helpers.ts';
import { sharedFolder, smollm2Folder, smollm2Gguf } from '../score/models.ts';
import { bundleInfer, root } from './entry.ts';

interface Position {
  readonly argmax: number;
  readonly top: readonly (readonly [number, number])[];
}
interface Variant {
  readonly argmax: readonly number[];
  readonly top20: readonly { readonly ids: readonly number[]; readonly values: readonly number[] }[];
}
type Prompts = Record<string, { text: string; ids: number[]; f32: Variant; gguf_f32: Variant }>;

let inferEntry = '';
beforeAll(async () => {
  inferEntry = await bundleInfer();
}, 60_000);

async function logits(...argv: string[]): Promise<{ ids: number[]; positions: Position[] }> {
  const ran = await cli(['logits', ...argv, '--json'], {
    inferEntry,
    env: { MOE_CACHE: path.join(root, '.cache', 'gguf') },
  });
  expect({ code: ran.code, err: ran.code === 0 ? '' : ran.err }).toEqual({ code: 0, err: '' });
  return ran.json() as unknown as { ids: number[]; positions: Position[] };
}

function agree(positions: readonly Position[], golden: Variant, within: number): void {
  expect(positions.map(({ argmax }) => argmax)).toEqual(golden.argmax);
  golden.top20.forEach(({ ids, values }, i) => {
    const top = positions[i]?.top ?? [];
    expect(top.map(([, value]) => value).every((value, n, all) => n === 0 || value <= (all[n - 1] ?? 0))).toBe(true);
    const found = new Map(top);
    ids.slice(0, 10).forEach((id, n) => {
      expect(Math.abs((found.get(id) ?? Number.NaN) - (values[n] ?? 0))).toBeLessThan(within);
    });
  });
}

// Processes start slowly on a busy machine.
vi.setConfig({ testTimeout: 120_000 });

describe('moe logits', () => {
  it('equals the fixture of a family, ids given', async () => {
    const folder = path.join(root, 'test/forward/fixtures/qwen2_moe');
    const golden = JSON.parse(fs.readFileSync(path.join(folder, 'expected_logits.json'), 'utf8')) as {
      sequences: number[][];
      logits: number[][][];
    };
    const ids = golden.sequences[0] ?? [];
    const ran = await logits(folder, '--ids', ids.join(), '--top', '1000');
    expect(ran.ids).toEqual(ids);
    golden.logits[0]?.forEach((row, i) => {
      const found = new Map(ran.positions[i]?.top);
      expect(found.size).toBe(row.length);
      row.forEach((value, id) => expect(Math.abs((found.get(id) ?? Number.NaN) - value)).toBeLessThan(1e-4));
    });
  });

  it('needs a text or ids, ids of the vocabulary, and a model that runs', async () => {
    const folder = path.join(root, 'test/forward/fixtures/llama');
    expect(errorOf(await cli(['logits', folder, '--json'], { inferEntry }))).toMatchObject({ code: 'text-or-ids' });
    expect(errorOf(await cli(['logits', folder, '--ids', '1,x', '--json'], { inferEntry }))).toMatchObject({
      code: 'bad-ids',
    });
    const outside = await cli(['logits', folder, '--ids', '1,999999', '--json'], { inferEntry });
    expect(outside.code).toBe(3);
    expect(errorOf(outside)).toMatchObject({ code: 'token-out-of-range' });
    const [empty, remove] = scratch();
    fs.copyFileSync(path.join(folder, 'config.json'), path.join(empty, 'config.json'));
    const bare = await cli(['logits', empty, '--ids', '1', '--json'], { inferEntry });
    expect(bare.code).toBe(3);
    remove();
    const gone = await cli(['logits', folder, '--ids', '1', '--json'], { inferEntry: '/nowhere/infer.js' });
    expect(errorOf(gone)).toMatchObject({ code: 'infer-entry-missing' });
  });

  const goldenFile = sharedFolder('data', 'goldens', 'smollm2-135m.logits.json.gz');
  const prompts =
    goldenFile === null
      ? {}
      : (JSON.parse(gunzipSync(fs.readFileSync(goldenFile)).toString('utf8')) as { prompts: Prompts }).prompts;

  it.skipIf(smollm2Folder === null || goldenFile === null)('SmolLM2, folder', async () => {
    for (const { text, ids, f32 } of Object.values(prompts)) {
      const ran = await logits(smollm2Folder ?? '', '--text', text);
      expect(ran.ids).toEqual(ids);
      agree(ran.positions, f32, 1e-3);
    }
  });

  it.skipIf(smollm2Gguf === null || goldenFile === null)('SmolLM2, GGUF', async () => {
    for (const { ids, gguf_f32 } of Object.values(prompts)) {
      const ran = await logits(smollm2Gguf ?? '', '--ids', ids.join());
      agree(ran.positions, gguf_f32, 1e-3);
    }
  });
});
