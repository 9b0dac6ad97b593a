/**
 * Going on after an interruption. The journal holds finished requests; beside it lie the expert statistics of exactly those
 * requests, saved now and then. On resuming, what the journal holds beyond the last save is cut off and run again: otherwise
 * the statistics would lack it.
 */
import { createHash } from 'node:crypto';
import { rm, stat } from 'node:fs/promises';
import * as z from 'zod/mini';
import { MoeError } from '../common/errors.ts';
import { takeLock } from '../write/lock.ts';
import { lockOf, removeHalves } from './leftovers.ts';
import type { JournalIdentity, JournalMark } from './journal.ts';
import { Journal } from './journal.ts';
import type { TraceStore } from './scorer.ts';
import { traceStateTag } from './trace-state.ts';

/** Time to the first save; each pause is twice the one before, up to the longest. */
const FIRST_SAVE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;
/** A journal that was written to so long after the last save was gone on with by runs that gathered nothing: it is not cut. */
const SAME_RUN_MS = 600_000;
/** Saving takes at most this share of the time. */
const SHARE = 0.05;

const tagged = z.strictObject({ scope: z.string(), bytes: z.int().check(z.gte(0)), sha256: z.string() });

/** A journal, and what keeps the statistics in step with it. */
export interface Resumed {
  readonly journal: Journal;
  /** Null where statistics are not gathered, or cannot be whole: the journal holds requests that they lack. */
  readonly traces: TraceSaver | null;
  /** Statistics of the journal's requests were restored. */
  readonly restored: boolean;
  readonly notes: readonly string[];
  /** Closes the journal and lets others have it. */
  close(): Promise<void>;
}

/**
 * `scope`: everything that decides which tokens are counted for what. Throws `output-locked` while another run has the journal:
 * two runs would take each other's requests for statistics that they do not have.
 */
export async function openResumable(
  path: string,
  identity: JournalIdentity,
  store: TraceStore | undefined,
  scope: () => unknown,
  now: () => number,
): Promise<Resumed> {
  const lock = takeLock(lockOf(path), path);
  try {
    const opened = await openLocked(path, identity, store, scope, now);
    const close = async (): Promise<void> => {
      try {
        await opened.journal.close();
      } finally {
        lock.release();
      }
    };
    return { ...opened, close };
  } catch (error) {
    lock.release();
    throw error;
  }
}

async function openLocked(
  ...[path, identity, store, scope, now]: Parameters<typeof openResumable>
): Promise<Omit<Resumed, 'close'>> {
  if (store === undefined)
    return { journal: await Journal.open(path, identity), traces: null, restored: false, notes: [] };
  const digest = createHash('sha256')
    .update(JSON.stringify([identity, scope()]))
    .digest('hex');
  const notes: string[] = [];
  const mark = await restore(path, store, digest, notes);
  const journal = await Journal.open(path, identity, mark);
  const whole = mark !== undefined || journal.size === 0;
  const traces = whole ? new TraceSaver(store, digest, now) : null;
  try {
    await removeHalves(store.file);
    // At once: a journal without statistics beside it would be taken for one that never had any.
    await (traces === null ? rm(store.file, { force: true }) : traces.save(journal));
  } catch (error) {
    await journal.close();
    throw error;
  }
  return { journal, traces, restored: mark !== undefined, notes };
}

async function restore(
  path: string,
  store: TraceStore,
  scope: string,
  notes: string[],
): Promise<JournalMark | undefined> {
  const tag = await traceStateTag(store.file);
  const saved = tag === null ? undefined : parse(tag);
  if (saved?.scope !== scope || !(await Journal.holds(path, saved))) return undefined;
  const [journal, state] = await Promise.all([stat(path), stat(store.file)]);
  if (journal.size > saved.bytes && journal.mtimeMs - state.mtimeMs > SAME_RUN_MS) return undefined;
  try {
    await store.load();
    return saved;
  } catch (error) {
    if (!(error instanceof MoeError) || error.code !== 'bad-trace-state') throw error;
    notes.push(`${store.file}: ${error.message}`);
    return undefined;
  }
}

function parse(tag: string): z.infer<typeof tagged> | undefined {
  try {
    return tagged.parse(JSON.parse(tag));
  } catch {
    return undefined;
  }
}

/** Saves the statistics after a call of the scorer, not too often. */
export class TraceSaver {
  #pause = FIRST_SAVE_MS / 2;
  #due = 0;

  constructor(
    private readonly store: TraceStore,
    private readonly scope: string,
    private readonly now: () => number,
  ) {}

  async afterCall(journal: Journal): Promise<void> {
    if (this.now() >= this.#due) await this.save(journal);
  }

  async save(journal: Journal): Promise<void> {
    const start = this.now();
    await this.store.save(JSON.stringify({ scope: this.scope, ...journal.mark() }));
    const end = this.now();
    this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE_MS);
    this.#due = end + Math.max(this.#pause, (end - start) / SHARE);
  }
}
