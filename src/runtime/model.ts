/** A checkpoint made runnable: sessions by purpose, token batches in, logits, log-probabilities, traces out. */
import { totalmem } from 'node:os';
import { MoeError } from '../common/errors.ts';
import type { JsonObject } from '../common/json.ts';
import { buildForward, FORWARD_DEFAULTS, maskName, maskWindows } from '../model/forward.ts';
import type { ForwardOptions } from '../model/forward.ts';
import { causalMask, packedMask } from '../model/masks.ts';
import type { PackedRow } from '../model/masks.ts';
import { ropeDependsOnLength, ropeTables } from '../model/rope.ts';
import type { RopeTables } from '../model/rope.ts';
import { moeLayers, specFromConfig } from '../model/spec.ts';
import type { TransformerSpec } from '../model/spec.ts';
import { FileBinder } from '../model/weights.ts';
import type { WeightSource } from '../model/weights.ts';
import { GraphBuilder } from '../onnx/builder.ts';
import { placeFiles } from './files.ts';
import type { PlacedFiles } from './files.ts';
import { floatData, floats, integerData, integers, Session } from './session.ts';
import type { Feeds, Results, SessionSettings } from './session.ts';
import { largest } from '../common/lists.ts';

/** Rows of tokens of one run. Shorter rows are padded on the right; pads are seen by no real token. */
export interface TokenBatch {
  readonly rows: readonly (readonly number[])[];
}

export type ModelSettings = Omit<SessionSettings, 'folder'>;

/** Output of the router of one layer for N tokens, row-major. */
export interface RouterTrace {
  readonly layer: number;
  readonly experts: number;
  readonly topK: number;
  /** [N, experts]. */
  readonly logits: Float32Array;
  /** [N, topK], best first. */
  readonly chosen: readonly number[];
  /** [N, topK]. */
  readonly weights: Float32Array;
  /** [experts]: added to scores for the choice alone; absent where the family has none. */
  readonly choiceBias?: Float32Array;
}

export interface Logits {
  /** [rows, vocabulary], row-major. */
  readonly data: Float32Array;
  readonly rows: number;
  readonly vocabulary: number;
}

/** An opened model. Holds sessions until `release`. */
export class RunnableModel {
  readonly spec: TransformerSpec;
  readonly #files: PlacedFiles;
  readonly #sessions = new Map<string, Session>();
  #tables: { readonly tables: RopeTables; readonly length: number } | null = null;
  readonly #masks = new Map<string, Float32Array>();

  constructor(
    config: JsonObject,
    private readonly source: WeightSource,
    private readonly settings: ModelSettings,
  ) {
    this.spec = specFromConfig(config);
    this.#files = placeFiles(source);
  }

