import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeSampleCheckpoint } from '../../src/sample/sample.ts';
import { scratch } from './helpers.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const [folder, remove] = scratch();
const bin = join(folder, 'bin', 'cli.js');

beforeAll(async () => {
  const built = spawnSync(process.execPath, ['scripts/build.mjs', '--outdir', join(folder, 'bin')], {
    cwd: root,
    encoding: 'utf8',
  });
  expect(built.stderr).toBe('');
  await writeSampleCheckpoint(join(folder, 'dense'));
}, 60_000);
afterAll(remove);

function moe(...argv: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [bin, ...argv], { cwd: folder, encoding: 'utf8' });
}

function closed(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => {
    child.on('close', (code) => {
      resolve(code);
    });
  });
}

/** Names below a folder; none where it is no folder or has gone meanwhile. */
function namesUnder(path: string): string[] {
  try {
    return readdirSync(path, { recursive: true, encoding: 'utf8' });
  } catch {
    return [];
  }
}

describe('the built program', () => {
  it('starts with a shebang and may be executed', () => {
    expect(readFileSync(bin, 'utf8').startsWith('#!/usr/bin/env node\n')).toBe(true);
    if (process.platform !== 'win32') expect(statSync(bin).mode & 0o111).toBe(0o111);
  });

  it('prints JSON alone on standard output', () => {
    const { status, stdout } = moe('inspect', 'dense', '--json');
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ modelType: 'llama' });
    const bad = moe('inspect', 'nowhere', '--json');
    expect(bad.status).toBe(3);
    expect(JSON.parse(bad.stdout)).toMatchObject({ error: { code: 'not-found' } });
  });

  it('lives on when the reader closes the pipe', async () => {
    const child = spawn(process.execPath, [bin, 'plan', 'dense', '--json', '--set', 'experts=64'], { cwd: folder });
    const errors: string[] = [];
    child.stderr.on('data', (chunk: Buffer) => errors.push(chunk.toString()));
    child.stdout.once('data', () => child.stdout.destroy());
    expect(await closed(child)).toBe(0);
    expect(errors.join('')).toBe('');
  });

  it.skipIf(process.platform === 'win32')(
    'Ctrl-C stops an upcycle with 130 and a hint, nothing stands under the final name, --resume finishes it',
    async () => {
      const args = ['upcycle', 'dense', 'big', '--set', 'experts=128', '--no-clone', '--json'];
      const child = spawn(process.execPath, [bin, ...args], { cwd: folder });
      let out = '';
      child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
      // As soon as a weight file lies beside the output, it is in the middle of writing.
      const before = new Set(readdirSync(folder));
      const watch = setInterval(() => {
        const work = readdirSync(folder).filter((name) => !before.has(name));
        const files = work.flatMap((name) => namesUnder(join(folder, name)));
        if (!files.some((name) => name.endsWith('.safetensors'))) return;
        clearInterval(watch);
        child.kill('SIGINT');
      }, 5);
      const code = await closed(child);
      clearInterval(watch);
      expect(code).toBe(130);
      expect(JSON.parse(out)).toMatchObject({
        error: { code: 'cancelled', hint: expect.stringContaining('--resume') },
      });
      expect(existsSync(join(folder, 'big'))).toBe(false);
      const resumed = moe(...args, '--resume');
      expect(resumed.status).toBe(0);
      const verified = moe('verify', 'big', '--source', 'dense', '--json');
      expect(JSON.parse(verified.stdout)).toMatchObject({ ok: true });
      expect(readdirSync(folder).sort()).toEqual([...before, 'big'].sort());
    },
    60_000,
  );
});
