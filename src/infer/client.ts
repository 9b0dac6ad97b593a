/** The model process as its parent sees it: forked, asked, killed when cancelled, and explained when it dies. */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { childEnvironment } from '../common/child-environment.ts';
import { MoeError, messageOf } from '../common/errors.ts';
import { isJsonObject } from '../common/json.ts';
import type { Device } from '../devices/devices.ts';
import type { EvalTokenizer, ScoreOptions, Scorer, ScoreRequest, ScoreResult, TraceStore } from '../eval/scorer.ts';
import type { TraceReport } from '../eval/trace-report.ts';
import { exitError } from '../jobs/exit.ts';
import type { ParamsOf, RequestDef, ResultOf } from '../protocol/define.ts';
import { processEndpoint } from '../protocol/host.ts';
import type { Endpoint } from '../protocol/host.ts';
import { fromMeasured } from '../protocol/wire.ts';
import type { LogitDifference } from '../verify/logits.ts';
import * as wire from './protocol.ts';
import type { ModelFacts, TalkRoutes, TalkToken } from './protocol.ts';

export interface InferOptions {
  /** dist/infer.js. */
  readonly entry: string;
  /** Aborting kills the process at once: a run cannot be interrupted otherwise. */
  readonly signal?: AbortSignal;
  readonly execPath?: string;
}

export interface OpenOptions {
  readonly cacheFolder: string;
  readonly weights: 'stored' | 'packed';
  readonly threads?: number | undefined;
  readonly device?: Device | undefined;
  readonly maxLength?: number | undefined;
  /** Dequantising: bytes done of bytes in all. */
  readonly onProgress?: (progress: { readonly done: number; readonly total: number }) => void;
}

const STDERR_KEPT = 8192;
const CRASH_HINT =
  'Run it again. If it crashes every time, set the environment variable MOE_WITHOUT_ARENA=1 (ONNX Runtime then uses the plain allocator), or run it on the CPU: --device cpu.';

