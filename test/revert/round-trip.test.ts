import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { executePlan } from '../../src/write/index.ts';
import { verifyOutput } from '../../src/verify/index.ts';
import { revertOutput } from '../../src/revert/index.ts';
import { hashes, planOf, writeDense } from '../write/dense.ts';

const cases: [string, object, object][] = [
  ['copy', {}, {}],
  ['split', { granularity: 2, experts: 8, top_k: 4 }, {}],
  ['permute', { expert_init: { method: 'permute' } }, {}],
  ['norm', { granularity: 2, experts: 4, top_k: 2, expert_init: { method: 'split', by: 'norm' } }, {}],
  ['random', { granularity: 4, experts: 8, top_k: 4, expert_init: { method: 'split', by: 'random' } }, {}],
  ['f32', { output: { dtype: 'float32', shard_size: 2000, clone: 'auto' }, expert_init: { method: 'permute' } }, {}],
  ['granite', {}, { modelType: 'granite' }],
  ['qwen2', {}, { modelType: 'qwen2' }],
  ['qwen2 c', { shared_expert: 'c' }, { modelType: 'qwen2' }],
  ['phi3', { granularity: 2, top_k: 2 }, { modelType: 'phi3', config: { sliding_window: 2047 } }],
  ['olmo2', {}, { modelType: 'olmo2' }],
];
it.each(cases)('%s', async (_n, changes, opts) => {
  const dense = writeDense({ shards: 2, ...opts });
  const { plan, sources } = await planOf([dense], changes);
  const out = join(dirname(dense), 'moe');
  await executePlan(plan, sources, out);
  const v = await verifyOutput(out, { sources });
  expect(v.problems).toEqual([]);
  expect(v.ok).toBe(true);
  if (_n === 'norm') console.warn(v);
  const w = await verifyOutput(out);
  expect(w.problems).toEqual([]);
  await revertOutput(out, join(dirname(dense), 'back'));
  expect(hashes(join(dirname(dense), 'back'))).toEqual(hashes(dense));
});
