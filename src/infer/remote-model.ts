/** A model opened in the model process, as its parent uses it. */
import { setTimeout as delay } from 'node:timers/promises';
import { MoeError } from '../common/errors.ts';
import { isJsonObject } from '../common/json.ts';
import type { EvalTokenizer, ScoreOptions, Scorer, ScoreRequest, ScoreResult, TraceStore } from '../eval/scorer.ts';
import type { TraceReport } from '../eval/trace-report.ts';
import type { ParamsOf, ResultOf } from '../protocol/define.ts';
import { fromMeasured } from '../protocol/wire.ts';
import type { LogitDifference } from '../verify/logits.ts';
import type { InferProcess } from './client.ts';
import * as wire from './protocol.ts';
import type { ModelFacts, TalkRoutes, TalkToken } from './protocol.ts';

export interface TalkStep {
  readonly promptTokens: number;
  readonly tokens: readonly TalkToken[];
  readonly routes: TalkRoutes | null;
}

export interface TopPosition {
  readonly argmax: number;
  /** Token id and logit, largest first. */
  readonly top: readonly (readonly [number, number])[];
}

export interface GeneratedRemote {
  readonly id: number;
  readonly logprob: number;
  readonly experts: readonly { readonly layer: number; readonly topK: number; readonly chosen: Int32Array }[];
}

export interface RemoteGenerateOptions {
  readonly maxTokens: number;
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly seed: number;
  readonly stop: readonly number[];
  readonly traces?: boolean;
  readonly onToken?: (token: GeneratedRemote) => void;
  /** Ends the text after the token that is being made; the process stays. */
  readonly signal?: AbortSignal;
}

/** A prompt is a page of text: tokenizer and template take milliseconds. */
const PROMPT_SECONDS = 20;

/** With `chat` the prompt is the user's turn, after the system's. */
export interface PromptWish {
  readonly prompt: string;
  readonly chat: boolean;
  readonly system: string | null;
}

/** Ids as they travel. Throws `token-out-of-range` for what 32 bits would make another id of. */
function packed(ids: readonly number[]): Int32Array {
  const bad = ids.find((id) => !(Number.isInteger(id) && id >= 0 && id < 2 ** 31));
  if (bad !== undefined)
    throw new MoeError('input', 'token-out-of-range', `Token id ${String(bad)} is outside the model's vocabulary.`, {
      hint: 'Check that the tokenizer belongs to this model.',
    });
  return Int32Array.from(ids);
}

/** A model opened in the process. */
export class RemoteModel {
  constructor(
    private readonly process: InferProcess,
    readonly facts: ModelFacts,
    readonly maxLength: number,
  ) {}

  /** The most likely tokens after each of `ids`. */
  async top(ids: readonly number[], top: number): Promise<readonly TopPosition[]> {
    const { positions } = await this.process.request(wire.inferTop, {
      model: this.facts.model,
      ids: packed(ids),
      top,
    });
    return positions.map(({ argmax, ids: best, logits }) => ({
      argmax,
      top: best.map((id, i) => [id, fromMeasured(logits[i] ?? 'NaN')] as const),
    }));
  }

  /** How far this model's logits are from the reference's. */
  async differenceFrom(
    reference: RemoteModel,
    windows: readonly (readonly number[])[],
    onProgress?: (progress: { readonly done: number; readonly total: number }) => void,
  ): Promise<LogitDifference> {
    const sent = await this.process.request(
      wire.inferCompare,
      {
        reference: reference.facts.model,
        model: this.facts.model,
        windows: windows.map((ids) => packed(ids)),
      },
      onProgress,
    );
    return {
      ...sent,
      maxAbs: fromMeasured(sent.maxAbs),
      relativeNorm: fromMeasured(sent.relativeNorm),
      meanKl: fromMeasured(sent.meanKl),
      maxKl: fromMeasured(sent.maxKl),
    };
  }

  /**
   * A prompt as token ids, rendered where need be. A tokenizer's pattern or a template may come to no end: after `seconds` the process
   * is ended. Throws `job-ended-by-prompt` then, and where they bring the process down themselves.
   */
  async promptIds(wanted: PromptWish, seconds = PROMPT_SECONDS): Promise<number[]> {
    const ended = (why: string, cause?: unknown): MoeError =>
      new MoeError(
        'input',
        'job-ended-by-prompt',
        `The ${wanted.chat ? 'chat template cannot be rendered' : 'prompt cannot be tokenised'}: ${why}`,
        {
          file: wanted.chat ? 'chat_template.jinja' : 'tokenizer.json',
          hint: 'The file may be damaged, or made to do harm.',
        },
        { cause },
      );
    const late = new AbortController();
    try {
      const { ids } = await Promise.race([
        this.process.request(wire.inferPrompt, { ...wanted, model: this.facts.model }),
        delay(seconds * 1000, null, { signal: late.signal }).then(() => {
          this.process.kill();
          throw ended(`it comes to no end in ${String(seconds)} s`);
        }),
      ]);
      return [...ids];
    } catch (error) {
      if (error instanceof MoeError && error.code === 'job-crashed') throw ended(error.message, error);
      throw error;
    } finally {
      late.abort();
    }
  }

  /** What the playground offers for its tokenizer. */
  talk(): Promise<ResultOf<typeof wire.inferTalk>> {
    return this.process.request(wire.inferTalk, { model: this.facts.model });
  }

