/** The history of evaluations: one results file each, in a folder per checkpoint of the global storage. No vscode here. */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { removeLeftovers } from '../eval/leftovers.ts';
import { Emitter } from './emitter.ts';

export const RESULTS_ENDING = '.moe-eval.json';

export interface PastEvaluation {
  readonly file: string;
  /** Checkpoint that was evaluated. */
  readonly checkpoint: string;
  /** As the file is called: model, tasks, date. */
  readonly name: string;
  readonly mtimeMs: number;
}

/** Names the checkpoint of a folder of results. */
const OWNER = 'checkpoint.txt';

export class EvaluationHistory {
  private readonly changed = new Emitter();
  readonly onDidChange = this.changed.event;

  constructor(readonly folder: string) {}

  /** A new results file for a checkpoint: made at once, empty, so that it can be shown while the job runs. */
  async begin(checkpoint: string, model: string, what: string, now: Date = new Date()): Promise<string> {
    const path = resolve(checkpoint);
    const place = this.placeOf(path);
    await mkdir(place, { recursive: true });
    await writeFile(join(place, OWNER), path);
    const time = localTime(now);
    const name = `${fileName(model)} ${fileName(what)} ${time}`;
    const begun = {
      results: {},
      config: { model_args: path },
      date: now.getTime() / 1000,
      model_source: 'moe-workbench',
      model_name: model,
      moe_workbench: { begun: true },
    };
    const text = `${JSON.stringify(begun, null, 1)}\n`;
    for (let n = 1; ; n++) {
      const file = join(place, `${name}${n === 1 ? '' : ` (${String(n)})`}${RESULTS_ENDING}`);
      try {
        // Another window may have begun one in the same second.
        await writeFile(file, text, { flag: 'wx' });
        this.changed.fire();
        return file;
      } catch (error) {
        if (!(error instanceof Error) || !('code' in error) || error.code !== 'EEXIST') throw error;
      }
    }
  }

  /** Evaluations of one checkpoint, newest first. */
  async of(checkpoint: string): Promise<PastEvaluation[]> {
    return inFolder(this.placeOf(resolve(checkpoint)));
  }

  /** All evaluations, newest first. */
  async all(): Promise<PastEvaluation[]> {
    const places = await readdir(this.folder).catch(() => []);
    const lists = await Promise.all(places.map((place) => inFolder(join(this.folder, place))));
    return lists.flat().sort((a, b) => b.mtimeMs - a.mtimeMs);
  }

  /** Takes a results file of the history away; files elsewhere are the user's. */
  async remove(file: string): Promise<void> {
    if (dirname(dirname(resolve(file))) !== resolve(this.folder)) return;
    await rm(file, { force: true });
    await removeLeftovers(file);
    this.changed.fire();
  }

  /** Something was written. */
  touch(): void {
    this.changed.fire();
  }

  private placeOf(path: string): string {
    return join(this.folder, createHash('sha256').update(path).digest('hex').slice(0, 16));
  }
}

async function inFolder(place: string): Promise<PastEvaluation[]> {
  const checkpoint = await readFile(join(place, OWNER), 'utf8').catch(() => null);
  if (checkpoint === null) return [];
  const names = (await readdir(place)).filter((name) => name.endsWith(RESULTS_ENDING));
  const found = await Promise.all(
    names.map(async (name): Promise<PastEvaluation | null> => {
      const file = join(place, name);
      const facts = await stat(file).catch(() => null);
      if (facts === null) return null;
      return { file, checkpoint, name: basename(name, RESULTS_ENDING), mtimeMs: facts.mtimeMs };
    }),
  );
  return found.filter((one) => one !== null).sort((a, b) => b.mtimeMs - a.mtimeMs);
}

/** "2026-11-26 08.20.11", as people's clocks show it. */
function localTime(date: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  const day = `${String(date.getFullYear())}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}.${two(date.getMinutes())}.${two(date.getSeconds())}`;
}

/** A name that every file system takes. */
function fileName(text: string): string {
  const clean = text
    .replaceAll(/[\p{C}<>:"/\\|?*]+/gu, '_')
    .trim()
    .slice(0, 60);
  return clean === '' ? 'evaluation' : clean;
}
