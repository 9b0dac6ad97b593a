/** Results files of the worker: read when they changed, with samples files of the harness that lie beside them. */
import { readFile, readdir, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { MoeError, messageOf, systemCodeOf } from '../common/errors.ts';
import type { ComparableDoc } from '../eval/compare.ts';
import { shortHashes } from '../eval/documents.ts';
import { importHarnessSamples } from '../eval/import-results.ts';
import { parseEvaluation } from '../view/evaluation.ts';
import type { ParsedEvaluation } from '../view/evaluation.ts';
import { append } from '../common/lists.ts';

/** Larger files are refused: their text must fit into one string several times. */
const MAX_BYTES = 200 * 2 ** 20;
const KEPT = 6;

interface Kept {
  readonly stamp: string;
  readonly parsed: ParsedEvaluation;
}

export class Evaluations {
  private readonly kept = new Map<string, Kept>();

  async read(file: string): Promise<ParsedEvaluation> {
    const path = resolve(file);
    const stamp = await stampOf(path);
    const known = this.kept.get(path);
    this.kept.delete(path);
    const one = known?.stamp === stamp ? known : { stamp, parsed: await parsed(path) };
    this.kept.set(path, one);
    for (const old of this.kept.keys()) {
      if (this.kept.size <= KEPT) break;
      this.kept.delete(old);
    }
    return one.parsed;
  }
}

async function stampOf(path: string): Promise<string> {
  try {
    const { size, mtimeMs } = await stat(path);
    if (size <= MAX_BYTES) return `${String(size)} ${String(mtimeMs)}`;
    throw new MoeError('input', 'results-too-large', `${path} has ${String(size)} bytes`, {
      file: path,
      hint: 'Results files are a few megabytes: is this one?',
    });
  } catch (error) {
    if (error instanceof MoeError) throw error;
    const missing = systemCodeOf(error) === 'ENOENT';
    throw new MoeError(
      'input',
      missing ? 'results-not-found' : 'results-unreadable',
      missing ? `There is no file ${path}` : `${path} cannot be read: ${messageOf(error)}`,
      { file: path },
      { cause: error },
    );
  }
}

async function parsed(path: string): Promise<ParsedEvaluation> {
  const one = parseEvaluation(await readFile(path, 'utf8'), path);
  if (one.docs.length > 0) return one;
  const samples = await harnessSamples(path);
  if (samples.docs.length === 0 && samples.notes.length === 0) return one;
  const { evaluation } = one;
  return {
    ...one,
    docs: samples.docs,
    evaluation: {
      ...evaluation,
      documents: samples.docs.length,
      notes: [...evaluation.notes, ...samples.notes].slice(0, 1000),
    },
  };
}

/** The harness writes results_DATE.json and, beside it, samples_TASK_DATE.jsonl. */
async function harnessSamples(path: string): Promise<{ docs: ComparableDoc[]; notes: string[] }> {
  const date = /^results_(.+)\.json$/.exec(basename(path))?.[1];
  if (date === undefined) return { docs: [], notes: [] };
  const folder = dirname(path);
  const names = (await readdir(folder)).filter(
    (name) => name.startsWith('samples_') && name.endsWith(`_${date}.jsonl`),
  );
  const docs: ComparableDoc[] = [];
  const notes: string[] = [];
  for (const name of names.sort()) {
    const file = join(folder, name);
    try {
      const { size } = await stat(file);
      if (size > MAX_BYTES) {
        notes.push(`${name} is too large to be read for a comparison`);
        continue;
      }
      const read = importHarnessSamples(await readFile(file, 'utf8'), file);
      for (const doc of shortHashes(read.docs)) docs.push(doc);
      append(notes, read.notes);
    } catch (error) {
      notes.push(`${name} cannot be used: ${messageOf(error)}`);
    }
  }
  return { docs, notes };
}
