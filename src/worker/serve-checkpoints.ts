/** Serves what is asked about open checkpoints: opening, rows, tensors, problems, comparisons. */
import { peekCheckpoint } from '../checkpoint/peek.ts';
import { MoeError } from '../common/errors.ts';
import { errorPageOf } from '../protocol/errors.ts';
import type { Endpoint } from '../protocol/host.ts';
import {
  workerClose,
  workerCompare,
  workerCompareExperts,
  workerCompareRows,
  workerCompareValues,
  workerFacts,
  workerLocate,
  workerOpen,
  workerPeek,
  workerProblems,
  workerRows,
  workerTensor,
} from '../protocol/worker.ts';
import type { Checkpoints } from './checkpoints.ts';
import { Comparison } from './compare.ts';

/** Comparisons kept; the oldest is forgotten (its view asks for a new one). */
const KEPT_COMPARISONS = 8;
/** Progress of reading headers is told this often. */
const TELL_MS = 100;

export function serveCheckpoints(endpoint: Endpoint, checkpoints: Checkpoints): void {
  endpoint.handle(workerOpen, async ({ path, lenient, fresh }, { signal, progress }) => {
    const start = performance.now();
    progress({ done: 0, total: 0, what: `Reading headers of ${path}` });
    let told = start;
    const onHeader = (done: number, total: number): void => {
      const now = performance.now();
      if (now - told < TELL_MS) return;
      told = now;
      progress({ done, total, what: done < total ? 'Reading headers' : 'Looking through the tensors' });
    };
    const { handle, entry, cached } = await checkpoints.open(path, { lenient, fresh, signal, onHeader });
    const { overview, stamps, watch } = entry;
    return { handle, overview, stamps, watch, cached, seconds: (performance.now() - start) / 1000 };
  });
  endpoint.handle(workerPeek, async ({ path }) => ({ peek: await peekCheckpoint(path) }));
  endpoint.handle(workerClose, ({ handle }) => {
    checkpoints.close(handle);
    return {};
  });
  endpoint.handle(workerRows, ({ handle, view, start, count }) =>
    checkpoints.get(handle).rows.page({ view: { ...view, toggled: [...view.toggled] }, start, count }),
  );
  endpoint.handle(workerLocate, ({ handle, view, tensor }) =>
    checkpoints.get(handle).rows.locate({ view: { ...view, toggled: [...view.toggled] }, tensor }),
  );
  endpoint.handle(workerTensor, ({ handle, tensor }) => {
    const facts = checkpoints.get(handle).rows.facts(tensor);
    if (facts === null)
      throw new MoeError('input', 'tensor-not-found', `There is no tensor ${tensor} in this checkpoint`, { tensor });
    return facts;
  });
  endpoint.handle(workerProblems, async ({ path }, { signal }) => {
    try {
      const { entry } = await checkpoints.entryOf(path, { lenient: false, fresh: false, signal });
      return { problems: entry.overview.problems, error: null };
    } catch (error) {
      if (error instanceof MoeError && error.kind === 'cancelled') throw error;
      return { problems: [], error: errorPageOf('The checkpoint cannot be opened', error) };
    }
  });
  endpoint.handle(workerFacts, () => {
    const { heapUsed, rss } = process.memoryUsage();
    return { open: checkpoints.facts(), heapBytes: heapUsed, rssBytes: rss };
  });
  serveComparisons(endpoint, checkpoints);
}

function serveComparisons(endpoint: Endpoint, checkpoints: Checkpoints): void {
  const kept = new Map<number, Comparison>();
  let handles = 0;
  const get = (handle: number): Comparison => {
    const comparison = kept.get(handle);
    if (comparison === undefined)
      throw new MoeError('usage', 'handle-closed', 'This comparison is no longer at hand', {
        hint: 'Compare again.',
      });
    return comparison;
  };
  endpoint.handle(workerCompare, async ({ a, b }, serving) => {
    const options = { lenient: false, fresh: false, signal: serving.signal };
    serving.progress({ done: 0, total: 2, what: a });
    const left = await checkpoints.entryOf(a, options);
    serving.progress({ done: 1, total: 2, what: b });
    const right = await checkpoints.entryOf(b, options);
    const comparison = new Comparison(left.entry, right.entry);
    const summary = await comparison.run(false, serving);
    const handle = ++handles;
    kept.set(handle, comparison);
    const [oldest] = kept.keys();
    if (kept.size > KEPT_COMPARISONS && oldest !== undefined) kept.delete(oldest);
    return { handle, summary };
  });
  endpoint.handle(workerCompareValues, ({ handle }, serving) => get(handle).run(true, serving));
  endpoint.handle(workerCompareRows, ({ handle, ...request }) => get(handle).page(request));
  endpoint.handle(workerCompareExperts, ({ handle }) => get(handle).experts());
}
