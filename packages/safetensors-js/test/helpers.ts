import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { SafetensorsError } from '../src/index.ts';

const repository = fileURLToPath(new URL('../../../', import.meta.url));

/** Says so where it cannot be overlooked. */
export function announceSkip(what: string): void {
  process.stderr.write(`SKIPPED: ${what}\n`);
}

/** A path in the shared test material beside the repository, or undefined (announced) where it is absent. */
export function shared(path: string): string | undefined {
  const full = join(repository, '..', 'shared', path);
  if (existsSync(full)) return full;
  announceSkip(`tests over ../shared/${path} (not present)`);
  return undefined;
}

/** A Python that has the given modules (MOE_PYTHON, .venv, python3), or undefined (announced). */
export function pythonWith(modules: readonly string[]): string | undefined {
  const candidates = [process.env['MOE_PYTHON'], join(repository, '.venv', 'bin', 'python'), 'python3'];
  for (const candidate of candidates) {
    if (candidate === undefined || candidate === '') continue;
    const { status } = spawnSync(candidate, ['-c', `import ${modules.join(', ')}`], { stdio: 'ignore' });
    if (status === 0) return candidate;
  }
  announceSkip(`comparison with Python (no ${modules.join(' + ')} found; set MOE_PYTHON)`);
  return undefined;
}

/** Runs a Python script; its standard output. */
export function runPython(python: string, script: string, input: string | Buffer = ''): string {
  const { status, stdout, stderr } = spawnSync(python, ['-c', script], { input, maxBuffer: 1 << 30 });
  if (status !== 0) throw new Error(`Python failed: ${stderr.toString()}`);
  return stdout.toString();
}

/** A folder that is removed when the test file ends; register with `afterAll(folder.remove)`. */
export function temporaryFolder(): { readonly path: string; readonly remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), 'safetensors-js-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** The error an action throws; fails if it throws none, or one of another class. */
export function errorOf(action: () => unknown): SafetensorsError {
  try {
    action();
  } catch (error) {
    if (error instanceof SafetensorsError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** As `errorOf`, for promises. */
export async function rejectionOf(promise: Promise<unknown>): Promise<SafetensorsError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof SafetensorsError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** A whole file in memory: length, header text, data. */
export function fileOf(json: string | Buffer, data: Uint8Array | number = 0): Buffer {
  const text = typeof json === 'string' ? Buffer.from(json) : json;
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, typeof data === 'number' ? Buffer.alloc(data) : data]);
}

/** Any well-formed text. (fast-check's own 'binary' unit takes seconds to set up.) */
export function anyText(maxLength: number): fc.Arbitrary<string> {
  const point = fc.oneof(
    fc.nat(0x7f),
    fc.nat(0x7ff),
    fc.nat(0x10ffff).filter((c) => c < 0xd800 || c > 0xdfff),
  );
  return fc.string({ unit: point.map((c) => String.fromCodePoint(c)), maxLength });
}
