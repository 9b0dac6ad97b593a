/** Puts produced contents into files, finishes files as they become whole, and clones those that can share their blocks. */
import { copyFile, constants as fs, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { MoeError } from '../common/errors.ts';
import type { ResolvedLog, SourceSet } from '../evaluate/index.ts';
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
  readonly resolved: ResolvedLog;
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
  /** Files that wait to be made durable, and the loop that does it. */
  private ready: number[] = [];
  private finishing: Promise<void> | undefined;
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
      }
    }
    for (const [index, { by }] of this.states.entries()) if (by === 'earlier') this.enqueueClones(index);
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
    if (state.missing !== 0 || state.undigested !== 0 || state.started) return;
    state.started = true;
    this.enqueue(index);
    this.enqueueClones(index);
  }

  private enqueueClones(leader: number): void {
    for (const [index, { planned, by }] of this.states.entries()) {
      if (by === 'clone' && planned.cloneOf === leader) this.enqueue(index);
    }
  }

  private enqueue(index: number): void {
    this.ready.push(index);
    this.finishing ??= this.finishLoop().finally(() => {
      this.finishing = undefined;
    });
  }

  /** Finishes whatever is ready, all of it together: on a journalling file system a batch costs hardly more than a file. */
  private async finishLoop(): Promise<void> {
    // Contents that end together get the chance to be one batch.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.ready.length > 0 && this.failure === undefined && !this.abandoned) {
      const batch = this.ready;
      this.ready = [];
      try {
        await this.finishBatch(batch);
      } catch (error) {
        this.failure ??= error;
      }
    }
  }

  private async finishBatch(batch: readonly number[]): Promise<void> {
    const states = batch.flatMap((index) => this.states[index] ?? []);
    for (const state of states) if (state.by === 'clone') await this.clone(state.planned);
    const durable = await Promise.all(
      states.map(async (state) => ({ state, ...(await this.output.finish(state.planned.file.name)) })),
    );
    const marks = durable.map(({ state, size, mtimeMs }) => this.markOf(state.planned, size, mtimeMs));
    await this.input.journal.append(...marks);
    for (const { planned, by } of states) {
      this.whole.add(planned.file.name);
      this.input.progress.tensors(planned.tensors.length);
      if (by === 'clone') this.input.progress.add(planned.bytes, planned.file.name);
      await this.input.onStep?.(`file ${planned.file.name}`);
    }
  }

  /** Makes a file out of the one that it shares its data with; copies where cloning fails after all. */
  private async clone(planned: PlannedFile): Promise<void> {
    const from = this.states[planned.cloneOf ?? -1]?.planned;
    if (from === undefined) return;
    const { name } = planned.file;
    try {
      await this.shareOrCopy(join(this.input.folder, from.file.name), join(this.input.folder, name), planned);
    } catch (error) {
      throw writeFailure(error, name);
    }
    this.output.adopt(name);
    await this.output.write(name, planned.header, 0);
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

  /** The finish mark of a file that has the size it must have. */
  private markOf(planned: PlannedFile, size: number, mtimeMs: number): JournalFile {
    if (size !== planned.bytes) {
      throw new MoeError(
        'internal',
        'written-size',
        `"${planned.file.name}" has ${String(size)} bytes, planned were ${String(planned.bytes)}.`,
        { file: planned.file.name },
      );
    }
    return {
      file: planned.file.name,
      size,
      mtimeMs,
      digests: planned.tensors.map((_, index) => this.digestsOf(planned, index)),
      sources: this.newSourceDigests(planned),
      resolved: this.input.resolved.takeNew(),
    };
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
    while (this.finishing !== undefined) await this.finishing;
    if (this.failure !== undefined) throw this.failure;
    const unfinished = this.states.find(({ planned }) => !this.whole.has(planned.file.name));
    if (unfinished !== undefined) {
      throw new MoeError('internal', 'file-unfinished', `"${unfinished.planned.file.name}" was not finished.`);
    }
  }

  /** Stops finishing files and closes everything, after a failure. */
  async abandon(): Promise<void> {
    this.abandoned = true;
    await this.finishing?.catch(() => undefined);
    await this.output.close();
  }

  finishedNames(): ReadonlySet<string> {
    return this.whole;
  }
}
