/**
 * Log-likelihoods for evaluation. Requests that begin alike share their beginnings: what all of a call have in common is run
 * once and kept as keys and values; the rest is packed into rows as trees.
 */
import { MoeError } from '../common/errors.ts';
import type { Scorer, ScoreOptions, ScoreRequest, ScoreResult } from '../eval/scorer.ts';
import { maskName, maskWindows } from '../model/forward.ts';
import { packedMask, packSegments, pastMask } from '../model/masks.ts';
import type { PackedRow } from '../model/masks.ts';
import { commonPrefix, packRows } from '../model/packing.ts';
import type { PackedSequences } from '../model/packing.ts';
import { LONG_TEXT, scoreLongText } from './long-text.ts';
import { Prefix } from './prefix.ts';
import { routerTraces, traceNames } from './model.ts';
import type { RouterTrace, RunnableModel } from './model.ts';
import { floatData, floats, integerData, integers } from './session.ts';
import type { Feeds } from './session.ts';
import { largest } from '../common/lists.ts';

export interface ScorerSettings {
  /** Longest input in tokens; the model's own when absent. */
  readonly maxLength?: number;
  /** Tokens of one run: enough to keep the matrix kernels busy, few enough that masks stay small. */
  readonly tokensPerRow?: number;
}

/** Where routers' decisions go while texts are scored. */
export interface TraceSink {
  /** `places` are the tokens of the run to look at, in order, with their ids; uncounted ones are few-shot prefix. */
  observe(
    traces: readonly RouterTrace[],
    tokens: {
      readonly places: readonly number[];
      readonly ids: readonly number[];
      readonly counted: readonly boolean[];
    },
    domain: string | undefined,
  ): void;
}

/** Tracing during one call: which contexts have been counted already. */
interface Tracing {
  readonly sink: TraceSink;
  readonly seen: Set<string>;
}

/** Common beginnings shorter than this are not worth a run of their own. */
const SHORTEST_PREFIX = 48;

export class ModelScorer implements Pick<Scorer, 'maxLength' | 'loglikelihoods'> {
  readonly maxLength: number;
  readonly #budget: number;
  #prefix: Prefix | null = null;

  constructor(
    private readonly model: RunnableModel,
    settings: ScorerSettings = {},
  ) {
    this.maxLength = settings.maxLength ?? model.spec.maxPositions;
    // Attention over a whole row costs more than it saves in small models; large ones gain from reading weights less often.
    this.#budget = settings.tokensPerRow ?? Math.min(1024, Math.max(256, model.spec.hiddenSize));
  }

  async loglikelihoods(
    requests: readonly ScoreRequest[],
    options: ScoreOptions & { readonly traces?: TraceSink },
  ): Promise<readonly ScoreResult[]> {
    const inputs = requests.map(({ contextIds, continuationIds }) => {
      if (contextIds.length === 0 || continuationIds.length === 0)
        throw new MoeError('internal', 'empty-request', 'A request to score needs a context and a continuation.');
      return [...contextIds, ...continuationIds].slice(0, -1);
    });
    const prefix = await this.#commonPrefix(requests, inputs, options.traces !== undefined);
    const tailLength = (index: number): number => (inputs[index]?.length ?? 0) - (prefix?.length ?? 0);
    const results = new Array<ScoreResult>(requests.length);
    let done = 0;
    const finish = (index: number, result: ScoreResult | undefined): void => {
      if (result !== undefined) results[index] = result;
      options.onProgress?.(++done);
    };
    for (const [index, request] of requests.entries()) {
      if (tailLength(index) > LONG_TEXT) finish(index, await scoreLongText(this.model, request, options));
    }
    const short = [...requests.keys()].filter((index) => tailLength(index) <= LONG_TEXT);
    const chosen = short.flatMap((index) => requests[index] ?? []);
    // Where frequencies depend on a text's length, only texts on the same side of the threshold may share a run.
    const rows = packRows(
      short.map((index) => inputs[index]?.slice(prefix?.length ?? 0) ?? []),
      this.#budget,
      (slot) => this.#lengthMatters(inputs[short[slot] ?? -1]?.length ?? 0),
    );
    const seen = new Set<string>();
    for (const row of rows) {
      if (options.signal?.aborted === true) throw new MoeError('cancelled', 'cancelled', 'Scoring was cancelled.');
      const scored = await this.#row(row, chosen, prefix, options.traces && { sink: options.traces, seen });
      row.members.forEach((member, slot) => {
        finish(short[member] ?? -1, scored[slot]);
      });
    }
    return results;
  }

