/** Short exclusive sections over all windows and processes: in line within a process, by a lock file between them. */
import { setTimeout as sleep } from 'node:timers/promises';
import { MoeError } from '../common/errors.ts';
import { takeLock } from '../write/lock.ts';
import type { Lock } from '../write/lock.ts';

const lines = new Map<string, Promise<unknown>>();

/** Sections are a few file operations long; whoever waits longer than this says so instead of hanging. */
const WAIT_MS = 15_000;

/** Runs `action` alone. Throws `jobs-busy` where others hold the lock for too long; a dead holder is no obstacle. */
export async function exclusively<T>(path: string, action: () => T | Promise<T>, waitMs = WAIT_MS): Promise<T> {
  const before = lines.get(path) ?? Promise.resolve();
  const turn = before.then(() => locked(path, action, waitMs));
  const settled = turn.then(
    () => undefined,
    () => undefined,
  );
  lines.set(path, settled);
  try {
    return await turn;
  } finally {
    if (lines.get(path) === settled) lines.delete(path);
  }
}

async function locked<T>(path: string, action: () => T | Promise<T>, waitMs: number): Promise<T> {
  const start = performance.now();
  let lock: Lock | null = null;
  for (;;) {
    lock = tryLock(path, 'the list of jobs');
    if (lock !== null) break;
    if (performance.now() - start > waitMs) {
      throw new MoeError('internal', 'jobs-busy', 'The list of jobs is locked by another window', {
        file: path,
        hint: `Try again. If no other window is open, delete ${path}.`,
      });
    }
    await sleep(5 + Math.random() * 20);
  }
  try {
    return await action();
  } finally {
    lock.release();
  }
}

/** The lock, or null while a live process has it. */
export function tryLock(path: string, what: string): Lock | null {
  try {
    return takeLock(path, what);
  } catch (error) {
    if (error instanceof MoeError && error.code === 'output-locked') return null;
    throw error;
  }
}
