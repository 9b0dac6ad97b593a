/**
 * FAST (under the toolkit) asks once, while it is loaded, whether the browser knows `:focus-visible`, with an inline `<style>`
 * that the content security policy forbids. The answer would be a violation in the console and focus rings on every mouse
 * click. Until `release()` an inserted `<style>` is kept out of the document and answers with a constructed sheet instead.
 * This module must be imported before the toolkit.
 */
const { head } = document;
const append = head.appendChild;
const remove = head.removeChild;

head.appendChild = function <T extends Node>(node: T): T {
  if (!(node instanceof HTMLStyleElement)) return append.call(head, node) as T;
  Object.defineProperty(node, 'sheet', { value: new CSSStyleSheet(), configurable: true });
  return node;
};
head.removeChild = function <T extends Node>(node: T): T {
  return node.parentNode === head ? (remove.call(head, node) as T) : node;
};

/** Gives the document its own methods back. */
export function release(): void {
  head.appendChild = append;
  head.removeChild = remove;
}
