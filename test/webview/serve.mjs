// Builds the webviews and serves them on loopback as VS Code would show them: same policy, theme variables, fake host.
// Used by pages.mjs; `node test/webview/serve.mjs` alone serves them for a person to look at.
import { createServer } from 'node:http';
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { statSync } from 'node:fs';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { THEMES } from './themes.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
export const out = join(root, 'test/webview/out');
export const PAGES = ['viewer', 'planner', 'compare', 'heatmap', 'results', 'playground'];

const withoutLocales = {
  name: 'without-locales',
  setup(setup) {
    setup.onLoad({ filter: /zod[\\/]v4[\\/]locales[\\/]index\.js$/ }, () => ({ contents: 'export {};', loader: 'js' }));
  },
};

/** Bundles pages and fake hosts into out/dist; gives the minified size of each page's script in bytes. */
export async function bundle(pages = PAGES) {
  const common = {
    absWorkingDir: root,
    bundle: true,
    platform: 'browser',
    target: 'chrome128',
    format: 'esm',
    legalComments: 'none',
    logLevel: 'warning',
    plugins: [withoutLocales],
    outdir: join(out, 'dist'),
  };
  await build({
    ...common,
    minify: true,
    entryPoints: pages.map((page) => ({ in: `webview/${page}/main.ts`, out: page })),
  });
  await build({
    ...common,
    format: 'iife',
    entryPoints: pages.map((page) => ({ in: `test/webview/fake/${page}.ts`, out: `${page}-host` })),
  });
  return Object.fromEntries(pages.map((page) => [page, statSync(join(out, 'dist', `${page}.js`)).size]));
}

const TYPES = { '.js': 'text/javascript', '.css': 'text/css', '.ttf': 'font/ttf' };

/** Serves; gives {url, close}. A page: /viewer?scenario=partial&theme=dark */
export async function serve() {
  const server = createServer((request, response) => {
    answer(request, response).catch((error) => {
      response.writeHead(404).end(String(error));
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  async function answer(request, response) {
    const { pathname, searchParams } = new URL(request.url, url);
    if (pathname === '/favicon.ico') {
      response.writeHead(204).end();
      return;
    }
    const page = pathname.slice(1);
    if (PAGES.includes(page)) {
      response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(html(page, searchParams, url));
      return;
    }
    const file = pathname.startsWith('/codicon')
      ? join(root, 'node_modules/@vscode/codicons/dist', pathname.slice(1))
      : pathname.startsWith('/theme-')
        ? null
        : join(out, 'dist', pathname.slice(1));
    if (file === null) {
      const name = pathname.slice('/theme-'.length, -'.css'.length);
      response.writeHead(200, { 'content-type': 'text/css' }).end(themeCss(name));
      return;
    }
    const bytes = await readFile(file);
    response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' }).end(bytes);
  }
  return { url, close: () => new Promise((resolve) => server.close(resolve)) };
}

function themeCss(name) {
  const theme = THEMES[name];
  return `:root{${Object.entries(theme.variables)
    .map(([key, value]) => `${key}:${value};`)
    .join('')}}`;
}

function html(page, params, source) {
  const nonce = randomBytes(16).toString('base64');
  const name = params.get('theme') ?? 'dark';
  const theme = THEMES[name];
  const motion = params.get('motion') === 'reduce' ? ' vscode-reduce-motion' : '';
  // The policy of the extension's pages, word for word, with the server standing for webview.cspSource.
  const policy = `default-src 'none'; script-src 'nonce-${nonce}'; style-src ${source}; font-src ${source}; img-src data: ${source}`;
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${page}</title>
<link rel="stylesheet" href="/theme-${name}.css">
<link rel="stylesheet" href="/codicon.css">
<link rel="stylesheet" href="/${page}.css">
</head>
<body class="${theme.body}${motion}" data-vscode-theme-kind="${theme.body}">
<div id="root"></div>
<script nonce="${nonce}" src="/${page}-host.js"></script>
<script nonce="${nonce}" type="module" src="/${page}.js"></script>
</body>
</html>`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  console.log(await bundle());
  const { url } = await serve();
  for (const page of PAGES) console.log(`${url}/${page}?theme=dark`);
}
