import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { buildPlan } from '../../src/plan/build.ts';
import type { Plan } from '../../src/plan/types.ts';
import { parsedRecipe, planRowPage, planSummary, recipeField, recipeProblem } from '../../src/protocol/planning.ts';
import type { RecipeField } from '../../src/protocol/planning.ts';
import { diagnoseRecipe } from '../../src/recipe/load.ts';
import { RECIPE_SHAPE } from '../../src/recipe/schema.ts';
import { NameReader } from '../../src/view/name-reader.ts';
import { PlanRows, planSummaryOf } from '../../src/view/plan-view.ts';
import { parsedRecipeOf, recipeFields, wireProblemOf } from '../../src/view/recipe-fields.ts';

const llama = join(dirname(fileURLToPath(import.meta.url)), '../forward/fixtures/llama-linear');
const temp = mkdtempSync(join(tmpdir(), 'moe-plan-view-'));
afterAll(() => {
  rmSync(temp, { recursive: true });
});
const facts = { physicalKnown: false, freeBytes: null, planOnly: null, seconds: 0.1 };

async function planOf(text: string): Promise<Plan> {
  const { loaded } = diagnoseRecipe({ text });
  if (loaded === null) throw new Error('recipe is wrong');
  return buildPlan(loaded.recipe, [await openCheckpoint(llama)]);
}

