/** What names mean, for lists of a million: the grammar is asked once per pattern. */
import type { TensorRole } from '../inspect/expert-names.ts';
import { NamePattern, patternKey } from './name-pattern.ts';

export interface NameMeaning {
  readonly role: TensorRole;
  readonly layer: number | null;
  readonly expert: number | 'packed' | null;
}

export class NameReader {
  private readonly patterns = new Map<string, NamePattern>();
  private readonly indices: number[] = [];

  read(name: string): NameMeaning {
    const { indices } = this;
    indices.length = 0;
    const key = patternKey(name, indices);
    let pattern = this.patterns.get(key);
    // Names with a `#` of their own may share a key with others: they are read anew.
    if (pattern?.slots !== indices.length) {
      pattern = new NamePattern(key, indices.length);
      this.patterns.set(key, pattern);
    }
    const { meaning, layerSlot, expertSlot } = pattern;
    return {
      role: meaning.role,
      layer: layerSlot === null ? meaning.layer : (indices[layerSlot] ?? null),
      expert: expertSlot === null ? meaning.expert : (indices[expertSlot] ?? null),
    };
  }
}
