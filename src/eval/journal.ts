import type { Hash } from 'node:crypto';
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { open, readFile, truncate } from 'node:fs/promises';
import { MoeError, systemCodeOf } from '../common/errors.ts';
import type { ScoreResult } from './scorer.ts';

const KIND = 'moe-eval-journal';
const VERSION = 1;
const MAX_BYTES = 2 ** 28;

/** What must be equal for a journal to be usable: the weights, the length limit, and the arithmetic. */
export interface JournalIdentity {
  readonly model: string;
  readonly maxLength: number;
}

/** A place in a journal: everything before it, by length and digest. */
export interface JournalMark {
  readonly bytes: number;
  readonly sha256: string;
}

/**
 * Finished requests on disk, one JSON line each: `{"k": key of the ids, "ll": number, "g": 0|1}`. The key depends on token ids
 * alone, so a run may be resumed with other tasks, limits or few-shots. Non-finite values are written as text.
 */
export class Journal {
  readonly #known: Map<string, ScoreResult>;
  readonly #file: FileHandle;
  /** What was found wrong in the file and left out. */
  readonly notes: readonly string[];
  readonly #hash: Hash;
  #bytes: number;

  private constructor(file: FileHandle, known: Map<string, ScoreResult>, notes: readonly string[], content: string) {
    this.#file = file;
    this.#known = known;
    this.notes = notes;
    this.#hash = createHash('sha256').update(content);
    this.#bytes = Buffer.byteLength(content);
  }

  /** Whether what stands before the mark is still there, unchanged. */
  static async holds(path: string, mark: JournalMark): Promise<boolean> {
    const bytes = Buffer.from(await readExisting(path));
    return (
      bytes.length >= mark.bytes &&
      createHash('sha256').update(bytes.subarray(0, mark.bytes)).digest('hex') === mark.sha256
    );
  }

  /**
   * Opens or creates a journal. One that belongs to another model is refused rather than mixed in. With `until` what comes
   * after it is cut off.
   */
  static async open(path: string, identity: JournalIdentity, until?: JournalMark): Promise<Journal> {
    const whole = await readExisting(path);
    const text = until === undefined ? whole : Buffer.from(whole).subarray(0, until.bytes).toString('utf8');
    const known = new Map<string, ScoreResult>();
    const notes: string[] = [];
    const lines = text.split('\n');
    const unfinished = lines.pop() ?? '';
    if (text !== '' && lines.length > 0) checkHeader(path, lines[0] ?? '', identity);
    let broken = 0;
    for (const line of lines.slice(1)) {
      const entry = parseEntry(line);
      if (entry === undefined) broken++;
      else known.set(entry.key, entry.result);
    }
    if (unfinished !== '') broken++;
    if (broken > 0) notes.push(`${path}: ${broken} unreadable lines skipped; their requests are run again`);
    if (known.size > 0) notes.push(`${path}: ${known.size} finished requests found`);
    // Cut by its path: what is open for appending alone cannot be cut on Windows.
    if (until !== undefined) await truncate(path, until.bytes);
    let [content, added] = [text, ''];
    if (lines.length === 0) {
      // Nothing but a torn first line at most: start over.
      if (text !== '') await truncate(path, 0);
      content = '';
      added = `${JSON.stringify({ kind: KIND, version: VERSION, ...identity })}\n`;
    } else if (unfinished !== '') {
      added = '\n';
    }
    const file = await open(path, 'a');
    if (added !== '') await file.appendFile(added);
    return new Journal(file, known, notes, content + added);
  }

  /** Requests that an earlier run finished, and those of this one. */
  get size(): number {
    return this.#known.size;
  }

  /** The end of what is written. */
  mark(): JournalMark {
    return { bytes: this.#bytes, sha256: this.#hash.copy().digest('hex') };
  }

  get(key: string): ScoreResult | undefined {
    return this.#known.get(key);
  }

  /** Appends finished requests in one write. */
  async add(entries: readonly { readonly key: string; readonly result: ScoreResult }[]): Promise<void> {
    if (entries.length === 0) return;
    const lines = entries.map(({ key, result }) => {
      this.#known.set(key, result);
      const ll = Number.isFinite(result.logprob) ? result.logprob : String(result.logprob);
      return `${JSON.stringify({ k: key, ll, g: result.isGreedy ? 1 : 0 })}\n`;
    });
    const text = lines.join('');
    await this.#file.appendFile(text);
    this.#hash.update(text);
    this.#bytes += Buffer.byteLength(text);
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

async function readExisting(path: string): Promise<string> {
  try {
    const bytes = await readFile(path);
    if (bytes.length > MAX_BYTES) {
      throw new MoeError('resources', 'journal-too-large', `${path} is larger than ${MAX_BYTES} bytes`, {
        file: path,
        hint: 'Delete it to start over.',
      });
    }
    return bytes.toString('utf8');
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return '';
    throw error;
  }
}

function checkHeader(path: string, line: string, identity: JournalIdentity): void {
  let header: unknown;
  try {
    header = JSON.parse(line);
  } catch {
    header = undefined;
  }
  const field = (name: string): unknown =>
    typeof header === 'object' && header !== null && Object.hasOwn(header, name)
      ? Reflect.get(header, name)
      : undefined;
  if (field('kind') !== KIND || field('version') !== VERSION) {
    throw new MoeError('input', 'not-a-journal', `${path} is not an evaluation journal of this version`, {
      file: path,
      hint: 'Give another file name; nothing was overwritten.',
    });
  }
  for (const name of ['model', 'maxLength'] as const) {
    if (field(name) === identity[name]) continue;
    throw new MoeError(
      'usage',
      'journal-of-other-run',
      `${path} belongs to a run with ${name} ${JSON.stringify(field(name))}, this run has ${JSON.stringify(identity[name])}`,
      { file: path, field: name, hint: 'Use another journal, or delete this one.' },
    );
  }
}

function parseEntry(line: string): { readonly key: string; readonly result: ScoreResult } | undefined {
  try {
    const entry: unknown = JSON.parse(line);
    if (typeof entry !== 'object' || entry === null || !('k' in entry) || !('ll' in entry) || !('g' in entry))
      return undefined;
    const { k, ll, g } = entry;
    const logprob = ll === '-Infinity' ? -Infinity : ll === 'Infinity' ? Infinity : ll === 'NaN' ? NaN : ll;
    if (typeof k !== 'string' || !/^[0-9a-f]{32}$/.test(k) || typeof logprob !== 'number' || (g !== 0 && g !== 1))
      return undefined;
    // A sum of log-probabilities; rounding may leave it a hair above 0.
    if (logprob > 1e-3 && logprob !== Infinity) return undefined;
    return { key: k, result: { logprob, isGreedy: g === 1 } };
  } catch {
    return undefined;
  }
}
