/** Runs killed with SIGKILL at every durable step and at random moments; resuming gives the very same files. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verifyOutput } from '../../src/verify/index.ts';
import { executePlan } from '../../src/write/index.ts';
import { hashes, planOf, writeDense } from './dense.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'moe-kill-'));
const script = join(scratch, 'child.mjs');
// Small files, so that there are many steps; noise, so that a part is computed and not cloned.
const changes = { output: { dtype: 'same', shard_size: 6000, clone: 'auto' } } as const;

beforeAll(async () => {
  await build({
    entryPoints: [join(root, 'test/write/child.ts')],
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    outfile: script,
    logLevel: 'warning',
    alias: { 'safetensors-js': join(root, 'packages/safetensors-js/src/index.ts') },
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
  });
});
afterAll(() => {
  rmSync(scratch, { recursive: true, force: true });
});

interface Ended {
  readonly signal: NodeJS.Signals | null;
  readonly steps: readonly string[];
  readonly report: {
    readonly resumedFiles: number;
    readonly alreadyComplete: boolean;
    readonly notes: string[];
  } | null;
  readonly error: string | null;
}

/** Runs the child; `killAfterMs` counts from its first step. */
function run(source: string, out: string, options: object, killAfterMs?: number): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [script, source, out, JSON.stringify(changes), JSON.stringify(options)]);
    let text = '';
    let timer: NodeJS.Timeout | undefined;
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      if (killAfterMs !== undefined) timer ??= setTimeout(() => child.kill('SIGKILL'), killAfterMs);
    });
    child.on('close', (_code, signal) => {
      clearTimeout(timer);
      const lines = text.split('\n').filter((line) => line !== '');
      const report = lines.find((line) => line.startsWith('REPORT '));
      resolve({
        signal,
        steps: lines.filter((line) => !line.startsWith('REPORT ')),
        report: report === undefined ? null : (JSON.parse(report.slice(7)) as Ended['report']),
        error: lines.find((line) => line.startsWith('ERROR ')) ?? null,
      });
    });
  });
}

describe('kill -9', () => {
  it('at each kind of step: nothing under the final name, and resume finishes without redoing marked files', async () => {
    const dense = writeDense({ shards: 2 });
    const { plan, sources } = await planOf([dense], changes);
    const reference = join(dirname(dense), 'reference');
    await executePlan(plan, sources, reference);
    const expected = hashes(reference);
    const files = plan.files.map(({ name }) => name);
    const steps = [
      'journal',
      `file ${files[0] ?? ''}`,
      `file ${files[Math.floor(files.length / 2)] ?? ''}`,
      'produced',
      'manifest',
      'published',
    ];
    for (const [index, dieAt] of steps.entries()) {
      const out = join(dirname(dense), `out${String(index)}`);
      const died = await run(dense, out, { dieAt });
      expect(died.signal, dieAt).toBe('SIGKILL');
      expect(existsSync(out), dieAt).toBe(dieAt === 'published');
      const marked = died.steps.filter((step) => step.startsWith('file ')).length;
      const resumed = await run(dense, out, { resume: true });
      expect(resumed.error, dieAt).toBeNull();
      if (dieAt === 'published') expect(resumed.report?.alreadyComplete).toBe(true);
      else expect(resumed.report?.resumedFiles, dieAt).toBeGreaterThanOrEqual(marked);
      // What was marked is not written again.
      const again = resumed.steps.filter((step) => died.steps.includes(step) && step.startsWith('file '));
      expect(again, dieAt).toEqual([]);
      expect(hashes(out), dieAt).toEqual(expected);
      // Nothing is left beside it.
      expect(
        readdirSync(dirname(dense)).filter((name) => name.includes('moe-partial')),
        dieAt,
      ).toEqual([]);
    }
  });

  it('at random moments, again and again: the survivor is whole and proven', async () => {
    const dense = writeDense();
    const { plan, sources } = await planOf([dense], changes);
    const reference = join(dirname(dense), 'reference');
    await executePlan(plan, sources, reference);
    const out = join(dirname(dense), 'out');
    let ended: Ended | undefined;
    let kills = 0;
    for (let attempt = 0; attempt < 6 && (ended?.report ?? null) === null; attempt++) {
      // The last attempt may live.
      ended = await run(
        dense,
        out,
        { resume: attempt > 0, delayMs: attempt < 5 ? 20 : 0 },
        attempt < 5 ? Math.random() * 150 : undefined,
      );
      expect(ended.error).toBeNull();
      if (ended.signal === 'SIGKILL') kills += 1;
      if (ended.report === null && !ended.steps.includes('published')) expect(existsSync(out)).toBe(false);
    }
    expect(kills).toBeGreaterThan(0);
    expect(ended?.report).not.toBeNull();
    expect(hashes(out)).toEqual(hashes(reference));
    expect((await verifyOutput(out, { sources })).ok).toBe(true);
  });
});
