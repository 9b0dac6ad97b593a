import { MoeError } from '../common/errors.ts';
import { PrefixCache } from './prefix-cache.ts';
import { pyRstrip, wellFormed } from './python/text.ts';
import type { EvalTokenizer } from './scorer.ts';

/**
 * Which harness's rules for special tokens hold. Since 0.4.9.2 the tokenizer decides about BOS; before it, causal models got
 * none unless asked (Gemma excepted). A score is ambiguous without this.
 */
export type RuleProfile = 'harness-0.4.9.2' | 'harness-0.4.9.1';
export const RULE_PROFILES: readonly RuleProfile[] = ['harness-0.4.9.2', 'harness-0.4.9.1'];
export const DEFAULT_PROFILE: RuleProfile = 'harness-0.4.9.2';

export interface EncodeRules {
  readonly profile: RuleProfile;
  /** The harness's `add_bos_token`. */
  readonly addBos: 'auto' | boolean;
  /** `model_type` of the config: the old rule makes an exception for Gemma. */
  readonly modelType?: string;
  /** The harness's `prefix_token_id`; default BOS, else EOS. */
  readonly prefixTokenId?: number;
}

/** Token ids of one request before any cutting. */
export interface EncodedPair {
  readonly contextIds: readonly number[];
  readonly continuationIds: readonly number[];
}

/** Why the harness would stop at a request; the request is left out and reported. */
export type Unscorable = 'empty-context' | 'empty-continuation' | 'continuation-too-long';

/** Encodes requests by the harness's rules (reference section 3.1). Remembers the last context, which choices share. */
export class RequestEncoder {
  readonly prefixTokenId: number;
  readonly #old: boolean;
  readonly #prefixText: string | undefined;
  readonly #lead: { readonly special: boolean; readonly force: number | undefined };
  readonly #cache: PrefixCache | undefined;
  readonly #leading: readonly number[];
  #lastText = '';
  #lastIds: readonly number[] = [];

