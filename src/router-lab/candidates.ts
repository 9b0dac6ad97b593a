/** What the router lab compares and on what, unless told otherwise. */
import { PROMPT_INITS } from '../recipe/types.ts';
import type { Recipe } from '../recipe/types.ts';
import { firstTokens } from '../score/first-tokens.ts';
import { windowsOf } from '../verify/logits.ts';
import type { Candidate } from './lab.ts';

/** Tokens of a text that are run together. */
const WINDOW = 512;

/** The recipe's own start, the others beside it, and the prompt gates where the recipe has prompts for every expert. */
export function usualCandidates(recipe: Recipe): Candidate[] {
  const { experts, granularity } = recipe;
  const { init, std, prompts = [] } = recipe.router;
  const others = ['normal', 'uniform', 'orthogonal', 'zero'] as const;
  const all = new Set([
    init,
    ...others,
    ...(prompts.length > 0 && prompts.length === experts / granularity ? PROMPT_INITS : []),
  ]);
  return [...all].map((name) => ({ init: name, std }));
}

/** The first `limit` tokens of each text, cut into windows that the model can run. */
export function labWindows(
  encode: (text: string) => number[],
  texts: readonly string[],
  limit: number,
  maxPositions: number,
): {
  readonly tokens: readonly number[];
  /** Of each text: nothing was left out. */
  readonly whole: readonly boolean[];
  readonly windows: readonly (readonly number[])[];
} {
  // One more than is run tells whether there was more.
  const found = texts.map((text) => firstTokens(encode, text, limit + 1));
  const ids = found.map((one) => one.slice(0, limit));
  return {
    tokens: ids.map((one) => one.length),
    whole: found.map((one) => one.length <= limit),
    windows: ids.flatMap((one) => windowsOf(one, Math.min(WINDOW, maxPositions))),
  };
}