  /** True for texts so long that their own length changes the rotary frequencies. */
  #lengthMatters(length: number): boolean {
    const { scaling, maxPositions } = this.model.spec.rope;
    if (scaling.kind === 'dynamic') return length > maxPositions;
    return scaling.kind === 'longrope' && length > scaling.originalMax;
  }

  /** Runs what all requests begin with, unless it is short; what must be scored never lies in it. */
  async #commonPrefix(
    requests: readonly ScoreRequest[],
    inputs: readonly (readonly number[])[],
    traced: boolean,
  ): Promise<Prefix | null> {
    const [first] = inputs;
    if (first === undefined || inputs.length < 2 || inputs.some((ids) => this.#lengthMatters(ids.length))) return null;
    let length = first.length;
    inputs.forEach((ids, i) => {
      length = Math.min(length, commonPrefix(first, ids), (requests[i]?.contextIds.length ?? 1) - 1);
      // Its routers are not looked at, so with traces it must hold uncounted tokens only.
      if (traced) length = Math.min(length, requests[i]?.trace?.skipTokens ?? 0);
    });
    if (length < SHORTEST_PREFIX) return null;
    const ids = first.slice(0, length);
    if (this.#prefix?.matches(ids) !== true) this.#prefix = await Prefix.run(this.model, ids);
    return this.#prefix;
  }

  async #row(
    packed: PackedSequences,
    requests: readonly ScoreRequest[],
    prefix: Prefix | null,
    tracing: Tracing | undefined,
  ): Promise<readonly ScoreResult[]> {
    const row = packSegments(packed.segments);
    const skip = prefix?.length ?? 0;
    const at: number[] = [];
    const targets: number[] = [];
    const ends = packed.members.map((index, slot) => {
      const { contextIds, continuationIds } = requests[index] ?? { contextIds: [], continuationIds: [] };
      continuationIds.forEach((id, i) => {
        at.push(packed.placeOf(slot, contextIds.length - 1 + i - skip));
        targets.push(id);
      });
      return targets.length;
    });
    const feeds = prefix === null ? this.model.packedFeeds(row) : this.#feedsAfter(row, prefix);
    const traces = tracing !== undefined;
    const session = await this.model.session({ rows: 'chosen', head: 'targets', cache: prefix !== null, traces });
    const results = await session.run(
      { ...feeds, rows: integers(at, [at.length]), targets: integers(targets, [targets.length]) },
      ['logprob', 'greedy', ...(traces ? traceNames(this.model.spec) : [])],
    );
    if (tracing !== undefined) observeRow(tracing, routerTraces(this.model.spec, results), packed, row, requests, skip);
    const logprob = floatData(results.get('logprob'), 'logprob');
    const greedy = integerData(results.get('greedy'), 'greedy');
    return ends.map((end, slot) => {
      const start = slot === 0 ? 0 : (ends[slot - 1] ?? 0);
      let sum = 0;
      let isGreedy = true;
      for (let i = start; i < end; i++) {
        sum += logprob[i] ?? Number.NaN;
        isGreedy &&= greedy[i] === targets[i];
      }
      return { logprob: sum, isGreedy };
    });
  }

  /** Inputs of a packed row whose texts all continue the prefix. */
  #feedsAfter(row: PackedRow, prefix: Prefix): Feeds {
    const length = row.ids.length;
    this.model.checkIds(row.ids);
    const positions = row.positions.map((position) => position + prefix.length);
    const masks = maskWindows(this.model.spec).flatMap((window) => [
      [maskName(window), floats(packedMask(row, window), [1, 1, length, length])] as const,
      [
        maskName(window, true),
        floats(this.#pastMask(positions, prefix.length, window), [1, 1, length, prefix.length]),
      ] as const,
    ]);
    const longest = largest(positions) + 1;
    return {
      input_ids: integers(row.ids, [1, length]),
      position_ids: integers(positions, [1, length]),
      ...Object.fromEntries(masks),
      ...this.model.ropeFeeds(longest, length),
      ...prefix.feeds,
    };
  }

  #pastMask(positions: readonly number[], filled: number, window: number | null): Float32Array {
    if (window === null) return new Float32Array(positions.length * filled);
    const mask = new Float32Array(positions.length * filled);
    positions.forEach((position, i) => mask.set(pastMask(1, position, filled, filled, window), i * filled));
    return mask;
  }
}

/**
 * Hands a packed row's routers on, as if every context had been run by itself and its continuations after it: a token counts
 * once per different context that it belongs to, so that packing and shared beginnings change no statistics.
 */
function observeRow(
  { sink, seen }: Tracing,
  traces: readonly RouterTrace[],
  packed: PackedSequences,
  row: PackedRow,
  requests: readonly ScoreRequest[],
  skip: number,
): void {
  const groups = new Map<string, { readonly domain: string | undefined; readonly counted: Map<number, boolean> }>();
  packed.members.forEach((index, slot) => {
    const request = requests[index];
    if (request === undefined) return;
    const { contextIds, continuationIds, trace } = request;
    const key = contextIds.join();
    const group = groups.get(key) ?? { domain: trace?.domain, counted: new Map<number, boolean>() };
    groups.set(key, group);
    const length = contextIds.length + continuationIds.length - 1;
    // Choices that did not fit into the row of their context bring it along once more.
    for (let depth = seen.has(key) ? contextIds.length : skip; depth < length; depth++)
      group.counted.set(packed.placeOf(slot, depth - skip), depth >= (trace?.skipTokens ?? 0));
  });
  for (const [key, { domain, counted }] of groups) {
    seen.add(key);
    const places = [...counted.keys()];
    const ids = places.map((place) => row.ids[place] ?? 0);
    sink.observe(traces, { places, ids, counted: [...counted.values()] }, domain);
  }
}
