/** The ends over their real transports: a webview as VS Code has it (JSON and typed arrays), a worker thread, a fork. */
import { fork } from 'node:child_process';
import { writeFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { build } from 'esbuild';
import { afterAll, describe, expect, it } from 'vitest';
import { similarity } from '../../src/protocol/checkpoint.ts';
import { defineNotification, defineRequest } from '../../src/protocol/define.ts';
import { portEndpoint, processEndpoint, webviewEndpoint } from '../../src/protocol/host.ts';
import type { WebviewLike } from '../../src/protocol/host.ts';
import type { PageWindow } from '../../src/protocol/page.ts';
import type * as pageModule from '../../src/protocol/page.ts';
import { text } from '../../src/protocol/wire.ts';
import * as z from 'zod/mini';

const echo = defineRequest('t/echo', z.object({ text }), z.object({ text, values: similarity.shape.values }));
const word = defineNotification('t/word', z.object({ text }));
const folder = mkdtempSync(join(tmpdir(), 'moe-ends-'));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** VS Code writes messages as JSON and carries typed arrays beside it. */
function asVsCode(message: unknown): unknown {
  const arrays: Float32Array[] = [];
  const json = JSON.stringify(message, (_, value: unknown) =>
    value instanceof Float32Array ? { $array: arrays.push(value) - 1 } : value,
  );
  return JSON.parse(json, (_, value: unknown) => {
    if (typeof value !== 'object' || value === null || !('$array' in value)) return value;
    return Float32Array.from(arrays[Number(value.$array)] ?? []);
  });
}

function webviewPair(): {
  readonly webview: WebviewLike;
  readonly page: PageWindow;
  readonly post: (m: unknown) => void;
} {
  const toHost = new Set<(message: unknown) => void>();
  const toPage = new Set<(event: { readonly data: unknown }) => void>();
  return {
    webview: {
      postMessage: (message) => {
        const data = asVsCode(message);
        queueMicrotask(() => {
          for (const listener of toPage) listener({ data });
        });
        return Promise.resolve(true);
      },
      onDidReceiveMessage: (listener) => {
        toHost.add(listener);
        return { dispose: () => toHost.delete(listener) };
      },
    },
    page: {
      addEventListener: (_, listener) => toPage.add(listener),
      removeEventListener: (_, listener) => toPage.delete(listener),
    },
    post: (message) => {
      const data = asVsCode(message);
      queueMicrotask(() => {
        for (const listener of toHost) listener(data);
      });
    },
  };
}

/** The page's end as a page gets it: bundled for a browser. */
async function pageEnd(): Promise<typeof pageModule> {
  const outfile = join(folder, 'page.mjs');
  await build({
    entryPoints: [join(import.meta.dirname, '../../src/protocol/page.ts')],
    bundle: true,
    platform: 'browser',
    format: 'esm',
    outfile,
  });
  return (await import(outfile)) as typeof pageModule;
}

describe('webview', () => {
  it('asks the host and is told, with arrays whole and text as text', async () => {
    const { pageEndpoint } = await pageEnd();
    const { webview, page, post } = webviewPair();
    const host = webviewEndpoint(webview);
    const view = pageEndpoint({ postMessage: post }, page);
    host.handle(echo, ({ text: said }) => ({ text: said, values: new Float32Array([1, NaN, 3]) }));
    const hostile = '<img src=x onerror=alert(1)>\u0000\u2028"\\';
    const answer = await view.request(echo, { text: hostile });
    expect(answer.text).toBe(hostile);
    expect([...answer.values]).toEqual([1, NaN, 3]);
    const heard = new Promise<string>((done) => {
      view.on(word, ({ text: said }) => {
        done(said);
      });
    });
    host.notify(word, { text: 'loaded' });
    expect(await heard).toBe('loaded');
    host.close();
    view.close();
    await expect(view.request(echo, { text: 'x' })).rejects.toMatchObject({ code: 'rpc-closed' });
  });
});

const serving = `
  import * as z from 'zod/mini';
  import { defineRequest } from './define.ts';
  import { portEndpoint, processEndpoint } from './host.ts';
  import { floats, text } from './wire.ts';
  import { parentPort } from 'node:worker_threads';
  const echo = defineRequest('t/echo', z.object({ text }), z.object({ text, values: floats }));
  const end = parentPort === null ? processEndpoint(process) : portEndpoint(parentPort);
  end.handle(echo, ({ text: said }) => {
    if (said === 'die') process.exit(7);
    return { text: said, values: new Float32Array([0.5]) };
  });
  end.onClose(() => process.exit(0));
`;

async function program(): Promise<string> {
  const outfile = join(folder, 'serving.js');
  const result = await build({
    stdin: { contents: serving, resolveDir: join(import.meta.dirname, '../../src/protocol'), loader: 'ts' },
    bundle: true,
    platform: 'node',
    format: 'cjs',
    mainFields: ['module', 'main'],
    write: false,
  });
  writeFileSync(outfile, result.outputFiles[0]?.contents ?? '');
  return outfile;
}

describe('worker thread', () => {
  it('answers, and its end rejects what is open', async () => {
    const thread = new Worker(await program());
    const end = portEndpoint(thread);
    expect([...(await end.request(echo, { text: 'x' })).values]).toEqual([0.5]);
    await expect(end.request(echo, { text: 'die' })).rejects.toMatchObject({ code: 'rpc-closed' });
    expect(end.closed).toBe(true);
  });
});

describe('forked process', () => {
  it('answers, and its end rejects what is open', async () => {
    const child = fork(await program(), { serialization: 'advanced' });
    const end = processEndpoint(child);
    expect([...(await end.request(echo, { text: 'x' })).values]).toEqual([0.5]);
    await expect(end.request(echo, { text: 'die' })).rejects.toMatchObject({ code: 'rpc-closed' });
    await expect(end.request(echo, { text: 'x' })).rejects.toMatchObject({ code: 'rpc-closed' });
  });
});
