/** The protocol as a whole: unique methods, no host or page in what both import, small in a page. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as compare from '../../src/protocol/compare.ts';
import * as heatmap from '../../src/protocol/heatmap.ts';
import { fromMeasured, toMeasured } from '../../src/protocol/index.ts';
import * as job from '../../src/protocol/job.ts';
import * as planner from '../../src/protocol/planner.ts';
import * as viewer from '../../src/protocol/viewer.ts';
import { floats, list, measured, num } from '../../src/protocol/wire.ts';
import * as worker from '../../src/protocol/worker.ts';

const folder = fileURLToPath(new URL('../../src/protocol', import.meta.url));
const audiences = { compare, heatmap, job, planner, viewer, worker };

function methodsOf(module: object): string[] {
  return Object.values(module).flatMap((value: unknown) =>
    typeof value === 'object' && value !== null && 'method' in value && typeof value.method === 'string'
      ? [value.method]
      : [],
  );
}

describe('definitions', () => {
  it('have methods that are unique and named after their audience', () => {
    const all = Object.entries(audiences).flatMap(([name, module]) => {
      const methods = methodsOf(module);
      expect(methods.length).toBeGreaterThan(4);
      for (const method of methods) expect(method).toMatch(new RegExp(`^${name}/[a-zA-Z]+$`));
      return methods;
    });
    expect(new Set(all).size).toBe(all.length);
  });
});

describe('files', () => {
  it('import neither Node nor the DOM nor vscode, but for the two ends', () => {
    for (const file of readdirSync(folder)) {
      const text = readFileSync(join(folder, file), 'utf8');
      const imports = [...text.matchAll(/(?:from|import) '([^']+)'/g)].map(([, name]) => name ?? '');
      const foreign = imports.filter(
        (name) => !name.startsWith('.') && name !== 'zod/mini' && name !== 'vscode-jsonrpc',
      );
      const allowed =
        file === 'host.ts' ? ['vscode-jsonrpc/node'] : file === 'page.ts' ? ['vscode-jsonrpc/browser'] : [];
      expect(foreign, file).toEqual(allowed);
      const outside = imports.filter((name) => name.startsWith('../'));
      expect(
        outside.every((name) => name.startsWith('../common/')),
        file,
      ).toBe(true);
    }
  });

  it('are small in a page: rpc, validation and all messages of all views', async () => {
    const result = await build({
      stdin: {
        contents: ['page', 'viewer', 'planner', 'compare', 'heatmap']
          .map((name) => `export * as ${name} from './${name}.ts';`)
          .join('\n'),
        resolveDir: folder,
        loader: 'ts',
      },
      bundle: true,
      minify: true,
      platform: 'browser',
      target: 'chrome128',
      format: 'esm',
      write: false,
      logLevel: 'silent',
    });
    // A strict content security policy forbids making code from text; zod's other flavour tries to.
    expect(result.outputFiles[0]?.text).not.toMatch(/\bFunction\(|\beval\(/);
    // Of the 600 kB that a webview may have. Measured: 107 kB.
    expect(result.outputFiles[0]?.contents.length).toBeLessThan(130_000);
  });
});

describe('numbers on the wire', () => {
  it('survive JSON, whatever they are', () => {
    fc.assert(
      fc.property(fc.double(), (value) => {
        const sent: unknown = JSON.parse(JSON.stringify(toMeasured(value)));
        const got = fromMeasured(measured.parse(sent));
        // JSON has no negative zero.
        expect(Object.is(got, value) || (got === 0 && value === 0)).toBe(true);
      }),
    );
  });

  it('that JSON would silently lose are refused elsewhere', () => {
    for (const value of [NaN, Infinity, -Infinity]) expect(num.safeParse(value).success).toBe(false);
  });

  it('in blocks are Float32Array, nothing like it', () => {
    expect(floats.safeParse(new Float32Array(3)).success).toBe(true);
    expect(floats.safeParse(structuredClone(new Float32Array(3))).success).toBe(true);
    for (const other of [[1], new Float64Array(1), { length: 1 }, null])
      expect(floats.safeParse(other).success).toBe(false);
  });

  it('in lists are bounded', () => {
    expect(list(num, 3).safeParse([1, 2, 3, 4]).success).toBe(false);
  });
});
