/**
 * Tensor names as patterns: `model.layers.3.mlp.experts.5.w1.weight` is `model.layers.#.mlp.experts.#.w1.weight` with the
 * indices 3 and 5. A checkpoint of a million tensors has a few dozen patterns; everything costly is done once per pattern.
 */
import { parseTensorName } from '../inspect/expert-names.ts';
import type { TensorName } from '../inspect/expert-names.ts';

interface Told {
  readonly meaning: TensorName;
  readonly layerSlot: number | null;
  readonly expertSlot: number | null;
}

/** Asked for its meaning only when that is shown: a hostile file may have as many patterns as tensors. */
export class NamePattern {
  /** Every `#` of the parts stands for an index; false for names that hold a `#` of their own. */
  readonly indexed: boolean;
  private read: Told | undefined;
  private split: readonly string[] | undefined;

  constructor(
    readonly key: string,
    /** Number of indices. */
    readonly slots: number,
  ) {
    this.indexed = slots === 0 ? !key.includes('#') : key.split('#').length - 1 === slots;
  }

  /** Parts of the key; an index stands in the part before it (`layers.#`), so that each part has one index at most. */
  get parts(): readonly string[] {
    this.split ??= this.indexed ? partsOf(this.key) : [this.key];
    return this.split;
  }

  /** What the name means; its own layer and expert are stand-ins. */
  get meaning(): TensorName {
    return this.told.meaning;
  }

  /** Which index is the layer's number; null where none is. */
  get layerSlot(): number | null {
    return this.told.layerSlot;
  }

  get expertSlot(): number | null {
    return this.told.expertSlot;
  }

  private get told(): Told {
    this.read ??= readMeaning(this);
    return this.read;
  }
}

/** Names longer than this are taken as they are: no real one comes near. */
const MAX_NAME = 1024;
const DOT = 46;

/** Modules that carry an index grown onto their name. */
function carriesIndex(word: string): boolean {
  return word === 'weight' || word === 'bias' || word === 'expert_';
}

/** The key of a name; its indices are appended to `into`. */
export function patternKey(name: string, into: number[]): string {
  if (name.length > MAX_NAME) return name;
  let key = '';
  let copied = 0;
  let tokenStart = 0;
  const { length } = name;
  for (let i = 0; i < length; i++) {
    const code = name.charCodeAt(i);
    if (code === DOT) {
      tokenStart = i + 1;
      continue;
    }
    if (code < 48 || code > 57) continue;
    // Digits: an index where they end the token and begin it (or follow a word that carries one).
    let end = i + 1;
    let value = code - 48;
    for (; end < length; end++) {
      const next = name.charCodeAt(end);
      if (next < 48 || next > 57) break;
      value = value * 10 + next - 48;
    }
    const whole = end === length || name.charCodeAt(end) === DOT;
    if (whole && end - i <= 9 && (i === tokenStart || carriesIndex(name.slice(tokenStart, i)))) {
      key += `${name.slice(copied, i)}#`;
      copied = end;
      into.push(value);
    }
    i = end - 1;
  }
  return copied === 0 ? name : key + name.slice(copied);
}

/** A stand-in for index `slot` that no other index has. */
const STAND_IN = 900_000_000;

/** What a pattern means, told by the grammar from a name with stand-ins for the indices. */
function readMeaning({ key, slots, indexed }: NamePattern): Told {
  let seen = 0;
  const name = indexed ? key.replace(/#/g, () => String(STAND_IN + seen++)) : key;
  const meaning = parseTensorName(name);
  const slotOf = (value: number | 'packed' | null): number | null =>
    typeof value === 'number' && value >= STAND_IN && value < STAND_IN + slots ? value - STAND_IN : null;
  return { meaning, layerSlot: slotOf(meaning.layer), expertSlot: slotOf(meaning.expert) };
}

function partsOf(key: string): string[] {
  if (key.length > MAX_NAME) return [key];
  const parts: string[] = [];
  for (const token of key.split('.')) {
    const last = parts.at(-1);
    if (token === '#' && last !== undefined && !last.includes('#')) parts[parts.length - 1] = `${last}.#`;
    else parts.push(token);
  }
  return parts;
}
