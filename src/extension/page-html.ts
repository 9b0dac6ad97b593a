/** The HTML of a webview page: an empty root under a strict content security policy. No vscode here. */
import { randomBytes } from 'node:crypto';

export interface PageParts {
  /** `webview.cspSource`. */
  readonly cspSource: string;
  readonly script: string;
  readonly styles: readonly string[];
  readonly title: string;
  readonly language: string;
  /** Translations of the pages' texts, English → translated; null: English. */
  readonly translations: Readonly<Record<string, string>> | null;
}

/** Values end up in attributes and text: none of them can leave its place. */
export function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}

/** Nothing inline: scripts by nonce, styles, fonts and pictures from the extension's folder alone, no network. */
export function pageHtml(parts: PageParts, nonce: string = randomBytes(24).toString('base64')): string {
  const { cspSource, script, styles, title, language, translations } = parts;
  const policy = [
    "default-src 'none'",
    `style-src ${cspSource}`,
    `font-src ${cspSource}`,
    `img-src ${cspSource}`,
    `script-src 'nonce-${nonce}'`,
  ].join('; ');
  const links = styles.map((style) => `<link rel="stylesheet" href="${escapeHtml(style)}">`).join('\n');
  const l10n = translations === null ? '' : ` data-l10n="${escapeHtml(JSON.stringify(translations))}"`;
  return `<!DOCTYPE html>
<html lang="${escapeHtml(language)}">
<head>
<meta charset="UTF-8">
<meta http-equiv="Content-Security-Policy" content="${escapeHtml(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1.0">
<title>${escapeHtml(title)}</title>
${links}
</head>
<body>
<div id="root"${l10n}></div>
<script type="module" nonce="${nonce}" src="${escapeHtml(script)}"></script>
</body>
</html>
`;
}

/** A page that only says something: no script, no style, nothing loaded. */
export function messageHtml(message: string): string {
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="UTF-8">
<meta http-equiv="Content-Security-Policy" content="default-src &#39;none&#39;">
<title>MoE Workbench</title>
</head>
<body>
<p role="alert">${escapeHtml(message)}</p>
</body>
</html>
`;
}
