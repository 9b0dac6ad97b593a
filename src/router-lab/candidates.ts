/** What the router lab compares and on what, unless told otherwise. */
import { PROMPT_INITS } from '../recipe/types.ts';
import type { Recipe } from '../recipe/types.ts';
import { firstTokens } from '../score/first-tokens.ts';
import { windowsOf } from '../verify/logits.ts';
import type { Candidate } from './lab.ts';

/** Tokens of a text that are run together. */
const WINDOW = 512;

/** The recipe's own start, the others beside it, and the prompt gates where the recipe has prompts. */
export function usualCandidates(recipe: Recipe): Candidate[] {
  const { init, std, prompts = [] } = recipe.router;
  const others = ['normal', 'uniform', 'orthogonal', 'zero'] as const;
  const all = new Set([init, ...others, ...(prompts.length > 0 ? PROMPT_INITS : [])]);
  return [...all].map((name) => ({ init: name, std }));
}

/** The first `limit` tokens of each text, cut into windows that the model can run. */
export function labWindows(
  encode: (text: string) => number[],
  texts: readonly string[],
  limit: number,
  maxPositions: number,
): { readonly tokens: readonly number[]; readonly windows: readonly (readonly number[])[] } {
  const ids = texts.map((text) => firstTokens(encode, text, limit));
  return {
    tokens: ids.map((one) => one.length),
    windows: ids.flatMap((one) => windowsOf(one, Math.min(WINDOW, maxPositions))),
  };
}
