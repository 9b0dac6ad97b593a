/** Puts produced contents into files, finishes files as they become whole, and clones those that can share their blocks. */
import { copyFile, constants as fs, open, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MoeError } from '../common/errors.ts';
import type { SourceSet } from '../evaluate/index.ts';
import { cloneFile } from './clone.ts';
import type { Content, PlanContents, PlannedFile } from './contents.ts';
import { writeFailure } from './failure.ts';
import type { JournalFile, JournalWriter } from './journal.ts';
import { OutputFiles } from './output-files.ts';
import type { Sink } from './produce.ts';
import type { Progress } from './progress.ts';

export interface WriteSinkInput {
  readonly layout: PlanContents;
  /** Folder of the files. */
  readonly folder: string;
  readonly journal: JournalWriter;
  readonly sources: SourceSet;
  readonly clones: boolean;
  /** Files of an earlier run that count. */
  readonly finished: ReadonlyMap<string, JournalFile>;
  readonly progress: Progress;
  readonly onStep?: ((step: string) => void | Promise<void>) | undefined;
}

interface FileState {
  readonly planned: PlannedFile;
  /** By writing its data, by cloning another file, or not at all (finished earlier). */
  readonly by: 'data' | 'clone' | 'earlier';
  /** Bytes not yet on their way to disk. */
  missing: number;
  /** Targets whose content has no digest yet. */
  undigested: number;
  started: boolean;
}

export class WriteSink implements Sink {
  private readonly output: OutputFiles;
  private readonly states: readonly FileState[];
  private readonly digests = new Map<number, string>();
  private readonly reported = new Set<string>();
  private readonly whole = new Set<string>();
  private readonly finishing: Promise<void>[] = [];
  /** fsync one file after the other: side by side they only fight for the disk. */
  private turn: Promise<void> = Promise.resolve();
  private failure: unknown;
  private abandoned = false;
  clonedFiles = 0;
  sharedBytes = 0;

  constructor(private readonly input: WriteSinkInput) {
    const { layout, finished, clones } = input;
    this.output = new OutputFiles(input.folder);
    this.states = layout.files.map((planned): FileState => {
      const earlier = finished.get(planned.file.name);
      const by = earlier !== undefined ? 'earlier' : clones && planned.cloneOf !== null ? 'clone' : 'data';
      const targets = planned.tensors.reduce((sum, { parts }) => sum + parts.length, 0);
      return { planned, by, missing: planned.bytes, undigested: targets, started: false };
    });
    for (const { planned, by } of this.states) {
      const mark = finished.get(planned.file.name);
      if (by !== 'earlier' || mark === undefined) continue;
      this.whole.add(planned.file.name);
      planned.tensors.forEach(({ parts }, t) => {
        parts.forEach((content, p) => {
          const digest = mark.digests[t]?.[p];
          if (digest !== undefined) this.digests.set(content.id, digest);
        });
      });
      input.progress.skip(planned.bytes, planned.tensors.length);
    }
  }

  /** Contents that some file of this run still needs, with only those targets. */
  needed(): Content[] {
    return this.input.layout.contents.filter(({ targets }) =>
      targets.some(({ file }) => this.states[file]?.by === 'data'),
    );
  }

  /** Writes all headers; files without data are finished by that. */
  async start(): Promise<void> {
    for (const [index, state] of this.states.entries()) {
      if (state.by === 'data') {
        await this.output.write(state.planned.file.name, state.planned.header, 0);
        this.arrived(index, state.planned.header.length);
      } else if (state.by === 'clone' && this.states[state.planned.cloneOf ?? -1]?.by === 'earlier') {
        this.schedule(() => this.clone(index));
      }
    }
  }

  async put(content: Content, offset: number, bytes: Buffer): Promise<void> {
    if (this.failure !== undefined) throw this.failure;
    await Promise.all(
      content.targets.map(async (target) => {
        const state = this.states[target.file];
        if (state?.by !== 'data') return;
        await this.output.write(state.planned.file.name, bytes, target.offset + offset);
        this.arrived(target.file, bytes.length);
      }),
    );
  }

  done(content: Content, sha256: string): void {
    this.digests.set(content.id, sha256);
    for (const { file } of content.targets) {
      const state = this.states[file];
      if (state?.by !== 'data') continue;
      state.undigested -= 1;
      this.finishIfWhole(file, state);
    }
  }

  private arrived(index: number, bytes: number): void {
    const state = this.states[index];
    if (state === undefined) return;
    state.missing -= bytes;
    this.input.progress.add(bytes, state.planned.file.name);
    this.finishIfWhole(index, state);
  }

