/** The tokens that a proof by logits is run on. */
import type { Checkpoint } from '../checkpoint/types.ts';
import { MoeError } from '../common/errors.ts';
import { proofIds } from '../verify/logits.ts';
import { PROOF_TEXT } from '../verify/proof-text.ts';
import { tokenizerOf } from './tokenizer.ts';

export interface ProofInput {
  readonly ids: readonly number[];
  /** What they are, for people. */
  readonly input: string;
}

/**
 * Tokens of `text`, or of the built-in text where that is null. Without a usable tokenizer, and without a text, made-up ids
 * below `vocabulary`. Throws MoeError `no-tokens` on a text that has none.
 */
export function proofInput(source: Checkpoint, text: string | null, vocabulary: number): ProofInput {
  let ids: readonly number[];
  try {
    ids = tokenizerOf(source).tokenizer.encode(text ?? PROOF_TEXT);
  } catch (error) {
    if (text !== null || !(error instanceof MoeError) || error.code !== 'no-tokenizer') throw error;
    return { ids: proofIds(vocabulary), input: 'made-up token ids (there is no tokenizer)' };
  }
  if (text === null && ids.some((id) => id >= vocabulary))
    return { ids: proofIds(vocabulary), input: 'made-up token ids (the tokenizer has more than the model)' };
  if (ids.length === 0) throw new MoeError('usage', 'no-tokens', 'the text has no tokens, so there is nothing to run');
  return { ids, input: text === null ? 'the built-in text' : 'the given text' };
}
