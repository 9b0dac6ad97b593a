/** Text generation with a key/value cache. The cache lives here; the graph reads it in place and returns only what is new. */
import { MoeError } from '../common/errors.ts';
import { maskName, maskWindows } from '../model/forward.ts';
import { causalMask, pastMask } from '../model/masks.ts';
import { checkSampling, GREEDY, logSumExp, sample, seededRandom } from '../model/sampling.ts';
import type { SamplingOptions } from '../model/sampling.ts';
import type { TransformerSpec } from '../model/spec.ts';
import { routerTraces, traceNames } from './model.ts';
import type { RouterTrace, RunnableModel } from './model.ts';
import { floatData, floats, integers } from './session.ts';
import type { Feeds } from './session.ts';

export interface GenerateOptions extends Partial<SamplingOptions> {
  readonly maxTokens: number;
  /** Seed of the sampler; without effect when greedy. */
  readonly seed?: number;
  /** Tokens that end the text; the model's own end tokens when absent. */
  readonly stop?: readonly number[];
  /** Router decisions with every step. */
  readonly traces?: boolean;
}

export interface GeneratedToken {
  readonly id: number;
  /** Log-probability under the model itself (before temperature and cuts). */
  readonly logprob: number;
  /** With `traces`: the routers' decisions for the tokens that were run to get this one (the prompt, or the token before). */
  readonly traces: readonly RouterTrace[];
}

export type FinishReason = 'stop' | 'length' | 'context';

/** Prompts longer than this are run in pieces, which bounds the attention matrices. */
const PREFILL = 512;

/**
 * Yields tokens one by one; returns why it ended. A stop token is yielded too, as the last one. Stop reading to cancel
 * between tokens.
 */
export async function* generate(
  model: RunnableModel,
  prompt: readonly number[],
  options: GenerateOptions,
): AsyncGenerator<GeneratedToken, FinishReason> {
  const sampling: SamplingOptions = { ...GREEDY, ...options };
  checkSampling(sampling);
  if (prompt.length === 0)
    throw new MoeError('usage', 'no-tokens', 'There is nothing to continue: the prompt has no tokens.');
  const random = seededRandom(options.seed ?? 0);
  const stop = new Set(options.stop ?? model.spec.tokens.eos);
  const decoder = new Decoder(model, options.traces === true);
  let pending = [...prompt];
  for (let count = 0; count < options.maxTokens; count++) {
    if (decoder.length + pending.length > model.spec.maxPositions) return 'context';
    const { logits, traces } = await decoder.advance(pending);
    const id = sample(logits, sampling, random);
    yield { id, logprob: (logits[id] ?? Number.NaN) - logSumExp(logits), traces };
    if (stop.has(id)) return 'stop';
    pending = [id];
  }
  return 'length';
}

export interface DecodeStep {
  /** Logits of the last token, [V]. */
  readonly logits: Float32Array;
  readonly traces: readonly RouterTrace[];
}

/** One sequence being decoded: feed tokens, get the logits after the last of them. */
export class Decoder {
  readonly #cache: KeyValueCache;

  constructor(
    private readonly model: RunnableModel,
    private readonly traced = false,
  ) {
    this.#cache = new KeyValueCache(model.spec);
  }

  /** Tokens seen so far. */
  get length(): number {
    return this.#cache.filled;
  }

  /** Runs `ids` after what was run before. */
  async advance(ids: readonly number[]): Promise<DecodeStep> {
    this.model.checkIds(ids);
    let step: DecodeStep | null = null;
    const traces: (readonly RouterTrace[])[] = [];
    for (let from = 0; from < ids.length; from += PREFILL) {
      step = await this.#run(ids.slice(from, from + PREFILL));
      traces.push(step.traces);
    }
    if (step === null) throw new MoeError('usage', 'no-tokens', 'There is nothing to run: no tokens were given.');
    return { logits: step.logits, traces: joinTraces(traces) };
  }

