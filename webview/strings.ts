/**
 * Words of the pages. As in `vscode.l10n`, the English text is the key: `t('Copy {0}', name)`. The host may give
 * translations as a JSON object in `data-l10n` of `#root`; what it does not translate stays English.
 */
let translations: ReadonlyMap<string, string> = new Map();

/** Takes the host's translations. Anything that is no table of texts is ignored. */
export function loadTranslations(json: string | null | undefined): void {
  translations = new Map();
  if (json === null || json === undefined || json === '') return;
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch {
    return;
  }
  if (typeof parsed !== 'object' || parsed === null) return;
  translations = new Map(
    Object.entries(parsed).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

/** A text for people, its `{0}`, `{1}` … filled in. Values are put in as they are: they are never markup. */
export function t(english: string, ...values: readonly (string | number)[]): string {
  const text = translations.get(english) ?? english;
  return text.replaceAll(/\{(\d+)\}/gu, (hole, index: string) => {
    const value = values[Number(index)];
    return value === undefined ? hole : String(value);
  });
}

/** Marks a text of a table for translators (scripts/l10n.mjs); `t()` it where it is shown. */
export function key(english: string): string {
  return english;
}
