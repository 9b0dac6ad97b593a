/** What experts of a checkpoint did when it was last evaluated or traced. No vscode here. */
import { basename, resolve } from 'node:path';
import { messageOf } from '../common/errors.ts';
import type { TraceSummary } from '../protocol/results.ts';
import { Emitter } from './emitter.ts';
import { RESULTS_ENDING } from './evaluations.ts';
import type { EvaluationHistory } from './evaluations.ts';
import type { WorkerClient } from './worker-client.ts';
import { t } from './words.ts';

export interface ExpertLoads {
  readonly file: string;
  /** As the results file is called. */
  readonly name: string;
  readonly traces: TraceSummary;
}

/** So many of a checkpoint's latest evaluations are looked at: most have no expert statistics if it was dense. */
const LOOKED_AT = 5;

export class ExpertLoadsReader {
  private readonly known = new Map<string, { readonly stamp: string; readonly loads: ExpertLoads | null }>();
  private readonly changed = new Emitter();
  /** Loads of some checkpoint have come, or may have changed. */
  readonly onDidChange = this.changed.event;

  constructor(
    private readonly options: {
      readonly worker: Pick<WorkerClient, 'request'>;
      readonly history: EvaluationHistory;
      readonly log: (message: string) => void;
    },
  ) {
    options.history.onDidChange(() => {
      this.changed.fire();
    });
  }

  /** The latest known, at once; null: none, or not read yet. */
  peek(checkpoint: string): ExpertLoads | null {
    return this.known.get(resolve(checkpoint))?.loads ?? null;
  }

  /** The latest ones; null: it was never traced. */
  async of(checkpoint: string): Promise<ExpertLoads | null> {
    const { worker, history, log } = this.options;
    const path = resolve(checkpoint);
    const past = (await history.of(path)).slice(0, LOOKED_AT);
    const stamp = JSON.stringify(past.map(({ file, mtimeMs }) => [file, mtimeMs]));
    const known = this.known.get(path);
    if (known?.stamp === stamp) return known.loads;
    let loads: ExpertLoads | null = null;
    for (const { file } of past) {
      try {
        const { workerEvaluation } = await import('../protocol/worker-eval.ts');
        const { evaluation } = await worker.request(workerEvaluation, { file });
        if (evaluation.traces === null) continue;
        loads = { file, name: basename(file, RESULTS_ENDING), traces: evaluation.traces };
        break;
      } catch (error) {
        log(`${file} tells nothing of experts: ${messageOf(error)}`);
      }
    }
    this.known.set(path, { stamp, loads });
    return loads;
  }
}

/** What one expert of a layer got; null where the layer or expert is not in the statistics. */
export interface ExpertLoad {
  readonly load: number;
  /** Times its even share. */
  readonly ratio: number;
  readonly state: 'dead' | 'cold' | 'hot' | 'even';
}

/** Twice its share and more is hot. */
const HOT = 2;

export function loadOf({ traces }: ExpertLoads, layer: number, expert: number | 'shared'): ExpertLoad | null {
  const row = traces.layers.findIndex((one) => one.layer === layer);
  if (row < 0 || expert === 'shared' || expert >= traces.experts) return null;
  const load = traces.load[row * traces.experts + expert] ?? Number.NaN;
  if (Number.isNaN(load)) return null;
  const ratio = load * traces.experts;
  const facts = traces.layers[row];
  const state =
    facts?.dead.includes(expert) === true
      ? 'dead'
      : facts?.cold.includes(expert) === true
        ? 'cold'
        : ratio >= HOT
          ? 'hot'
          : 'even';
  return { load, ratio, state };
}

/** "hot, load 38.2 % (3.1× even)". */
export function loadWords({ load, ratio, state }: ExpertLoad): string {
  const share = t('load {0} % ({1}× even)', (load * 100).toFixed(1), ratio.toFixed(2));
  switch (state) {
    case 'dead':
      return t('no token chose it');
    case 'cold':
      return t('cold, {0}', share);
    case 'hot':
      return t('hot, {0}', share);
    case 'even':
      return share;
  }
}

/** Experts in the order in which they deserve a look: dead, cold, then by load, the largest first. */
export function byNeed<T extends { readonly expert: number | 'shared' }>(
  experts: readonly T[],
  loads: ExpertLoads,
  layer: number,
): T[] {
  const rank = ({ expert }: T): number => {
    const found = loadOf(loads, layer, expert);
    if (found === null) return Number.MAX_VALUE;
    return found.state === 'dead' ? -2 : found.state === 'cold' ? -1 : 1 - found.load;
  };
  return [...experts].sort((a, b) => rank(a) - rank(b));
}