  async #run(ids: readonly number[]): Promise<DecodeStep> {
    const { spec } = this.model;
    const cache = this.#cache;
    const start = cache.filled;
    const length = ids.length;
    cache.reserve(start + length);
    const session = await this.model.session({ rows: 'chosen', cache: true, traces: this.traced });
    const masks = maskWindows(spec).flatMap((window) => [
      [maskName(window), floats(causalMask(length, window), [1, 1, length, length])] as const,
      [
        maskName(window, true),
        floats(pastMask(length, start, start, cache.capacity, window), [1, 1, length, cache.capacity]),
      ] as const,
    ]);
    const feeds: Feeds = {
      input_ids: integers(ids, [1, length]),
      position_ids: integers(
        ids.map((_, i) => start + i),
        [1, length],
      ),
      rows: integers([length - 1], [1]),
      ...Object.fromEntries(masks),
      ...this.model.ropeFeeds(start + length),
      ...cache.feeds(),
    };
    const present = spec.layers.flatMap(({ index }) => [`present_key.${index}`, `present_value.${index}`]);
    const results = await session.run(feeds, ['logits', ...present, ...(this.traced ? traceNames(spec) : [])]);
    for (const { index } of spec.layers) {
      cache.append(
        index,
        floatData(results.get(`present_key.${index}`), 'present_key'),
        floatData(results.get(`present_value.${index}`), 'present_value'),
        length,
      );
    }
    cache.commit(length);
    return {
      logits: floatData(results.get('logits'), 'logits'),
      traces: this.traced ? routerTraces(spec, results) : [],
    };
  }
}

function joinTraces(pieces: readonly (readonly RouterTrace[])[]): readonly RouterTrace[] {
  const [first, ...rest] = pieces;
  if (first === undefined || rest.length === 0) return first ?? [];
  const join = (arrays: readonly Float32Array[]): Float32Array => {
    const result = new Float32Array(arrays.reduce((sum, array) => sum + array.length, 0));
    let at = 0;
    for (const array of arrays) {
      result.set(array, at);
      at += array.length;
    }
    return result;
  };
  return first.map((trace, i) => {
    const all = pieces.flatMap((piece) => piece[i] ?? []);
    return {
      ...trace,
      logits: join(all.map((t) => t.logits)),
      chosen: all.flatMap((t) => t.chosen),
      weights: join(all.map((t) => t.weights)),
    };
  });
}

/** Keys and values of all layers, [1, KV, capacity, width] each; grows by doubling. */
export class KeyValueCache {
  capacity = 64;
  filled = 0;
  readonly #keys: Float32Array[];
  readonly #values: Float32Array[];

  constructor(private readonly spec: TransformerSpec) {
    const make = (width: number): Float32Array[] =>
      spec.layers.map(() => new Float32Array(spec.kvHeads * this.capacity * width));
    this.#keys = make(spec.headDim);
    this.#values = make(spec.valueDim);
  }

  reserve(needed: number): void {
    if (needed <= this.capacity) return;
    const capacity = Math.max(needed, 2 * this.capacity);
    for (const [arrays, width] of [
      [this.#keys, this.spec.headDim],
      [this.#values, this.spec.valueDim],
    ] as const)
      arrays.forEach((old, layer) => (arrays[layer] = this.#grown(old, capacity, width)));
    this.capacity = capacity;
  }

  feeds(): Feeds {
    const { kvHeads, headDim, valueDim } = this.spec;
    const slot = (data: Float32Array | undefined, width: number): Feeds[string] =>
      floats(data ?? new Float32Array(0), [1, kvHeads, this.capacity, width]);
    const entries = this.spec.layers.flatMap(({ index }) => [
      [`past_key.${index}`, slot(this.#keys[index], headDim)] as const,
      [`past_value.${index}`, slot(this.#values[index], valueDim)] as const,
    ]);
    return Object.fromEntries(entries);
  }

  /** Copies `count` new places of a layer behind the filled ones; `commit` makes them count. */
  append(layer: number, keys: Float32Array, values: Float32Array, count: number): void {
    const { kvHeads, headDim, valueDim } = this.spec;
    for (const [target, fresh, width] of [
      [this.#keys[layer], keys, headDim],
      [this.#values[layer], values, valueDim],
    ] as const) {
      for (let head = 0; head < kvHeads; head++) {
        target?.set(
          fresh.subarray(head * count * width, (head + 1) * count * width),
          (head * this.capacity + this.filled) * width,
        );
      }
    }
  }

  commit(count: number): void {
    this.filled += count;
  }

  #grown(old: Float32Array, capacity: number, width: number): Float32Array {
    const { kvHeads } = this.spec;
    const grown = new Float32Array(kvHeads * capacity * width);
    for (let head = 0; head < kvHeads; head++) {
      const from = head * this.capacity * width;
      grown.set(old.subarray(from, from + this.filled * width), head * capacity * width);
    }
    return grown;
  }
}