describe('plan view', () => {
  it('fills the protocol, and rows, tensors and files add up', async () => {
    for (const text of [
      'experts: 4',
      'experts: 8\ngranularity: 2\ntop_k: 4\nexpert_init: {method: split, by: norm}',
      'layers: [0]\ntarget: qwen2_moe\nshared_expert: b',
      'expert_init: noise\noutput: {shard_size: 2KB}',
    ]) {
      const plan = await planOf(text);
      const summary = planSummaryOf(plan, facts);
      planSummary.parse(summary);
      const rows = new PlanRows(plan);
      const seen: string[] = [];
      for (const row of summary.rows) {
        const page = rows.page(row.id, 0, 2000);
        planRowPage.parse(page);
        expect([page.total, page.tensors.length]).toEqual([row.tensors, row.tensors]);
        expect(page.tensors.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(row.bytes);
        expect(new Set(page.tensors.map(({ how }) => how))).toEqual(new Set([row.how]));
        expect(rows.page(row.id, 1, 1).tensors).toEqual(page.tensors.slice(1, 2));
        seen.push(...page.tensors.map(({ name }) => name));
      }
      expect(seen.sort()).toEqual(plan.tensors.map(({ name }) => name).sort());
      expect(summary.shards.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(summary.bytes);
      for (const [i, shard] of summary.shards.entries()) {
        expect(shard.parts.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(plan.files[i]?.dataBytes);
        expect([...shard.parts].sort((a, b) => b.bytes - a.bytes)).toEqual(shard.parts);
      }
    }
  });

  it('names slices and their bytes', async () => {
    const plan = await planOf('experts: 4\ngranularity: 2\nscale: none');
    const summary = planSummaryOf(plan, facts);
    expect(summary.headline).toBe('4 experts (2 replicas of 2 slices), top-2');
    const rows = new PlanRows(plan);
    const tensors = summary.rows.flatMap(({ id }) => [...rows.page(id, 0, 2000).tensors]);
    const up = tensors.find(({ name }) => name.endsWith('layers.0.block_sparse_moe.experts.1.w3.weight'));
    const source = plan.sources[0]?.tensors.get('model.layers.0.mlp.up_proj.weight');
    const half = (source?.shape[0] ?? 0) / 2;
    expect(up?.sources).toEqual([
      {
        source: 'model.layers.0.mlp.up_proj.weight',
        from: 0,
        slice: `rows ${String(half)}–${String(2 * half - 1)} of ${String(2 * half)}`,
        bytes: (source?.bytes ?? 0) / 2,
      },
    ]);
    const down = tensors.find(({ name }) => name.endsWith('experts.0.w2.weight'));
    expect(down?.sources[0]?.slice).toBe(`columns 0–${String(half - 1)} of ${String(2 * half)}`);
    expect(rows.page('nothing', 0, 10)).toEqual({ row: 'nothing', start: 0, total: 0, tensors: [] });
  });

  it('reads names as the grammar does', () => {
    const names = new NameReader();
    expect(names.read('model.layers.3.mlp.experts.5.up_proj.weight')).toEqual({ role: 'expert', layer: 3, expert: 5 });
    expect(names.read('model.layers.13.mlp.experts.25.up_proj.weight')).toEqual({
      role: 'expert',
      layer: 13,
      expert: 25,
    });
    expect(names.read('model.layers.#.mlp.experts.1.up_proj.weight').layer).toBeNull();
    expect(names.read('lm_head.weight')).toEqual({ role: 'head', layer: null, expert: null });
  });
});

describe('recipe fields', () => {
  const fieldsOf = (text: string, plan: Plan | null = null): Map<string, RecipeField> => {
    const file = join(temp, 'a.moe.yaml');
    mkdirSync(temp, { recursive: true });
    writeFileSync(file, text);
    const { loaded, problems } = diagnoseRecipe({ file, text });
    const fields = recipeFields({ text, loaded, problems, plan });
    for (const field of fields) recipeField.parse(field);
    for (const problem of problems) recipeProblem.parse(wireProblemOf(problem));
    if (loaded !== null) parsedRecipe.parse(parsedRecipeOf(loaded));
    return new Map(fields.map((field) => [field.field, field]));
  };

  it('has a control for every field of the schema, with words', () => {
    const fields = fieldsOf('experts: 4\n');
    expect(new Set([...fields.keys()].map((field) => field.split('.')[0]))).toEqual(new Set(Object.keys(RECIPE_SHAPE)));
    for (const field of fields.values()) {
      expect(field.about, field.field).not.toBe('');
      expect(field.expected, field.field).not.toBe('');
    }
  });

  it('tells values as written, and where they come from', () => {
    const fields = fieldsOf('preset: qwen-moe\nexperts: 8\ngranularity: 4\noutput:\n  shard_size: 2GiB\n');
    expect(fields.get('experts')).toMatchObject({ value: 8, origin: expect.stringContaining('line 2') as string });
    expect(fields.get('output.shard_size')?.value).toBe('2GiB');
    expect(fields.get('shared_expert.plan')).toMatchObject({ value: 'b', origin: 'preset qwen-moe' });
    expect(fields.get('expert_init.method')).toMatchObject({ value: 'drop', origin: 'preset qwen-moe' });
    expect(fields.get('expert_init.ratio')).toMatchObject({ value: 0.5, disabled: null });
    expect(fields.get('seed')).toMatchObject({ value: 42, origin: 'default' });
    expect(fields.get('top_k')?.max).toBe(8);
  });

  it('switches off what has no meaning, and says why', () => {
    const fields = fieldsOf('expert_init: noise\nrouter: {init: zero}\n');
    expect(fields.get('expert_init.method')?.value).toBe('noise');
    expect(fields.get('expert_init.std')).toMatchObject({ disabled: null, value: 0.02 });
    expect(fields.get('expert_init.rank')?.disabled).toContain('svd');
    expect(fields.get('router.std')?.disabled).not.toBeNull();
    expect(fields.get('rest')?.disabled).toContain('parents');
    expect(fields.get('shared_expert.width')?.disabled).toContain('a, b or c');
    const merge = fieldsOf('base_model: x\ngate_mode: random\nexperts:\n  - source_model: x\n  - source_model: x\n');
    expect(merge.get('experts')?.disabled).toContain('mergekit');
  });

  it('shows problems at their controls, with the values of the text', () => {
    const fields = fieldsOf('experts: 4\ntop_k: 9\nexpert_init: {method: nosuch}\n');
    expect(fields.get('top_k')).toMatchObject({ value: 9, max: 4 });
    expect(fields.get('top_k')?.problems.map(({ code }) => code)).toEqual(['top-k-exceeds-experts']);
    expect(fields.get('expert_init.method')?.problems.length).toBeGreaterThan(0);
    expect(fields.get('experts')?.problems).toEqual([]);
    const bare = fieldsOf('experts: 4\nrouter: {init: hidden}\n');
    expect(bare.get('router.prompts')?.problems.map(({ code }) => code)).toEqual(['prompts-not-per-expert']);
    expect(bare.get('router.prompts')).toMatchObject({ disabled: null, max: 4, value: null });
    expect(fieldsOf('experts: 8\ngranularity: 2\n').get('router.prompts')).toMatchObject({ max: 4 });
    expect(fields.get('router.prompts')?.disabled).toContain('hidden_avg');
    expect(bare.get('router.std')?.disabled).toContain('length 1');
  });

  it('says what auto came to', async () => {
    const plan = await planOf('experts: 4\n');
    const fields = fieldsOf('experts: 4\n', plan);
    expect(fields.get('target')).toMatchObject({ value: 'auto', resolved: 'mixtral' });
    expect(fields.get('experts')?.resolved).toBeNull();
    expect(fields.get('shared_expert.plan')).toMatchObject({ value: 'auto', resolved: 'none' });
  });
});
