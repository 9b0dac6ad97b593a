import { appendFile, mkdtemp, readFile, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { EvaluationRun } from '../../src/eval/run-types.ts';
import { runEvaluation } from '../../src/eval/run.ts';
import type { ScoreOptions, ScoreRequest, ScoreResult, TraceStore } from '../../src/eval/scorer.ts';
import { traceReport } from '../../src/eval/trace-report.ts';
import { restoreTrace, traceState, traceStateTag } from '../../src/eval/trace-state.ts';
import { ExpertTrace } from '../../src/eval/trace.ts';
import type { RouterBatch, TraceConfig } from '../../src/eval/trace.ts';
import { HashScorer, hashResult, toyTokenizer } from './helpers/fake-scorer.ts';
import { FIXTURES } from './helpers/shared.ts';

let dir = '';
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'moe-state-'));
});
afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

const CONFIG: TraceConfig = {
  layers: [1, 3],
  experts: 4,
  topK: 2,
  dropWindow: 5,
  maxDomains: 3,
  vocabularyCounters: 40,
};

const batches = fc.array(
  fc
    .record({
      layer: fc.constantFrom(1, 3),
      rows: fc.array(fc.array(fc.float({ min: -8, max: 8, noNaN: true }), { minLength: 4, maxLength: 4 }), {
        minLength: 1,
        maxLength: 7,
      }),
      domain: fc.constantFrom('law', 'art', '__proto__', 'sums', undefined),
      ids: fc.integer({ min: 0, max: 2 ** 31 }),
    })
    .map(({ layer, rows, domain, ids }): RouterBatch => ({
      layer,
      tokens: rows.length,
      logits: rows.flat(),
      state: rows.map((row) => (row[0] !== undefined && row[0] > 7 ? 0 : 1)),
      tokenIds: rows.map((_, i) => (ids + i) % 17),
      ...(domain === undefined ? {} : { domain }),
    })),
  { maxLength: 8 },
);

function traced(given: readonly RouterBatch[], trace = new ExpertTrace(CONFIG)): ExpertTrace {
  for (const batch of given) trace.observe(batch);
  return trace;
}

const BAD = expect.objectContaining({ code: 'bad-trace-state' }) as Error;

describe('the state of a trace', () => {
  it('put back, goes on as if there had been no end', () => {
    fc.assert(
      fc.property(batches, batches, (before, after) => {
        const straight = traced([...before, ...after]);
        const restored = new ExpertTrace(CONFIG);
        restoreTrace(restored, traceState(traced(before), 'x'));
        traced(after, restored);
        expect(traceReport(restored)).toEqual(traceReport(straight));
        expect(traceState(restored, 'x')).toEqual(traceState(straight, 'x'));
      }),
    );
  });

  it('damaged or of another trace, is refused', () => {
    const bytes = traceState(
      traced([{ layer: 1, tokens: 1, logits: [1, 2, 3, 4], tokenIds: [3], domain: 'law' }]),
      'x',
    );
    const refused = (given: Uint8Array, config = CONFIG): void => {
      expect(() => {
        restoreTrace(new ExpertTrace(config), given);
      }).toThrow(BAD);
    };
    refused(new Uint8Array(0));
    refused(Buffer.from('[]\n'));
    refused(Buffer.concat([bytes, Buffer.from([0])]));
    for (let cut = 0; cut < bytes.length; cut += 7) refused(bytes.subarray(0, cut));
    const last = Buffer.from(bytes);
    last[last.length - 1] = (last.at(-1) ?? 0) ^ 1;
    refused(last);
    refused(bytes, { ...CONFIG, topK: 1 });
    refused(bytes, { ...CONFIG, layers: [1] });
    restoreTrace(new ExpertTrace(CONFIG), bytes);
  });

  it('tells its tag from the beginning of the file', async () => {
    const file = join(dir, 'state');
    expect(await traceStateTag(file)).toBeNull();
    const tag = 'tag '.repeat(40_000);
    await writeFile(file, traceState(traced([]), tag));
    expect(await traceStateTag(file)).toBe(tag);
    for (const other of ['', 'no line', 'x\n', '{}\n']) {
      await writeFile(file, other);
      expect(await traceStateTag(file)).toBeNull();
    }
  });
});

/** Counts every request's tokens, and loses everything after some calls. */
class TracingScorer extends HashScorer {
  trace = new ExpertTrace({ ...CONFIG, layers: [0], dropWindow: 7 });

  constructor(
    readonly file: string,
    private left = Infinity,
  ) {
    super(toyTokenizer({ addsBos: true }), 2048, 300);
  }

