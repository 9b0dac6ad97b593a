import { MoeError } from '../common/errors.ts';
import { idsKey } from './digests.ts';
import type { EncodedPair } from './encode.ts';
import type { Journal } from './journal.ts';
import type { Work } from './progress.ts';
import type { ScoreRequest, ScoreResult, Scorer, TraceTag } from './scorer.ts';

const DEFAULT_TOKENS_PER_CALL = 16_384;

/** Called when a document's requests are all scored, in the order in which documents were added. */
export type DocumentDone = (results: readonly ScoreResult[]) => void;

interface Pending {
  readonly requests: readonly ScoreRequest[];
  readonly keys: readonly string[];
  readonly work: Work;
  readonly done: DocumentDone;
}

/** Told after each call, for progress: documents finished, and which part of the work really ran. */
export type CallDone = (documents: number, all: Work, ran: Work, ms: number) => void;

/**
 * Feeds whole documents to the scorer in calls of a token budget. Requests with ids that were scored before (in this run or in
 * the journal) are not run again.
 */
export class RequestRunner {
  readonly #seen = new Map<string, ScoreResult>();
  readonly #budget: number;
  #pending: Pending[] = [];
  #tokens = 0;
  resumed = 0;

  constructor(
    private readonly scorer: Scorer,
    private readonly journal: Journal | undefined,
    private readonly options: {
      readonly signal?: AbortSignal | undefined;
      readonly onCall: CallDone;
      readonly onPartial: (requests: number) => void;
      /** After finished requests were written to the journal. */
      readonly onWritten?: (() => Promise<void>) | undefined;
      readonly now: () => number;
    },
  ) {
    this.#budget = Math.max(1, scorer.tokensPerCall ?? DEFAULT_TOKENS_PER_CALL);
  }

  /** Adds a document's requests (already cut to length); runs a call when the budget is full. */
  async add(pairs: readonly EncodedPair[], trace: TraceTag, work: Work, done: DocumentDone): Promise<void> {
    const requests = pairs.map(({ contextIds, continuationIds }): ScoreRequest => ({
      contextIds,
      continuationIds,
      trace,
    }));
    const keys = pairs.map(idsKey);
    this.#pending.push({ requests, keys, work, done });
    const fresh = pairs.filter((_, i) => !this.#known(keys[i] ?? ''));
    // Choices of one document share its context, so it is counted once.
    this.#tokens += fresh.reduce((n, p) => n + p.continuationIds.length, fresh[0]?.contextIds.length ?? 0);
    // Documents that need no run still wait for those before them, but not without end.
    if (this.#tokens >= this.#budget || this.#pending.length >= 4096) await this.flush();
  }

  #known(key: string): boolean {
    return this.#seen.has(key) || this.journal?.get(key) !== undefined;
  }

  /** Scores everything that is pending. Call at the end of each task: one call never mixes tasks. */
  async flush(): Promise<void> {
    const pending = this.#pending;
    if (pending.length === 0) return;
    this.#pending = [];
    this.#tokens = 0;
    checkCancelled(this.options.signal, this.journal !== undefined);
    const fresh = new Map<string, ScoreRequest>();
    const all = { requests: 0, characters: 0 };
    const ran = { requests: 0, characters: 0 };
    for (const doc of pending) {
      all.requests += doc.work.requests;
      all.characters += doc.work.characters;
      let open = 0;
      doc.keys.forEach((key, i) => {
        const request = doc.requests[i];
        if (request === undefined || this.#seen.has(key) || fresh.has(key)) return;
        const stored = this.journal?.get(key);
        if (stored !== undefined) {
          this.#seen.set(key, stored);
          this.resumed++;
          return;
        }
        fresh.set(key, request);
        open++;
      });
      if (doc.keys.length > 0) ran.characters += (doc.work.characters * open) / doc.keys.length;
    }
    ran.requests = fresh.size;
    const start = this.options.now();
    if (fresh.size > 0) await this.#score(fresh);
    const ms = this.options.now() - start;
    for (const doc of pending)
      doc.done(doc.keys.map((key) => this.#seen.get(key) ?? { logprob: NaN, isGreedy: false }));
    this.options.onCall(pending.length, all, ran, ms);
  }

  async #score(fresh: ReadonlyMap<string, ScoreRequest>): Promise<void> {
    const { signal, onPartial } = this.options;
    let results: readonly ScoreResult[];
    try {
      results = await this.scorer.loglikelihoods([...fresh.values()], {
        ...(signal === undefined ? {} : { signal }),
        onProgress: onPartial,
      });
    } catch (error) {
      checkCancelled(signal, this.journal !== undefined, error);
      throw error;
    }
    if (results.length !== fresh.size) {
      throw new MoeError(
        'internal',
        'scorer-result-count',
        `the scorer returned ${results.length} results for ${fresh.size} requests`,
      );
    }
    const entries = [...fresh.keys()].map((key, i) => ({
      key,
      result: results[i] ?? { logprob: NaN, isGreedy: false },
    }));
    for (const { key, result } of entries) this.#seen.set(key, result);
    await this.journal?.add(entries);
    await this.options.onWritten?.();
  }
}

/** Throws a cancellation for people when `signal` is aborted. */
export function checkCancelled(signal: AbortSignal | undefined, journalled: boolean, cause?: unknown): void {
  if (signal?.aborted !== true) return;
  const hint = journalled ? 'Start the same evaluation again: finished requests are kept in the journal.' : undefined;
  throw new MoeError(
    'cancelled',
    'evaluation-cancelled',
    'the evaluation was cancelled',
    hint === undefined ? {} : { hint },
    { cause },
  );
}
