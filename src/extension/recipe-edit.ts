/** Edits of a recipe's text that keep its comments, order and style. No vscode here. */
import { isCollection, isMap, parseDocument } from 'yaml';
import { MoeError } from '../common/errors.ts';
import type { RecipeChange } from '../protocol/planning.ts';

/** Throws MoeError `recipe-not-editable` where the text is no mapping that could be edited. */
export function applyRecipeChanges(text: string, changes: readonly RecipeChange[]): string {
  const document = parseDocument(text, { keepSourceTokens: true });
  const [fault] = document.errors;
  if (fault !== undefined)
    throw new MoeError('input', 'recipe-not-editable', `The recipe's text must be mended first: ${fault.message}`);
  if (document.contents !== null && !isMap(document.contents))
    throw new MoeError('input', 'recipe-not-editable', 'The recipe is no mapping of fields');
  for (const change of changes) {
    const path = [...change.path];
    if (change.op === 'set') {
      // A method name alone becomes a mapping where a member of it is set.
      for (let length = 1; length < path.length; length++) {
        const node = document.getIn(path.slice(0, length), true);
        if (node !== undefined && !isCollection(node)) document.setIn(path.slice(0, length), document.createNode({}));
      }
      document.setIn(path, change.value);
      continue;
    }
    document.deleteIn(path);
    // A mapping whose last member went is as good as none.
    for (let length = path.length - 1; length > 0; length--) {
      const node = document.getIn(path.slice(0, length), true);
      if (!isCollection(node) || node.items.length > 0) break;
      document.deleteIn(path.slice(0, length));
    }
  }
  return document.toString({ lineWidth: 0 });
}