/** Close it when done: `close` in a `finally`. */
export class InferProcess {
  readonly #child: ChildProcess;
  readonly #endpoint: Endpoint;
  readonly #exited: Promise<void>;
  #stderr = '';
  #end: { readonly code: number | null; readonly signal: string | null } | null = null;
  #spawnError: Error | null = null;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => {
    this.kill();
  };

  constructor(options: InferOptions) {
    if (!existsSync(options.entry)) {
      throw new MoeError('internal', 'infer-entry-missing', `The program ${options.entry} is missing.`, {
        file: options.entry,
        hint: 'Install or build MoE Workbench again.',
      });
    }
    this.#child = fork(options.entry, [], {
      execPath: options.execPath ?? process.execPath,
      execArgv: [],
      // Float32 on NVIDIA GPUs would be rounded to ten bits in matrix products otherwise (TF32).
      env: { NVIDIA_TF32_OVERRIDE: '0', ...childEnvironment() },
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_KEPT);
    });
    this.#exited = new Promise((resolve) => {
      this.#child.on('error', (error) => {
        this.#spawnError ??= error;
        if (this.#child.pid === undefined) resolve();
      });
      this.#child.on('close', (code, signal) => {
        this.#end = { code, signal };
        resolve();
      });
    });
    this.#endpoint = processEndpoint(this.#child, { peer: 'the model process' });
    this.#signal = options.signal;
    this.#signal?.addEventListener('abort', this.#onAbort, { once: true });
    if (this.#signal?.aborted === true) this.kill();
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Opens a checkpoint in the process; several may be open. */
  async open(path: string, options: OpenOptions): Promise<RemoteModel> {
    const { cacheFolder, weights } = options;
    const facts = await this.request(
      wire.inferOpen,
      {
        path,
        cacheFolder,
        weights,
        threads: options.threads ?? null,
        device: options.device ?? 'cpu',
        maxLength: options.maxLength ?? null,
      },
      options.onProgress,
    );
    return new RemoteModel(this, facts, options.maxLength ?? facts.maxPositions);
  }

  /** Asks the process. A process that dies instead of answering is a MoeError that says how it died. */
  async request<P, R, G>(
    def: RequestDef<P, R, G>,
    params: P,
    onProgress?: (progress: G) => void,
    /** Cancels this request alone, at the next token or text; the process lives on. */
    signal?: AbortSignal,
  ): Promise<R> {
    const signals = [this.#signal, signal].filter((one) => one !== undefined);
    try {
      return await this.#endpoint.request(def, params, {
        ...(onProgress === undefined ? {} : { onProgress }),
        ...(signals.length === 0 ? {} : { signal: AbortSignal.any(signals) }),
      });
    } catch (error) {
      if (this.#signal?.aborted === true || signal?.aborted === true)
        throw new MoeError('cancelled', 'cancelled', 'Cancelled.', {}, { cause: error });
      if (error instanceof MoeError && error.code !== 'rpc-closed') throw error;
      // Its channel closes before its exit is known.
      await Promise.race([this.#exited, delay(3000)]);
      throw this.#death(error);
    }
  }

  #death(cause: unknown): MoeError {
    if (this.#spawnError !== null && this.#end === null) {
      return new MoeError(
        'internal',
        'infer-not-started',
        `The model process could not be started: ${messageOf(this.#spawnError)}`,
        { hint: 'Is memory or the number of processes used up?' },
        { cause },
      );
    }
    const { code = null, signal = null } = this.#end ?? {};
    const error = exitError({
      code,
      signal,
      stderr: this.#stderr.trim(),
      progress: null,
      usage: null,
      killed: null,
      resumable: false,
    });
    return new MoeError(
      error.kind,
      error.code,
      error.message.replace('The job process', 'The model process'),
      error.code === 'job-crashed' ? { ...error.place, hint: CRASH_HINT } : error.place,
      { cause },
    );
  }

  /** Ends the process, whatever it does. */
  kill(): void {
    if (this.#end === null) this.#child.kill('SIGKILL');
  }

  /** Ends the process and waits until its memory is back. */
  async close(): Promise<void> {
    this.#signal?.removeEventListener('abort', this.#onAbort);
    if (this.#end === null && this.#child.connected) {
      this.#endpoint.request(wire.inferQuit, {}).catch(() => undefined);
      await Promise.race([this.#exited, delay(2000)]);
    }
    this.kill();
    await this.#exited;
    this.#endpoint.close();
  }
}

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
      ids: Int32Array.from(ids),
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
        windows: windows.map((ids) => Int32Array.from(ids)),
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

  /** What the playground offers for its tokenizer. */
  talk(): Promise<ResultOf<typeof wire.inferTalk>> {
    return this.process.request(wire.inferTalk, { model: this.facts.model });
  }

  /** Continues a text; `signal` stops it after the token that is being made. */
  continueText(
    params: Omit<ParamsOf<typeof wire.inferContinue>, 'model'>,
    onTokens: (step: TalkStep) => void,
    signal?: AbortSignal,
  ): Promise<ResultOf<typeof wire.inferContinue>> {
    return this.process.request(wire.inferContinue, { ...params, model: this.facts.model }, onTokens, signal);
  }

  async generate(
    ids: readonly number[],
    options: RemoteGenerateOptions,
  ): Promise<{ readonly tokens: readonly GeneratedRemote[]; readonly reason: 'stop' | 'length' | 'context' }> {
    const { onToken, traces, stop, signal, ...rest } = options;
    const tokens: GeneratedRemote[] = [];
    const { reason } = await this.process.request(
      wire.inferGenerate,
      { ...rest, model: this.facts.model, ids: Int32Array.from(ids), stop: [...stop], traces: traces ?? false },
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
      ids.set(contextIds, at);
      ids.set(continuationIds, at + contextIds.length);
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
    await this.process.request(wire.inferObserve, { model, rows: rows.map((ids) => Int32Array.from(ids)), domain });
  }

  /** What enters `layers` for each text: one vector per text and layer, text by text. */
  async hidden(
    rows: readonly (readonly number[])[],
    layers: readonly number[],
    take: 'last' | 'mean' | 'sum',
  ): Promise<readonly (readonly Float32Array[])[]> {
    const { hidden, vectors } = await this.process.request(wire.inferHidden, {
      model: this.facts.model,
      rows: rows.map((ids) => Int32Array.from(ids)),
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
      { model: this.facts.model, rows: rows.map((ids) => Int32Array.from(ids)), layers: [...layers], routers },
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

function delay(ms: number): Promise<void> {
  return new Promise((done) => {
    setTimeout(done, ms).unref();
  });
}