  constructor(
    private readonly tokenizer: EvalTokenizer,
    rules: EncodeRules,
  ) {
    const prefix = rules.prefixTokenId ?? tokenizer.bosId ?? tokenizer.eosId;
    if (prefix === undefined) {
      throw new MoeError(
        'input',
        'no-prefix-token',
        'the tokenizer names neither a BOS nor an EOS token, so empty contexts cannot be scored',
        {
          hint: 'Set bos_token or eos_token in tokenizer_config.json.',
        },
      );
    }
    this.prefixTokenId = prefix;
    this.#old = rules.profile === 'harness-0.4.9.1';
    const gemma = (rules.modelType ?? '').includes('gemma');
    const addBos = this.#old && gemma ? true : rules.addBos;
    // `add_bos_token=True` also reaches the tokenizer when it is loaded, so that one without a BOS rule adds it too.
    this.#lead =
      addBos === true
        ? { special: true, force: tokenizer.bosId }
        : { special: addBos === 'auto' && !this.#old, force: undefined };
    this.#prefixText = this.#old ? undefined : tokenizer.decode?.([prefix]);
    this.#leading = tokenizer.encode('', { addSpecial: true });
    if (tokenizer.splitsAfterNewline === true && onlyLeads(tokenizer, this.#leading)) {
      this.#cache = new PrefixCache((text) => tokenizer.encode(text, { addSpecial: false }));
    }
  }

  /** Tells that the next texts begin with `text`, so that its ids are kept (where the tokenizer allows it). */
  share(text: string): void {
    this.#cache?.share(wellFormed(text));
  }

  /** Ids of a whole prompt, with special tokens where the rules put them. */
  encode(text: string): readonly number[] {
    const given = wellFormed(text);
    const already = this.#prefixText !== undefined && this.#prefixText !== '' && given.startsWith(this.#prefixText);
    if (already || !this.#lead.special) return this.#plain(given);
    const ids =
      this.#cache === undefined
        ? this.tokenizer.encode(given, { addSpecial: true })
        : [...this.#leading, ...this.#cache.encode(given)];
    const { force } = this.#lead;
    return force === undefined || ids[0] === force ? ids : [force, ...ids];
  }

  #plain(text: string): readonly number[] {
    return this.#cache?.encode(text) ?? this.tokenizer.encode(text, { addSpecial: false });
  }

  /** Ids of context and continuation; the continuation includes its delimiter. */
  pair(context: string, continuation: string): EncodedPair {
    if (context === '') return this.#withoutContext(continuation);
    const stripped = pyRstrip(context);
    const whole = this.encode(context + continuation);
    if (stripped === '') {
      // All white space: the harness moves it over and encodes an empty context, which is BOS alone or nothing.
      const contextIds = this.encode('');
      return { contextIds, continuationIds: whole.slice(contextIds.length) };
    }
    const contextIds = this.#context(stripped);
    // Where the boundary merges, the context's own ids stand and the rest is taken by count (reference section 3.1).
    return { contextIds, continuationIds: whole.slice(contextIds.length) };
  }

  #context(text: string): readonly number[] {
    if (text !== this.#lastText) {
      this.#lastIds = this.encode(text);
      this.#lastText = text;
    }
    return this.#lastIds;
  }

  #withoutContext(continuation: string): EncodedPair {
    if (this.#old) return { contextIds: [this.prefixTokenId], continuationIds: this.encode(continuation) };
    const ids = this.tokenizer.encode(wellFormed(continuation), { addSpecial: false });
    if (ids[0] === this.prefixTokenId) return { contextIds: ids.slice(0, 1), continuationIds: ids.slice(1) };
    return { contextIds: [this.prefixTokenId], continuationIds: ids };
  }

  /**
   * Windows of a rolling score as the harness makes them. A tokenizer that adds BOS has it twice: once as prefix, once as the
   * first token to predict; `single` drops the second, which is the corrected value (reference section 3.4).
   */
  rolling(text: string, maxLength: number, single = false): EncodedPair[] {
    let ids = this.encode(text);
    if (single && this.doublesBos(ids)) ids = ids.slice(1);
    return rollingWindows(ids, this.prefixTokenId, maxLength);
  }

  /** Do these ids begin with the prefix token, so that a rolling score would see it twice? */
  doublesBos(ids: readonly number[]): boolean {
    return ids[0] === this.prefixTokenId;
  }
}

/** Are special tokens only put in front, so that they can be added by hand? */
function onlyLeads(tokenizer: EvalTokenizer, leading: readonly number[]): boolean {
  const plain = tokenizer.encode('a', { addSpecial: false });
  const special = tokenizer.encode('a', { addSpecial: true });
  return special.join() === [...leading, ...plain].join();
}

/**
 * The harness's `get_rolling_token_windows` with `context_len` 1, made disjoint: each token is predicted once, the first window
 * from the prefix token, later ones from as much text as fits.
 */
export function rollingWindows(ids: readonly number[], prefix: number, maxLength: number): EncodedPair[] {
  const windows: EncodedPair[] = [];
  const first = Math.min(maxLength, ids.length);
  if (first === 0) return windows;
  windows.push({ contextIds: [prefix], continuationIds: ids.slice(0, first) });
  for (let done = first; done < ids.length;) {
    const n = Math.min(ids.length - done, maxLength);
    const end = done + n;
    windows.push({ contextIds: ids.slice(end - maxLength - 1, done), continuationIds: ids.slice(done, end) });
    done = end;
  }
  return windows;
}

/**
 * Cuts a request from the left so that the model's input holds at most `maxLength` tokens: BOS goes first (reference section
 * 3.2). Returns why when the harness would abort instead.
 */
export function cutToLength(
  pair: EncodedPair,
  maxLength: number,
): (EncodedPair & { readonly cut: number }) | Unscorable {
  const { contextIds, continuationIds } = pair;
  if (contextIds.length === 0) return 'empty-context';
  if (continuationIds.length === 0) return 'empty-continuation';
  if (continuationIds.length > maxLength) return 'continuation-too-long';
  const cut = Math.max(0, contextIds.length + continuationIds.length - (maxLength + 1));
  return { contextIds: cut === 0 ? contextIds : contextIds.slice(cut), continuationIds, cut };
}