  /** The session for a kind of forward; created on first use and kept. */
  async session(options: Partial<ForwardOptions>): Promise<Session> {
    // Packed weights have no casts to save, and would be held twice for branches.
    const experts = this.settings.weights === 'packed' ? 'flat' : 'branch';
    const full: ForwardOptions = { ...FORWARD_DEFAULTS, experts, ...options };
    const key = JSON.stringify(full);
    const known = this.#sessions.get(key);
    if (known !== undefined) return known;
    const graph = new GraphBuilder(this.spec.modelType);
    buildForward(graph, this.spec, this.source, new FileBinder(graph, this.source, this.#files.locate), full);
    const made = await Session.create(graph, { ...this.settings, folder: this.#files.folder });
    this.#sessions.set(key, made);
    return made;
  }

  /** Logits of all positions of every row (rows one after another, pads included). */
  async logits(batch: TokenBatch): Promise<Logits> {
    const session = await this.session({});
    const results = await session.run(this.feeds(batch), ['logits']);
    return this.#logits(floatData(results.get('logits'), 'logits'));
  }

  /** Logits of chosen positions only; `at` counts through the padded rows: row · longest + position. */
  async logitsAt(batch: TokenBatch, at: readonly number[]): Promise<Logits> {
    const session = await this.session({ rows: 'chosen' });
    const results = await session.run({ ...this.feeds(batch), rows: integers(at, [at.length]) }, ['logits']);
    return this.#logits(floatData(results.get('logits'), 'logits'));
  }

  /** Log-probability of `targets[i]` after position `at[i]`, and the most likely token there. */
  async targets(
    feeds: Feeds,
    at: readonly number[],
    targets: readonly number[],
  ): Promise<{ readonly logprob: Float32Array; readonly greedy: readonly number[] }> {
    const session = await this.session({ rows: 'chosen', head: 'targets' });
    const results = await session.run(
      { ...feeds, rows: integers(at, [at.length]), targets: integers(targets, [targets.length]) },
      ['logprob', 'greedy'],
    );
    return {
      logprob: floatData(results.get('logprob'), 'logprob'),
      greedy: integerData(results.get('greedy'), 'greedy'),
    };
  }

  /** Router decisions of every MoE layer, without logits. */
  async traces(batch: TokenBatch): Promise<readonly RouterTrace[]> {
    const wanted = traceNames(this.spec);
    if (wanted.length === 0) return [];
    const session = await this.session({ traces: true, head: 'none' });
    return routerTraces(this.spec, await session.run(this.feeds(batch), wanted));
  }

  /** What enters each of `layers` (their number: what leaves the last), [tokens, hidden] each; layers above are not run. */
  async hidden(batch: TokenBatch, layers: readonly number[]): Promise<readonly Float32Array[]> {
    const session = await this.session({ hidden: layers, head: 'none' });
    const names = layers.map((layer) => `hidden.${layer}`);
    const results = await session.run(this.feeds(batch), names);
    return names.map((name) => floatData(results.get(name), name));
  }

  /** What the feed-forward networks of `layers` read, [tokens, hidden] each. */
  async ffnInputs(batch: TokenBatch, layers: readonly number[]): Promise<readonly Float32Array[]> {
    const session = await this.session({ ffnInputs: layers, head: 'none' });
    const names = layers.map((layer) => `ffn_input.${layer}`);
    const results = await session.run(this.feeds(batch), names);
    return names.map((name) => floatData(results.get(name), name));
  }

  /** Inputs of a plain batch: ids, positions from 0, causal masks, rotary tables. */
  feeds(batch: TokenBatch): Feeds {
    const length = largest(
      batch.rows.map((row) => row.length),
      0,
    );
    if (length === 0) throw new MoeError('usage', 'no-tokens', 'There is nothing to run: the batch has no tokens.');
    this.#checkRoom(batch.rows.length, length);
    const ids = batch.rows.flatMap((row) => [...row, ...Array<number>(length - row.length).fill(0)]);
    this.checkIds(ids);
    const positions = batch.rows.flatMap(() => Array.from({ length }, (_, i) => i));
    const dims = [batch.rows.length, length];
    const masks = maskWindows(this.spec).map(
      (window) => [maskName(window), floats(this.#causal(length, window), [1, 1, length, length])] as const,
    );
    return {
      input_ids: integers(ids, dims),
      position_ids: integers(positions, dims),
      ...Object.fromEntries(masks),
      ...this.ropeFeeds(length),
    };
  }

  /** Inputs of one packed row: texts that share prefixes, computed once. */
  packedFeeds(row: PackedRow): Feeds {
    const length = row.ids.length;
    if (length === 0) throw new MoeError('usage', 'no-tokens', 'There is nothing to run: the row has no tokens.');
    this.checkIds(row.ids);
    const masks = maskWindows(this.spec).map(
      (window) => [maskName(window), floats(packedMask(row, window), [1, 1, length, length])] as const,
    );
    const longest = largest(row.positions) + 1;
    return {
      input_ids: integers(row.ids, [1, length]),
      position_ids: integers(row.positions, [1, length]),
      ...Object.fromEntries(masks),
      ...this.ropeFeeds(longest, length),
    };
  }

  /**
   * cos and sin for texts of `length` positions; kept between runs. `row` is the number of tokens of a row where it is more
   * (packed texts): the operator wants as many table rows, though it reads only those of the positions.
   */
  ropeFeeds(length: number, row: number = length): Feeds {
    const { rope } = this.spec;
    const { longest } = this.spec.attention;
    if (longest !== null && length > longest)
      throw new MoeError(
        'input',
        'text-too-long-for-model',
        `A text of ${length} tokens is too long: models of type "${this.spec.modelType}" run up to ${longest} tokens here.`,
        { hint: 'Beyond, their attention works in chunks, which is not built.' },
      );
    const fixed = ropeDependsOnLength(rope);
    const needed = Math.max(length, row);
    const known = this.#tables;
    const fits = known !== null && known.tables.positions >= needed && (!fixed || known.length === length);
    // Twice as many rows as asked for, so that growing sequences do not recompute them at every step.
    const kept = fits ? known : { tables: ropeTables(rope, fixed ? needed : Math.max(64, 2 * needed), length), length };
    this.#tables = kept;
    const dims = [kept.tables.positions, rope.dim / 2];
    return { rope_cos: floats(kept.tables.cos, dims), rope_sin: floats(kept.tables.sin, dims) };
  }

  /** Frees all sessions. */
  async release(): Promise<void> {
    for (const session of this.#sessions.values()) await session.release();
    this.#sessions.clear();
    this.#masks.clear();
  }

  #causal(length: number, window: number | null): Float32Array {
    const key = `${length}/${String(window)}`;
    const known = this.#masks.get(key);
    if (known !== undefined) return known;
    const made = causalMask(length, window);
    if (this.#masks.size >= 8) this.#masks.clear();
    this.#masks.set(key, made);
    return made;
  }

  /** Attention over a whole text takes the square of its length: refused where this machine cannot hold it. */
  #checkRoom(rows: number, length: number): void {
    // The mask, and scores, masked scores and probabilities of one layer.
    const bytes = 4 * rows * (3 * this.spec.heads + 1) * length ** 2;
    const room = totalmem();
    if (bytes > 0.8 * room)
      throw new MoeError(
        'resources',
        'text-too-long',
        `A text of ${length} tokens takes about ${(bytes / 1e9).toFixed(1)} GB to run whole; this machine has ${(room / 1e9).toFixed(1)} GB.`,
        { hint: 'Give a shorter text, or a part of it.' },
      );
  }

  /** Throws a MoeError for an id outside the vocabulary. */
  checkIds(ids: readonly number[]): void {
    const bad = ids.find((id) => !(Number.isSafeInteger(id) && id >= 0 && id < this.spec.vocabSize));
    if (bad !== undefined) {
      throw new MoeError(
        'input',
        'token-out-of-range',
        `Token id ${bad} is outside the model's vocabulary of ${this.spec.vocabSize}.`,
        { hint: 'Check that the tokenizer belongs to this model.' },
      );
    }
  }

  #logits(data: Float32Array): Logits {
    return { data, rows: data.length / this.spec.vocabSize, vocabulary: this.spec.vocabSize };
  }
}

/** Output names of all routers. */
export function traceNames(spec: TransformerSpec): readonly string[] {
  return moeLayers(spec).flatMap(({ index, ffn }) =>
    ['router_logits', 'router_chosen', 'router_weights', ...(ffn.router.choiceBias ? ['router_choice_bias'] : [])].map(
      (stem) => `${stem}.${index}`,
    ),
  );
}

/** Router decisions from the outputs of a traced run. */
export function routerTraces(spec: TransformerSpec, results: Results): readonly RouterTrace[] {
  return moeLayers(spec).map(({ index, ffn }) => ({
    layer: index,
    experts: ffn.experts,
    topK: ffn.topK,
    logits: floatData(results.get(`router_logits.${index}`), 'router_logits'),
    chosen: integerData(results.get(`router_chosen.${index}`), 'router_chosen'),
    weights: floatData(results.get(`router_weights.${index}`), 'router_weights'),
    ...(ffn.router.choiceBias
      ? { choiceBias: floatData(results.get(`router_choice_bias.${index}`), 'router_choice_bias') }
      : {}),
  }));
}
