/** What evaluation needs from a model: token ids and log-likelihoods. The runtime implements it; tests fake it. */

/** A tokenizer as evaluation sees it. */
export interface EvalTokenizer {
  /**
   * Token ids of `text`. `addSpecial: true` applies the tokenizer's own rule for special tokens (post-processor and
   * `add_bos_token`), false adds none. The text is well-formed: lone surrogates are already replaced.
   */
  encode(text: string, options: { readonly addSpecial: boolean }): readonly number[];
  /** Text of ids, special tokens included; used to see whether a prompt already begins with the BOS text. */
  decode?(ids: readonly number[]): string;
  readonly bosId?: number;
  readonly eosId?: number;
  /** Set from `splitsAfterNewline` (prefix-cache.ts): common beginnings of prompts are then encoded once. */
  readonly splitsAfterNewline?: boolean;
}

/**
 * One continuation to score. Already cut to the model: context + continuation hold at most maxLength + 1 tokens, both are
 * non-empty, and the model runs on all but the last token.
 */
export interface ScoreRequest {
  readonly contextIds: readonly number[];
  readonly continuationIds: readonly number[];
  /** For expert traces: whose tokens these are, and how many leading context tokens are few-shot prefix. */
  readonly trace?: TraceTag;
}

export interface TraceTag {
  /** Domain that the tokens count for: an MMLU subject, or the task. */
  readonly domain: string;
  /** Leading tokens that statistics leave out (description and few-shot examples; 0 without few-shots). */
  readonly skipTokens: number;
}

/** Natural-log likelihood of the continuation, and whether each of its tokens was the argmax (first index on ties). */
export interface ScoreResult {
  readonly logprob: number;
  readonly isGreedy: boolean;
}

export interface ScoreOptions {
  readonly signal?: AbortSignal;
  /** Requests finished so far in this call. */
  readonly onProgress?: (done: number) => void;
}

export interface Scorer {
  readonly tokenizer: EvalTokenizer;
  /** Longest input in tokens. */
  readonly maxLength: number;
  /**
   * Scores requests; the results are in the order given. One call holds whole documents of one task in order, so requests with
   * one context stand side by side, and a task's common prefix runs through all of them: the scorer packs and sorts as it likes.
   */
  loglikelihoods(requests: readonly ScoreRequest[], options: ScoreOptions): Promise<readonly ScoreResult[]>;
  /** Input tokens that one call should hold; default 16384. A journal entry is written after each call. */
  readonly tokensPerCall?: number;
}

/** Where a scorer that gathers expert statistics keeps them between runs. */
export interface TraceStore {
  readonly file: string;
  /** Puts the statistics in the file back. Throws `bad-trace-state` when that cannot be; then nothing is restored. */
  load(): Promise<void>;
  /** Writes the statistics so far, whole or not at all; `tag` says what they are of. */
  save(tag: string): Promise<void>;
}
