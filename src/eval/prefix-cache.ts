import { isPythonSpace } from './python/text.ts';

/**
 * Is encoding by this tokenizer.json local at a lone newline? True only for byte-level BPE whose splitting expression is known:
 * then ids of `a + b` are ids of `a`, then ids of `b`, wherever `a` ends in one "\n" after a visible character and `b` begins with a
 * visible one. (Longer runs of white space differ: GPT-2's `\s+(?!\S)` treats the end of a text otherwise.) Unknown means false.
 */
export function splitsAfterNewline(tokenizerJson: unknown): boolean {
  const root = record(tokenizerJson);
  if (own(record(own(root, 'model')), 'type') !== 'BPE') return false;
  const normalizer = own(root, 'normalizer');
  if (normalizer !== null && normalizer !== undefined && own(record(normalizer), 'type') !== 'NFC') return false;
  const added = own(root, 'added_tokens');
  for (const token of Array.isArray(added) ? added : []) {
    const content = own(record(token), 'content');
    if (typeof content !== 'string' || content.includes('\n') || own(record(token), 'lstrip') === true) return false;
  }
  return localPreTokenizer(record(own(root, 'pre_tokenizer')));
}

const LLAMA3 = String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
const KNOWN_SPLITS = new Set([LLAMA3, LLAMA3.replace('{1,3}', '')]); // Llama 3, Qwen 2

function localPreTokenizer(step: Readonly<Record<string, unknown>> | undefined): boolean {
  const type = own(step, 'type');
  if (type === 'ByteLevel') return own(step, 'add_prefix_space') === false && own(step, 'use_regex') !== false;
  if (type !== 'Sequence') return false;
  const steps = own(step, 'pretokenizers');
  if (!Array.isArray(steps)) return false;
  const [first, last] = [record(steps[0]), record(steps.at(-1))];
  if (steps.length !== 2 || own(last, 'type') !== 'ByteLevel' || own(last, 'add_prefix_space') !== false) return false;
  if (own(first, 'type') === 'Digits') return own(last, 'use_regex') !== false;
  const regex = own(record(own(first, 'pattern')), 'Regex');
  return (
    own(first, 'type') === 'Split' &&
    own(first, 'behavior') === 'Isolated' &&
    typeof regex === 'string' &&
    KNOWN_SPLITS.has(regex)
  );
}

function record(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : undefined;
}

function own(value: Readonly<Record<string, unknown>> | undefined, name: string): unknown {
  return value !== undefined && Object.hasOwn(value, name) ? value[name] : undefined;
}

interface Beginning {
  readonly text: string;
  readonly ids: readonly number[];
}

const NOTHING: Beginning = { text: '', ids: [] };

/**
 * Encodes texts that begin alike without encoding the common beginning again: few-shot examples once per task, a question once for
 * all its choices. Exact for tokenizers that `splitsAfterNewline` vouches for.
 */
export class PrefixCache {
  #shared = NOTHING;
  #last = NOTHING;

  constructor(private readonly encodePiece: (text: string) => readonly number[]) {}

  /** Remembers the longest safe part of a beginning that many texts will share. */
  share(text: string): void {
    if (this.#shared.text !== '' && text.startsWith(this.#shared.text) && safeSplit(text, this.#shared.text.length) < 0)
      return;
    const cut = safeSplit(text, 0);
    this.#shared = cut < 0 ? NOTHING : { text: text.slice(0, cut), ids: this.encodePiece(text.slice(0, cut)) };
  }

  encode(text: string): readonly number[] {
    let known = NOTHING;
    for (const b of [this.#shared, this.#last]) {
      // The kept beginning is safe for this text only if a visible character follows here too.
      if (b.text.length > known.text.length && text.startsWith(b.text) && visible(text, b.text.length)) known = b;
    }
    const from = known.text.length;
    const cut = safeSplit(text, from);
    if (cut < 0) return [...known.ids, ...this.encodePiece(text.slice(from))];
    const ids = [...known.ids, ...this.encodePiece(text.slice(from, cut))];
    this.#last = { text: text.slice(0, cut), ids };
    return [...ids, ...this.encodePiece(text.slice(cut))];
  }
}

/** The last index after `from` where a lone newline ends and a visible character follows, or −1. */
function safeSplit(text: string, from: number): number {
  for (let at = text.lastIndexOf('\n'); at > from; at = text.lastIndexOf('\n', at - 1)) {
    if (visible(text, at - 1) && visible(text, at + 1)) return at + 1;
  }
  return -1;
}

// U+FEFF is white space to JavaScript's \s, which the tokenizer's expressions use here.
function visible(text: string, at: number): boolean {
  const unit = text.charCodeAt(at);
  return at >= 0 && at < text.length && !isPythonSpace(unit) && unit !== 0xfeff;
}
