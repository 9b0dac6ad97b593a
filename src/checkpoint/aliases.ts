/**
 * Names that a file knows only through its `__metadata__`. safetensors' `save_model` stores a tensor that has several names
 * once and writes {dropped name: kept name} into the metadata; some writers put it the other way round.
 */
import type { SourceTensor } from './types.ts';

/** Looks like a parameter's name, so that `{"format": "pt"}` and free text are no aliases. */
const TENSOR_NAME = /^[\w-]+(?:\.[\w-]+)+$/;

/** Hugging Face name → name on disk, only for names that are not on disk themselves. */
export function aliasesOf(
  metadata: ReadonlyMap<string, string>,
  tensors: ReadonlyMap<string, SourceTensor>,
): Map<string, string> {
  const aliases = new Map<string, string>();
  for (const [key, value] of metadata) {
    const pairs: readonly (readonly [string, string])[] = [
      [key, value],
      [value, key],
    ];
    for (const [absent, present] of pairs) {
      if (tensors.has(present) && !tensors.has(absent) && TENSOR_NAME.test(absent) && !aliases.has(absent)) {
        aliases.set(absent, present);
      }
    }
  }
  return aliases;
}
