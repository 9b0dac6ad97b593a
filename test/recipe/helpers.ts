import { MoeError } from '../../src/common/errors.ts';
import { loadRecipe } from '../../src/recipe/load.ts';
import type { LoadedRecipe, RecipeRequest } from '../../src/recipe/load.ts';

/** Loads text as a.moe.yaml in a folder that does not exist: nothing may read the disk. */
export function load(text: string, more: RecipeRequest = {}): LoadedRecipe {
  return loadRecipe({ text, file: 'a.moe.yaml', cwd: '/nowhere', ...more });
}

export function loadSets(...sets: string[]): LoadedRecipe {
  return loadRecipe({ sets, cwd: '/nowhere' });
}

/** The error of a call that must fail. */
export function failure(call: () => unknown): MoeError {
  try {
    call();
  } catch (error) {
    if (error instanceof MoeError) return error;
    throw error;
  }
  throw new Error('it did not fail');
}
