/** The tokenizer of any opened checkpoint: its own files, or those rebuilt from a GGUF. */
import { readFileSync } from 'node:fs';
import type { Checkpoint } from '../checkpoint/types.ts';
import { MoeError, messageOf } from '../common/errors.ts';
import { splitsAfterNewline } from '../eval/prefix-cache.ts';
import type { EvalTokenizer } from '../eval/scorer.ts';
import { loadTokenizer } from '../tokens/folder.ts';
import type { LoadedTokenizer } from '../tokens/folder.ts';

/** Reads a small file beside the weights; undefined where there is none. */
export function sidecarText(checkpoint: Checkpoint, name: string): string | undefined {
  const sidecar = checkpoint.sidecars.find((file) => file.name === name);
  if (sidecar?.text !== undefined) return sidecar.text;
  if (sidecar?.path === undefined) return undefined;
  try {
    return readFileSync(sidecar.path, 'utf8');
  } catch (error) {
    throw new MoeError(
      'input',
      'tokenizer-unreadable',
      `${name} cannot be read: ${messageOf(error)}`,
      { file: sidecar.path },
      { cause: error },
    );
  }
}

/** Loads it. Throws a MoeError `no-tokenizer` (for a GGUF with the reason), `tokenizer-unusable`… */
export function tokenizerOf(checkpoint: Checkpoint): LoadedTokenizer {
  try {
    return loadTokenizer((name) => sidecarText(checkpoint, name));
  } catch (error) {
    if (!(error instanceof MoeError) || error.code !== 'no-tokenizer') throw error;
    const { file: _, ...place } = error.place;
    if (checkpoint.format !== 'gguf') {
      throw new MoeError(error.kind, error.code, `${checkpoint.path}: ${error.message}`, {
        ...place,
        file: checkpoint.path,
      });
    }
    const reasons = checkpoint.problems.filter(({ code }) => code.includes('tokenizer')).map(({ message }) => message);
    throw new MoeError('input', 'no-tokenizer', `No tokenizer could be rebuilt from ${checkpoint.path}.`, {
      file: checkpoint.path,
      hint: reasons.join(' ') || 'The file has no tokenizer, or one of a kind that is not known.',
    });
  }
}

/** The tokenizer as evaluation wants it. */
export function evalTokenizer({ tokenizer, tokenizerJson }: LoadedTokenizer): EvalTokenizer {
  return {
    encode: (text, options) => tokenizer.encode(text, options),
    decode: (ids) => tokenizer.decode(ids),
    ...(tokenizer.bosId === undefined ? {} : { bosId: tokenizer.bosId }),
    ...(tokenizer.eosId === undefined ? {} : { eosId: tokenizer.eosId }),
    splitsAfterNewline: splitsAfterNewline(tokenizerJson),
  };
}
