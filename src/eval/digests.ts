import type { Hash } from 'node:crypto';
import { createHash } from 'node:crypto';
import type { EncodedPair } from './encode.ts';

const sha256 = (text: string): string => createHash('sha256').update(text, 'utf8').digest('hex');

/** sha256 of a text, hex: the harness's `hash_string`. */
export function hashString(text: string): string {
  return sha256(text);
}

/** Digest of one request: sha256 of context, U+0001, continuation with its delimiter. */
export function requestDigest(context: string, continuation: string): string {
  return sha256(`${context}\u0001${continuation}`);
}

/** "1,2,3|4,5": how a request's ids enter digests and journals. */
export function idsLine(pair: EncodedPair): string {
  return `${pair.contextIds.join(',')}|${pair.continuationIds.join(',')}`;
}

/** Key of scored ids in a journal: equal ids have equal log-likelihoods whatever task they come from. */
export function idsKey(pair: EncodedPair): string {
  return sha256(idsLine(pair)).slice(0, 32);
}

/** Running digests over all requests of a task, in document then choice order (reference section 4.1, goldens' meta). */
export class TaskDigests {
  readonly #text: Hash = createHash('sha256');
  readonly #ids: Hash = createHash('sha256');
  #requests = 0;

  /** One request as the harness passes it, ids before cutting. */
  add(context: string, continuation: string, pair: EncodedPair): void {
    this.#requests++;
    this.#text.update(`${context}\u0001${continuation}\n`, 'utf8');
    this.#ids.update(`${idsLine(pair)}\n`, 'utf8');
  }

  /** A rolling document: its text, and one line per window. */
  addRolling(text: string, windows: readonly EncodedPair[]): void {
    this.#requests += windows.length;
    this.#text.update(text, 'utf8');
    for (const window of windows) this.#ids.update(`${idsLine(window)}\n`, 'utf8');
  }

  /** Full sha256 values; may be read at any time. */
  result(): { readonly requests: number; readonly text: string; readonly ids: string } {
    return { requests: this.#requests, text: this.#text.copy().digest('hex'), ids: this.#ids.copy().digest('hex') };
  }
}

/** Text digest per document, as reference section 4.1 defines it: context, then every continuation, each after U+0001. */
export function documentText(context: string, continuations: readonly string[]): string {
  return `${context}\u0001${continuations.join('\u0001')}\n`;
}