  private finishIfWhole(index: number, state: FileState): void {
    if (state.missing !== 0 || state.undigested !== 0 || state.started || this.abandoned) return;
    state.started = true;
    this.schedule(async () => {
      const { name } = state.planned.file;
      const { size, mtimeMs } = await this.output.finish(name);
      await this.mark(state, size, mtimeMs);
    });
    for (const [other, { planned, by }] of this.states.entries()) {
      if (by === 'clone' && planned.cloneOf === index) this.schedule(() => this.clone(other));
    }
  }

  /** Runs `work` after all that was scheduled before it. */
  private schedule(work: () => Promise<void>): void {
    this.turn = this.turn.then(async () => {
      if (this.failure !== undefined || this.abandoned) return;
      try {
        await work();
      } catch (error) {
        this.failure ??= error;
      }
    });
    this.finishing.push(this.turn);
  }

  /** Makes file `index` out of the one that it shares its data with; copies where cloning fails after all. */
  private async clone(index: number): Promise<void> {
    const state = this.states[index];
    const leader = state?.planned.cloneOf;
    const from = leader === null || leader === undefined ? undefined : this.states[leader]?.planned;
    if (state === undefined || from === undefined) return;
    const { planned } = state;
    const path = join(this.input.folder, planned.file.name);
    const source = join(this.input.folder, from.file.name);
    try {
      await this.shareOrCopy(source, path, planned);
      const file = await open(path, 'r+');
      try {
        await file.write(planned.header, 0, planned.header.length, 0);
        await file.sync();
      } finally {
        await file.close();
      }
      const { size, mtimeMs } = await stat(path);
      this.input.progress.add(planned.bytes, planned.file.name);
      await this.mark(state, size, mtimeMs);
    } catch (error) {
      throw writeFailure(error, planned.file.name);
    }
  }

  private async shareOrCopy(source: string, path: string, planned: PlannedFile): Promise<void> {
    try {
      await cloneFile(source, path);
      this.clonedFiles += 1;
      this.sharedBytes += planned.file.dataBytes;
    } catch {
      // The probe worked and this did not (a limit of the file system, a copy on other media): a plain copy is as right.
      await rm(path, { force: true });
      await copyFile(source, path, fs.COPYFILE_EXCL);
    }
  }

  /** Checks the size and makes the finish mark durable. */
  private async mark(state: FileState, size: number, mtimeMs: number): Promise<void> {
    const { planned } = state;
    if (size !== planned.bytes) {
      throw new MoeError(
        'internal',
        'written-size',
        `"${planned.file.name}" has ${String(size)} bytes, planned were ${String(planned.bytes)}.`,
        { file: planned.file.name },
      );
    }
    await this.input.journal.append({
      file: planned.file.name,
      size,
      mtimeMs,
      digests: planned.tensors.map((_, index) => this.digestsOf(planned, index)),
      sources: this.newSourceDigests(planned),
    });
    this.whole.add(planned.file.name);
    this.input.progress.tensors(planned.tensors.length);
    await this.input.onStep?.(`file ${planned.file.name}`);
  }

  /** Digests of source tensors that became known and that no earlier line has. */
  private newSourceDigests(planned: PlannedFile): [number, string, string][] {
    const found: [number, string, string][] = [];
    for (const { parts } of planned.tensors) {
      for (const { expr } of parts) {
        // Only plain copies are worth it: their digest spares reading the tensor again on resume.
        let at = expr;
        while (at.op === 'slice' || at.op === 'reshape') at = at.of;
        if (at.op !== 'source') continue;
        const key = `${String(at.from)}\u0000${at.tensor}`;
        const hex = this.input.sources.knownDigest(at.from, at.tensor);
        if (hex === undefined || this.reported.has(key)) continue;
        this.reported.add(key);
        found.push([at.from, at.tensor, hex]);
      }
    }
    return found;
  }

  /** sha256 of the parts of a file's tensor number `index`. */
  digestsOf(planned: PlannedFile, index: number): string[] {
    const parts = planned.tensors[index]?.parts ?? [];
    return parts.map((content) => {
      const digest = this.digests.get(content.id);
      if (digest === undefined) {
        throw new MoeError('internal', 'digest-missing', `No digest of ${planned.tensors[index]?.tensor.name ?? '?'}.`);
      }
      return digest;
    });
  }

  /** Waits until every file is finished; throws what failed meanwhile. */
  async finishAll(): Promise<void> {
    while (this.finishing.length > 0) await this.finishing.shift();
    if (this.failure !== undefined) throw this.failure;
    const unfinished = this.states.find(({ planned }) => !this.whole.has(planned.file.name));
    if (unfinished !== undefined) {
      throw new MoeError('internal', 'file-unfinished', `"${unfinished.planned.file.name}" was not finished.`);
    }
  }

  /** Stops finishing files and closes everything, after a failure. */
  async abandon(): Promise<void> {
    this.abandoned = true;
    await this.turn.catch(() => undefined);
    await this.output.close();
  }

  finishedNames(): ReadonlySet<string> {
    return this.whole;
  }
}
