/** Open checkpoints of the worker: shared by path, kept while their files stay the same, counted by handle. */
import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { openCheckpoint } from '../checkpoint/open.ts';
import type { Checkpoint } from '../checkpoint/types.ts';
import { MoeError } from '../common/errors.ts';
import { inspectCheckpoint } from '../inspect/index.ts';
import type { InspectReport } from '../inspect/index.ts';
import type { LayerExperts, Overview } from '../protocol/checkpoint.ts';
import { overviewOf } from '../view/overview.ts';
import { TensorRows } from '../view/tensor-rows.ts';

export interface FileStamp {
  readonly path: string;
  readonly size: number;
  readonly mtimeMs: number;
}

/** A checkpoint as read once; never changes. When its files change, another one takes its place. */
export class OpenEntry {
  uses = 0;
  private made: TensorRows | null = null;
  /** Expert metrics already computed, by parent and layer. */
  readonly metrics = new Map<string, Map<number, LayerExperts>>();

  constructor(
    readonly key: string,
    readonly cp: Checkpoint,
    readonly report: InspectReport,
    readonly overview: Overview,
    readonly stamps: readonly FileStamp[],
    readonly watch: readonly string[],
  ) {}

  /** Made on first use: opening needs none. */
  get rows(): TensorRows {
    return (this.made ??= new TensorRows(this.cp, this.report.problems));
  }
}

/** Entries without a handle that are kept for coming back, as long as they are not huge together. */
const KEPT_ENTRIES = 3;
const KEPT_TENSORS = 600_000;

export interface OpenOptions {
  readonly lenient: boolean;
  readonly fresh: boolean;
  readonly signal: AbortSignal;
  readonly onHeader?: (done: number, total: number) => void;
}

export class Checkpoints {
  private readonly byKey = new Map<string, OpenEntry>();
  private readonly byHandle = new Map<number, OpenEntry>();
  private readonly opening = new Map<string, Promise<OpenEntry>>();
  private handles = 0;

  /** Opens, or hands out what is open while no file has changed. */
  async open(
    path: string,
    options: OpenOptions,
  ): Promise<{ readonly handle: number; readonly entry: OpenEntry; readonly cached: boolean }> {
    const entry = await this.entryOf(path, options);
    const handle = ++this.handles;
    this.byHandle.set(handle, entry.entry);
    entry.entry.uses++;
    return { handle, ...entry };
  }

  /** The entry without a handle: for plans and comparisons, which hold on to what they read. */
  async entryOf(path: string, options: OpenOptions): Promise<{ readonly entry: OpenEntry; readonly cached: boolean }> {
    const key = `${options.lenient ? 'lenient' : 'strict'}:${resolve(path)}`;
    const known = this.byKey.get(key);
    if (known !== undefined && !options.fresh && (await unchanged(known.stamps))) {
      this.byKey.delete(key);
      this.byKey.set(key, known);
      return { entry: known, cached: true };
    }
    // Two views of one checkpoint read it once. An aborted reading is not shared.
    const shared = options.fresh ? undefined : this.opening.get(key);
    if (shared !== undefined) {
      const entry = await shared.catch(() => null);
      if (entry !== null) return { entry, cached: true };
    }
    const reading = read(key, path, options);
    this.opening.set(key, reading);
    try {
      const entry = await reading;
      this.byKey.delete(key);
      this.byKey.set(key, entry);
      this.forget();
      return { entry, cached: false };
    } finally {
      if (this.opening.get(key) === reading) this.opening.delete(key);
    }
  }

  get(handle: number): OpenEntry {
    const entry = this.byHandle.get(handle);
    if (entry === undefined)
      throw new MoeError('usage', 'handle-closed', `The checkpoint ${String(handle)} is not open (any more)`);
    return entry;
  }

  close(handle: number): void {
    const entry = this.byHandle.get(handle);
    if (entry === undefined) return;
    this.byHandle.delete(handle);
    entry.uses--;
    this.forget();
  }

  facts(): { path: string; tensors: number; uses: number }[] {
    return [...this.byKey.values()].map(({ cp, uses }) => ({ path: cp.path, tensors: cp.tensors.size, uses }));
  }

  private forget(): void {
    const idle = [...this.byKey.values()].filter((entry) => entry.uses === 0);
    let tensors = idle.reduce((sum, entry) => sum + entry.cp.tensors.size, 0);
    for (const [i, entry] of idle.entries()) {
      if (idle.length - i <= KEPT_ENTRIES && tensors <= KEPT_TENSORS) break;
      this.byKey.delete(entry.key);
      tensors -= entry.cp.tensors.size;
    }
  }
}

async function read(key: string, path: string, { lenient, signal, onHeader }: OpenOptions): Promise<OpenEntry> {
  const cp = await openCheckpoint(path, { lenient, signal, ...(onHeader === undefined ? {} : { onHeader }) });
  // Stamps first: a change while inspecting is seen the next time.
  const stamps = await stampsOf(cp);
  const report = await inspectCheckpoint(cp);
  const folders = new Set([cp.root, ...cp.files.map((file) => dirname(file.path))]);
  return new OpenEntry(key, cp, report, await overviewOf(cp, report), stamps, [...folders]);
}

async function stampsOf(cp: Checkpoint): Promise<FileStamp[]> {
  const paths = new Set([cp.path, cp.root]);
  for (const file of cp.files) paths.add(file.path);
  for (const { path } of cp.sidecars) if (path !== undefined) paths.add(path);
  if (cp.index?.name !== undefined) paths.add(resolve(cp.root, cp.index.name));
  return Promise.all([...paths].map(stamp));
}

async function stamp(path: string): Promise<FileStamp> {
  // What is not there has a stamp too: it may come.
  const facts = await stat(path).catch(() => null);
  return { path, size: facts?.size ?? -1, mtimeMs: facts?.mtimeMs ?? -1 };
}

async function unchanged(stamps: readonly FileStamp[]): Promise<boolean> {
  const now = await Promise.all(stamps.map(({ path }) => stamp(path)));
  return now.every((one, i) => one.size === stamps[i]?.size && one.mtimeMs === stamps[i].mtimeMs);
}
