import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { MoeError } from '../../src/common/errors.ts';
import { executePlan } from '../../src/write/index.ts';
import { takeLock } from '../../src/write/lock.ts';
import { newFolder, planOf, writeDense } from './dense.ts';

function refusal(work: () => unknown): MoeError {
  try {
    work();
  } catch (error) {
    if (error instanceof MoeError) return error;
    throw error;
  }
  throw new Error('expected a refusal');
}

describe('lock', () => {
  it('is held by one, given free, and leaves nothing behind', () => {
    const folder = newFolder();
    const path = join(folder, 'lock');
    const lock = takeLock(path, 'out');
    const error = refusal(() => takeLock(path, 'out'));
    expect([error.code, error.kind]).toEqual(['output-locked', 'input']);
    expect(error.message).toContain(`process ${String(process.pid)}`);
    lock.release();
    expect(readdirSync(folder)).toEqual([]);
    takeLock(path, 'out').release();
  });

  const own = (folder: string): Record<string, unknown> => {
    const lock = takeLock(join(folder, 'lock'), 'x');
    const text = readFileSync(join(folder, 'lock'), 'utf8');
    lock.release();
    return JSON.parse(text) as Record<string, unknown>;
  };

  it('of a dead process is no obstacle', () => {
    const folder = newFolder();
    const path = join(folder, 'lock');
    const dead = spawnSync(process.execPath, ['-e', 'console.log(process.pid)'], { encoding: 'utf8' });
    writeFileSync(path, JSON.stringify({ ...own(folder), pid: Number(dead.stdout), started: '1' }));
    takeLock(path, 'out').release();
    expect(readdirSync(folder)).toEqual([]);
  });

  it('of a process whose id another one has now is no obstacle', () => {
    const folder = newFolder();
    const path = join(folder, 'lock');
    const mine = own(folder);
    if (mine['started'] === null) {
      console.warn('SKIPPED: no /proc here to tell when a process started');
      return;
    }
    writeFileSync(path, JSON.stringify({ ...mine, started: '12345' }));
    takeLock(path, 'out').release();
  });

  it('that was cut off while being made is no obstacle', () => {
    const folder = newFolder();
    writeFileSync(join(folder, 'lock'), '{"pid": 1');
    takeLock(join(folder, 'lock'), 'out').release();
  });

  it('of another machine counts while it shows signs of life', () => {
    const folder = newFolder();
    const path = join(folder, 'lock');
    writeFileSync(path, JSON.stringify({ ...own(folder), host: `not-${hostname()}` }));
    expect(refusal(() => takeLock(path, 'out')).message).toContain(`on not-${hostname()}`);
    const old = new Date(Date.now() - 120_000);
    utimesSync(path, old, old);
    takeLock(path, 'out').release();
  });

  it('keeps two runs out of one place; the second harms nothing', async () => {
    const dense = writeDense();
    const out = join(dirname(dense), 'moe');
    const { plan, sources } = await planOf([dense]);
    let second: unknown;
    await executePlan(plan, sources, out, {
      onStep: async (step) => {
        if (step !== 'journal') return;
        second = await executePlan(plan, sources, out).catch((thrown: unknown) => thrown);
      },
    });
    expect(second).toBeInstanceOf(MoeError);
    expect(second instanceof MoeError ? second.code : '').toBe('output-locked');
    expect(existsSync(join(out, 'moe-manifest.json'))).toBe(true);
  });
});
