/** Loads of experts for the sidebar: what is said, what comes first, which evaluation is taken. */
import { mkdtempSync, rmSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { EvaluationHistory } from '../../src/extension/evaluations.ts';
import { byNeed, ExpertLoadsReader, loadOf, loadWords } from '../../src/extension/expert-loads.ts';
import type { ExpertLoads } from '../../src/extension/expert-loads.ts';
import type { TraceSummary } from '../../src/protocol/results.ts';

const folder = mkdtempSync(join(tmpdir(), 'moe-loads-'));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const LOAD = [0.5, 0.02, 0.48, 0];
function traces(layer = 3): TraceSummary {
  const none = { routerEntropy: null, loadEntropy: null, maxVio: 1, specialisation: null, bf16TieRate: null };
  return {
    experts: 4,
    topK: 2,
    layers: [{ layer, tokens: 100, dead: [3], cold: [1], marginMean: null, drops: [], ...none }],
    maxVio: 1,
    load: Float32Array.from(LOAD),
    importance: Float32Array.from(LOAD),
    meanGate: Float32Array.from(LOAD),
    domains: [],
    definitions: [],
    without: null,
  };
}
const loads: ExpertLoads = { file: 'x', name: 'x', traces: traces() };

describe('loads of experts', () => {
  it('say dead, cold and hot in words', () => {
    const words = [0, 1, 2, 3].map((expert) => {
      const found = loadOf(loads, 3, expert);
      return found === null ? null : loadWords(found);
    });
    expect(words).toEqual([
      'hot, load 50.0 % (2.00× even)',
      'cold, load 2.0 % (0.08× even)',
      'load 48.0 % (1.92× even)',
      'no token chose it',
    ]);
    expect(loadOf(loads, 0, 0)).toBeNull();
    expect(loadOf(loads, 3, 'shared')).toBeNull();
    expect(loadOf(loads, 3, 4)).toBeNull();
  });

  it('put dead ones first, then cold ones, then the busiest', () => {
    const experts = ([0, 1, 2, 3, 'shared'] as const).map((expert) => ({ expert }));
    expect(byNeed(experts, loads, 3).map(({ expert }) => expert)).toEqual([3, 1, 0, 2, 'shared']);
    expect(byNeed(experts, loads, 9).map(({ expert }) => expert)).toEqual([0, 1, 2, 3, 'shared']);
  });

  it('come from the latest evaluation that has them', async () => {
    const history = new EvaluationHistory(folder);
    const old = await history.begin('/models/a', 'a', 'old');
    const traced = await history.begin('/models/a', 'a', 'traced');
    const plain = await history.begin('/models/a', 'a', 'plain');
    for (const [at, file] of [old, traced, plain].entries()) utimesSync(file, 1000 + at, 1000 + at);
    await history.begin('/models/b', 'b', 'other');
    const asked: string[] = [];
    const worker = {
      request: (_def: unknown, params: unknown) => {
        const { file } = params as { file: string };
        asked.push(file);
        return Promise.resolve({ evaluation: { traces: file === plain ? null : traces() }, begun: false });
      },
    } as unknown as ConstructorParameters<typeof ExpertLoadsReader>[0]['worker'];
    const reader = new ExpertLoadsReader({ worker, history, log: () => undefined });
    expect(reader.peek('/models/a')).toBeNull();
    expect((await reader.of('/models/a'))?.file).toBe(traced);
    expect(asked).toEqual([plain, traced]);
    expect(reader.peek('/models/a')?.file).toBe(traced);
    // Nothing has changed: nothing is read again.
    await reader.of('/models/a');
    expect(asked.length).toBe(2);
    await history.remove(traced);
    expect((await reader.of('/models/a'))?.file).toBe(old);
    expect(await reader.of('/models/none')).toBeNull();
  });
});