  /** Continues a text; `signal` stops it after the token that is being made. Fails as `promptIds` does. */
  async continueText(
    {
      prompt,
      chat,
      ...sampling
    }: Omit<ParamsOf<typeof wire.inferContinue>, 'model' | 'ids'> & Omit<PromptWish, 'system'>,
    onTokens: (step: TalkStep) => void,
    signal?: AbortSignal,
    seconds = PROMPT_SECONDS,
  ): Promise<ResultOf<typeof wire.inferContinue>> {
    // Not cancelled with the rest: what has no end must still meet its own.
    const ids = await this.promptIds({ prompt, chat, system: null }, seconds);
    return this.process.request(
      wire.inferContinue,
      { ...sampling, model: this.facts.model, ids: packed(ids) },
      onTokens,
      signal,
    );
  }

  async generate(
    ids: readonly number[],
    options: RemoteGenerateOptions,
  ): Promise<{ readonly tokens: readonly GeneratedRemote[]; readonly reason: 'stop' | 'length' | 'context' }> {
    const { onToken, traces, stop, signal, ...rest } = options;
    const tokens: GeneratedRemote[] = [];
    const { reason } = await this.process.request(
      wire.inferGenerate,
      { ...rest, model: this.facts.model, ids: packed(ids), stop: [...stop], traces: traces ?? false },
      ({ id, logprob, experts }) => {
        const token = { id, logprob: fromMeasured(logprob), experts };
        tokens.push(token);
        onToken?.(token);
      },
      signal,
    );
    return { tokens, reason };
  }

  /** A scorer for src/eval over this model. With `trace` the routers' decisions are gathered as well. */
  scorer(tokenizer: EvalTokenizer, options: { readonly trace?: boolean } = {}): Scorer {
    return {
      tokenizer,
      maxLength: this.maxLength,
      loglikelihoods: (requests, given) => this.#score(requests, given, options.trace ?? false),
    };
  }

  async #score(
    requests: readonly ScoreRequest[],
    { onProgress }: ScoreOptions,
    trace: boolean,
  ): Promise<readonly ScoreResult[]> {
    const total = requests.reduce((sum, r) => sum + r.contextIds.length + r.continuationIds.length, 0);
    const ids = new Int32Array(total);
    const lengths = new Int32Array(2 * requests.length);
    const domainOf = new Int32Array(requests.length);
    const skips = new Int32Array(requests.length);
    const domains = new Map<string, number>();
    let at = 0;
    requests.forEach(({ contextIds, continuationIds, trace: tag }, i) => {
      ids.set(packed(contextIds), at);
      ids.set(packed(continuationIds), at + contextIds.length);
      at += contextIds.length + continuationIds.length;
      lengths.set([contextIds.length, continuationIds.length], 2 * i);
      if (tag !== undefined && !domains.has(tag.domain)) domains.set(tag.domain, domains.size);
      domainOf[i] = tag === undefined ? -1 : (domains.get(tag.domain) ?? -1);
      skips[i] = tag?.skipTokens ?? 0;
    });
    const { logprobs, greedy } = await this.process.request(
      wire.inferScore,
      { model: this.facts.model, ids, lengths, domains: [...domains.keys()], domainOf, skips, trace },
      onProgress === undefined
        ? undefined
        : ({ done }) => {
            onProgress(done);
          },
    );
    return requests.map((_, i) => ({ logprob: logprobs[i] ?? Number.NaN, isGreedy: greedy[i] === 1 }));
  }

  /** Runs texts for their routers alone. Throws `no-experts` for a dense model. */
  async observe(rows: readonly (readonly number[])[], domain: string): Promise<void> {
    const model = this.facts.model;
    await this.process.request(wire.inferObserve, { model, rows: rows.map((ids) => packed(ids)), domain });
  }

  /** What enters `layers` for each text: one vector per text and layer, text by text. */
  async hidden(
    rows: readonly (readonly number[])[],
    layers: readonly number[],
    take: 'last' | 'mean' | 'sum',
  ): Promise<readonly (readonly Float32Array[])[]> {
    const { hidden, vectors } = await this.process.request(wire.inferHidden, {
      model: this.facts.model,
      rows: rows.map((ids) => packed(ids)),
      layers: [...layers],
      take,
    });
    return rows.map((_, row) =>
      layers.map((_, at) => {
        const start = (row * layers.length + at) * hidden;
        return vectors.subarray(start, start + hidden);
      }),
    );
  }

  /**
   * Logits that routers would give on each text: `routers` holds [rows, hidden] per layer, one after another. Hands on each
   * text's logits, [layers, tokens, rows], as they come.
   */
  async routerLogits(
    rows: readonly (readonly number[])[],
    layers: readonly number[],
    routers: Float32Array,
    onText: (row: number, logits: Float32Array) => void,
  ): Promise<void> {
    await this.process.request(
      wire.inferRouterLogits,
      { model: this.facts.model, rows: rows.map((ids) => packed(ids)), layers: [...layers], routers },
      ({ row, logits }) => {
        onText(row, logits);
      },
    );
  }

  /** Keeps what is traced in a file between runs. */
  traceStore(file: string): TraceStore {
    const model = this.facts.model;
    return {
      file,
      load: async () => void (await this.process.request(wire.inferTraceLoad, { model, file })),
      save: async (tag) => void (await this.process.request(wire.inferTraceSave, { model, file, tag })),
    };
  }

  /** Statistics of everything traced so far; null for a dense model. */
  async traceReport(): Promise<TraceReport | null> {
    const { report } = await this.process.request(wire.inferTraceReport, { model: this.facts.model });
    return isJsonObject(report) ? (report as unknown as TraceReport) : null;
  }
}