  override loglikelihoods(requests: readonly ScoreRequest[], _options?: ScoreOptions): Promise<readonly ScoreResult[]> {
    if (this.left-- <= 0) return Promise.reject(new Error('lost power'));
    for (const request of requests) {
      const { logprob } = hashResult(request);
      const logits = Array.from({ length: 4 }, (_, i) => Math.sin(logprob * (i + 1)));
      this.trace.observe({ layer: 0, tokens: 1, logits, domain: request.trace?.domain ?? '' });
    }
    return super.loglikelihoods(requests);
  }

  get store(): TraceStore {
    return {
      file: this.file,
      load: async () => {
        const trace = new ExpertTrace(this.trace.config);
        restoreTrace(trace, await readFile(this.file));
        this.trace = trace;
      },
      save: async (tag) => {
        await writeFile(this.file, traceState(this.trace, tag));
      },
    };
  }
}

describe('an interrupted evaluation', () => {
  const evaluate = (scorer: TracingScorer, tasks: readonly string[] = ['piqa', 'arc_easy']): Promise<EvaluationRun> =>
    runEvaluation({
      tasks,
      data: { path: join(FIXTURES, 'data'), hubCache: false },
      scorer,
      model: { name: 'm' },
      bootstrapIterations: 0,
      journal: join(dir, 'journal'),
      traces: scorer.store,
      // Every call takes 300 ms: saved after some of them, not all.
      now: () => 300 * scorer.calls,
    });
  const fresh = (left?: number): TracingScorer => new TracingScorer(join(dir, 'traces'), left);

  it('comes to the statistics of an uninterrupted one, whenever it ends', async () => {
    const straight = new TracingScorer(join(dir, 'straight'));
    const whole = await runEvaluation({
      tasks: ['piqa', 'arc_easy'],
      data: { path: join(FIXTURES, 'data'), hubCache: false },
      scorer: straight,
      model: { name: 'm' },
      bootstrapIterations: 0,
    });
    expect(straight.calls).toBeGreaterThan(4);
    let kept = 0;
    for (let calls = 0; calls < straight.calls; calls++) {
      await rm(join(dir, 'journal'), { force: true });
      await expect(evaluate(fresh(calls))).rejects.toThrow('lost power');
      const scorer = fresh();
      const run = await evaluate(scorer);
      expect(run.untraced).toBe(0);
      expect(traceReport(scorer.trace)).toEqual(traceReport(straight.trace));
      expect(run.tasks.map(({ metrics }) => metrics)).toEqual(whole.tasks.map(({ metrics }) => metrics));
      kept = Math.max(kept, run.resumed);
    }
    // Something was really gone on with.
    expect(kept).toBeGreaterThan(straight.requests.length / 3);
    const again = fresh();
    expect(await evaluate(again)).toMatchObject({ untraced: 0, resumed: straight.requests.length });
    expect(again.calls).toBe(0);
    expect(traceReport(again.trace)).toEqual(traceReport(straight.trace));
  });

  it('says what the statistics lack when they cannot be gone on with', async () => {
    await expect(evaluate(fresh(4))).rejects.toThrow('lost power');
    await rm(join(dir, 'traces'));
    const lost = fresh();
    const run = await evaluate(lost);
    expect(run.resumed).toBeGreaterThan(0);
    expect(run.untraced).toBe(run.resumed);
    // What was finished long after the last save, by a run that gathered nothing, is not thrown away for their sake.
    await rm(join(dir, 'journal'));
    await expect(evaluate(fresh(4))).rejects.toThrow('lost power');
    const old = new Date(Date.now() - 3_600_000);
    await appendFile(join(dir, 'journal'), `${JSON.stringify({ k: '0'.repeat(32), ll: -1, g: 0 })}\n`);
    await utimes(join(dir, 'traces'), old, old);
    const kept = await evaluate(fresh());
    expect(kept.resumed).toBeGreaterThan(0);
    expect(kept.untraced).toBe(kept.resumed);
    expect(await readFile(join(dir, 'journal'), 'utf8')).toContain('0'.repeat(32));
    // What a killed process left half-written is taken away.
    await writeFile(join(dir, 'traces.123.tmp'), 'half');
    await evaluate(fresh());
    expect(await readdir(dir)).not.toContain('traces.123.tmp');
    // Statistics of other tasks are not mixed in.
    await rm(join(dir, 'journal'));
    await evaluate(fresh(), ['piqa']);
    const other = await evaluate(fresh());
    expect(other.untraced).toBe(other.resumed);
    expect(other.resumed).toBeGreaterThan(0);
    // Damaged ones are said, and the journal is kept.
    await rm(join(dir, 'journal'));
    await rm(join(dir, 'traces'), { force: true });
    await evaluate(fresh());
    const bytes = await readFile(join(dir, 'traces'));
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    await writeFile(join(dir, 'traces'), bytes);
    const damaged = await evaluate(fresh());
    expect(damaged.notes.join()).toContain('Saved expert statistics cannot be used: its digest is another');
    expect(damaged.untraced).toBe(damaged.resumed);
    expect(damaged.resumed).toBeGreaterThan(0);
  });
});
