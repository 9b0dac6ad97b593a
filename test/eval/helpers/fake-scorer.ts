import { createHash } from 'node:crypto';
import { idsKey, idsLine } from '../../../src/eval/digests.ts';
import type { EncodedPair } from '../../../src/eval/encode.ts';
import type { EvalTokenizer, ScoreRequest, ScoreResult, Scorer } from '../../../src/eval/scorer.ts';

/** A scorer that answers from a table of known results; an unknown request is a failure. */
export class TableScorer implements Scorer {
  readonly #table = new Map<string, ScoreResult>();
  calls: number[] = [];

  constructor(
    readonly tokenizer: EvalTokenizer,
    readonly maxLength: number,
    readonly tokensPerCall = 4096,
  ) {}

  set(pair: EncodedPair, result: ScoreResult): void {
    this.#table.set(idsKey(pair), result);
  }

  get size(): number {
    return this.#table.size;
  }

  loglikelihoods(requests: readonly ScoreRequest[]): Promise<readonly ScoreResult[]> {
    this.calls.push(requests.length);
    return Promise.resolve(
      requests.map((request) => {
        const known = this.#table.get(idsKey(request));
        if (known === undefined) throw new Error(`unknown request ${idsLine(request).slice(-120)}`);
        return known;
      }),
    );
  }
}

/**
 * A scorer whose log-likelihoods are a hash of the ids: what the model "is" does not matter for testing rules. The recipe is
 * repeated in test/eval/oracle.py, which feeds the same numbers to lm-evaluation-harness.
 */
export class HashScorer implements Scorer {
  requests: ScoreRequest[] = [];
  calls = 0;

  constructor(
    readonly tokenizer: EvalTokenizer,
    readonly maxLength: number,
    readonly tokensPerCall = 2048,
  ) {}

  loglikelihoods(requests: readonly ScoreRequest[]): Promise<readonly ScoreResult[]> {
    this.calls++;
    this.requests.push(...requests);
    return Promise.resolve(requests.map(hashResult));
  }
}

export function hashResult(pair: EncodedPair): ScoreResult {
  const digest = createHash('sha256').update(idsLine(pair), 'utf8').digest();
  // A multiple of 2^-16, so that no rounding differs between languages.
  return { logprob: -(digest.readUInt32BE(0) >>> 10) / 65536, isGreedy: (digest[4] ?? 0) % 3 === 0 };
}

/** One token per UTF-16 unit plus 3; 1 is BOS, 2 is EOS. */
export function toyTokenizer(options: { readonly addsBos?: boolean } = {}): EvalTokenizer {
  return {
    bosId: 1,
    eosId: 2,
    encode: (text, { addSpecial }) => {
      const ids = Array.from({ length: text.length }, (_, i) => text.charCodeAt(i) + 3);
      return addSpecial && options.addsBos === true ? [1, ...ids] : ids;
    },
    decode: (ids) => ids.map((id) => (id === 1 ? '<s>' : id === 2 ? '</s>' : String.fromCharCode(id - 3))).join(''),
  };
}

/** One token per word with its leading space, numbered as met: quick, and the ids of a context begin those of its continuations. */
export function wordTokenizer(): EvalTokenizer {
  const ids = new Map<string, number>();
  return {
    bosId: 0,
    encode: (text) =>
      text.split(/(?= )/).map((word) => {
        const id = ids.get(word) ?? ids.size + 1;
        ids.set(word, id);
        return id;
      }),
  };
}
