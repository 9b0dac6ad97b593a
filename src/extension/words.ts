/**
 * Texts of the parts of the extension that do not import vscode, so that they can be tested without it. As with
 * `vscode.l10n.t`, the English text is the key; activation gives the editor's translations.
 */
type Translate = (english: string, ...values: readonly (string | number)[]) => string;

const english: Translate = (text, ...values) =>
  text.replaceAll(/\{(\d+)\}/gu, (hole, index: string) => String(values[Number(index)] ?? hole));

let translate: Translate = english;

/** Texts come from `next` from now on. */
export function useTranslator(next: Translate): void {
  translate = next;
}

/** A text for people, its `{0}`, `{1}` … filled in. Call it with a literal: scripts/l10n.mjs collects them. */
export function t(text: string, ...values: readonly (string | number)[]): string {
  return translate(text, ...values);
}
