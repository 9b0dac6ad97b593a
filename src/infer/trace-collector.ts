/** Expert statistics of one model: gathers what its routers did, whatever way its tokens were packed. */
import { readFile } from 'node:fs/promises';
import { MoeError } from '../common/errors.ts';
import { writeWhole } from '../common/write-whole.ts';
import { COUNTED, ExpertTrace, PREFIX } from '../eval/trace.ts';
import { traceReport } from '../eval/trace-report.ts';
import type { TraceReport } from '../eval/trace-report.ts';
import { restoreTrace, traceState } from '../eval/trace-state.ts';
import { moeLayers } from '../model/spec.ts';
import type { TransformerSpec } from '../model/spec.ts';
import type { RouterTrace } from '../runtime/model.ts';
import type { TraceSink } from '../runtime/scorer.ts';

/** Counted tokens over which would-be drops are computed: how texts are packed into runs must not decide them. */
const DROP_WINDOW = 1024;

export class TraceCollector implements TraceSink {
  #trace: ExpertTrace;

  private constructor(trace: ExpertTrace) {
    this.#trace = trace;
  }

  /** For a model with experts; null for a dense one. */
  static of(spec: TransformerSpec): TraceCollector | null {
    const layers = moeLayers(spec);
    const [first] = layers;
    if (first === undefined) return null;
    const other = layers.find(({ ffn }) => ffn.experts !== first.ffn.experts || ffn.topK !== first.ffn.topK);
    if (other !== undefined) {
      throw new MoeError(
        'input',
        'uneven-experts',
        `Layer ${other.index} has ${other.ffn.experts} experts, top-${other.ffn.topK}, layer ${first.index} ${first.ffn.experts}, top-${first.ffn.topK}: statistics need equal layers.`,
      );
    }
    return new TraceCollector(
      new ExpertTrace({
        layers: layers.map(({ index }) => index),
        experts: first.ffn.experts,
        topK: first.ffn.topK,
        gate: first.ffn.router.score === 'sigmoid' ? 'sigmoid' : 'softmax',
        grouped: first.ffn.router.groups !== null,
        normTopK: first.ffn.normalise,
        dropWindow: DROP_WINDOW,
      }),
    );
  }

  /**
   * Takes the routers' decisions for the tokens of a run. `places` says which of them to count, in order; a place may stand
   * there several times (a beginning that several documents share) or not at all (a pad).
   */
  observe(
    traces: readonly RouterTrace[],
    tokens: {
      readonly places: readonly number[];
      readonly ids: readonly number[];
      readonly counted: readonly boolean[];
    },
    domain: string | undefined,
  ): void {
    const { places } = tokens;
    if (places.length === 0) return;
    const state = tokens.counted.map((counted) => (counted ? COUNTED : PREFIX));
    for (const { layer, experts, topK, logits, chosen, weights, choiceBias } of traces) {
      const rows = new Float32Array(places.length * experts);
      const selected = new Int32Array(places.length * topK);
      const mixing = new Float32Array(places.length * topK);
      places.forEach((place, i) => {
        rows.set(logits.subarray(place * experts, (place + 1) * experts), i * experts);
        for (let k = 0; k < topK; k++) selected[i * topK + k] = chosen[place * topK + k] ?? -1;
        mixing.set(weights.subarray(place * topK, (place + 1) * topK), i * topK);
      });
      this.#trace.observe({
        layer,
        tokens: places.length,
        logits: rows,
        selected,
        weights: mixing,
        ...(choiceBias === undefined ? {} : { selectionBias: choiceBias }),
        state,
        tokenIds: tokens.ids,
        ...(domain === undefined ? {} : { domain }),
      });
    }
  }

  /** Writes the statistics so far to a file, whole or not at all. */
  async save(file: string, tag: string): Promise<void> {
    await writeWhole(file, traceState(this.#trace, tag));
  }

  /** Puts saved statistics back, in place of what was gathered. Throws `bad-trace-state`; then nothing has changed. */
  async load(file: string): Promise<void> {
    const trace = new ExpertTrace(this.#trace.config);
    restoreTrace(trace, await readFile(file));
    this.#trace = trace;
  }

  report(): TraceReport {
    return traceReport(this.#trace);
  }
}
