/** Where a recipe's result goes unless another place is chosen. No vscode here, and no YAML. */
import { basename, dirname, sep } from 'node:path';

/** The folder that a recipe's output goes to unless another is chosen: beside it, by its name. */
export function defaultOutput(recipeFile: string): string {
  const name = basename(recipeFile).replace(/\.moe\.ya?ml$/i, '');
  return `${dirname(recipeFile)}${sep}${name === '' ? 'moe' : name}`;
}
