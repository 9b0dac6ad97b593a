/** Executes a plan: sources in, a finished output folder with manifest out. See place.ts for what lies where meanwhile. */
import { existsSync, lstatSync, readdirSync } from 'node:fs';
import { rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Checkpoint } from '../checkpoint/types.ts';
import { MoeError, grouped } from '../common/errors.ts';
import { Evaluator, ResolvedLog, SourceSet, throwIfCancelled } from '../evaluate/index.ts';
import { resolveGates } from '../gates/resolve.ts';
import type { GateRunner } from '../gates/types.ts';
import type { Plan } from '../plan/types.ts';
import { canClone } from './clone.ts';
import { planContents } from './contents.ts';
import type { PlanContents } from './contents.ts';
import { MANIFEST_NAME, outputDocuments, syncFolder, writeDocument } from './documents.ts';
import { JOURNAL_SCHEMA, JournalWriter, checkSameRun, readJournal } from './journal.ts';
import type { JournalContents, JournalFile, JournalHeader } from './journal.ts';
import { takeLock } from './lock.ts';
import { readManifest } from './manifest.ts';
import type { ManifestDocument } from './manifest.ts';
import { clearWork, findPlace, makeWorkFolder, publish, refuseOccupied, restoreOld, startStaging } from './place.ts';
import type { Place } from './place.ts';
import { checkPreconditions, checkSources } from './preconditions.ts';
import { produce } from './produce.ts';
import { Progress } from './progress.ts';
import type { ProgressListener } from './progress.ts';
import { collectSources, writeManifest } from './record.ts';
import { readExactly } from './read-exactly.ts';
import { requireSpace } from './space.ts';
import { TOOL_VERSION } from './version.ts';
import { WriteSink } from './write-sink.ts';
import { append } from '../common/lists.ts';

export interface WriteOptions {
  /** Continue an unfinished run into the same place; without one it starts afresh. */
  readonly resume?: boolean;
  /** Replace a checkpoint that stands at the output. */
  readonly overwrite?: boolean;
  /** False: never share blocks between equal files, even where the file system could. */
  readonly clone?: boolean;
  /** Runs the base model where router rows come from prompts; without it such plans are refused. */
  readonly gates?: GateRunner | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ProgressListener | undefined;
  /** For tests: called after each durable step, may delay or throw. */
  readonly onStep?: (step: string) => void | Promise<void>;
}

export interface WriteReport {
  readonly out: string;
  readonly planHash: string;
  /** True where a finished identical output stood there already and nothing was done. */
  readonly alreadyComplete: boolean;
  readonly files: number;
  readonly bytes: number;
  /** Files made by sharing another's blocks. */
  readonly clonedFiles: number;
  /** Bytes that need no room of their own because of that. */
  readonly sharedBytes: number;
  /** Files taken over from an earlier, unfinished run. */
  readonly resumedFiles: number;
  readonly sourceBytesRead: number;
  readonly seconds: number;
  /** What was skipped, taken away or guessed, in words. */
  readonly notes: readonly string[];
}

const RESUME_HINT = 'Run the same command with --resume to continue it; finished files are not written again.';

/** Room for documents, manifest and the file system's own bookkeeping. */
function overheadBytes(plan: Plan): number {
  return (1 << 20) + 512 * plan.tensors.length;
}

/**
 * Writes the output of `plan` to the folder `out`. Throws MoeError: `input` (output exists, locked, nested with the source,
 * source changed or other than planned), `resources` (disk full, quota), `cancelled`. On failure nothing stands under the
 * final name; what is finished is kept for `resume` beside it.
 */
export async function executePlan(
  plan: Plan,
  checkpoints: readonly Checkpoint[],
  out: string,
  options: WriteOptions = {},
): Promise<WriteReport> {
  const start = performance.now();
  checkSources(plan, checkpoints);
  const place = await findPlace(out, checkpoints);
  if (place.present === 'full') {
    if (options.resume === true && isFinished(place, plan)) return alreadyComplete(place, plan, start);
    const identical = isFinished(place, plan);
    await refuseOccupied(
      place,
      options.overwrite === true,
      identical
        ? 'It is the finished output of this very plan; there is nothing to do.'
        : 'Choose another folder or allow overwriting; nothing is replaced unasked.',
    );
  }
  await makeWorkFolder(place);
  const lock = takeLock(place.lock, place.shown);
  const run = new Run(plan, checkpoints, place, options);
  try {
    const report = await run.execute(start);
    // The lock goes last: another run must not take it in a folder that is about to vanish.
    await rm(place.work, { recursive: true, force: true });
    lock.release();
    return report;
  } catch (error) {
    const failure = await run.afterFailure(error);
    lock.release();
    // Goes only if nothing worth keeping is in it.
    await rmdir(place.work).catch(() => undefined);
    throw failure;
  } finally {
    await run.close();
  }
}

/** Whether the output at `place` is whole and of this plan: manifest undamaged, every file there in its size and header. */
function isFinished(place: Place, plan: Plan): boolean {
  try {
    const manifest = readManifest(join(place.out, MANIFEST_NAME));
    if (manifest.planHash !== plan.hash) return false;
    const { files } = planContents(plan);
    return (
      files.every(({ file, bytes }) => lstatSync(join(place.out, file.name)).size === bytes) &&
      manifest.documents.every(({ name, bytes }) => lstatSync(join(place.out, name)).size === bytes)
    );
  } catch {
    return false;
  }
}

async function alreadyComplete(place: Place, plan: Plan, start: number): Promise<WriteReport> {
  // Left by a run that was killed just after it had put everything in place.
  if (existsSync(place.work)) {
    const lock = takeLock(place.lock, place.shown);
    await clearWork(place);
    lock.release();
    await rmdir(place.work).catch(() => undefined);
  }
  return {
    out: place.out,
    planHash: plan.hash,
    alreadyComplete: true,
    files: plan.files.length,
    bytes: plan.target.fileBytes,
    clonedFiles: 0,
    sharedBytes: 0,
    resumedFiles: plan.files.length,
    sourceBytesRead: 0,
    seconds: (performance.now() - start) / 1000,
    notes: [],
  };
}

/** One run of the writer; exists so that a failure at any point knows what to keep. */
class Run {
  private readonly sources: SourceSet;
  private readonly evaluator: Evaluator;
  private readonly notes: string[] = [];
  private journal: JournalWriter | undefined;
  private sink: WriteSink | undefined;
  private documents: Promise<ManifestDocument[]> | undefined;
  private finished = new Map<string, JournalFile>();
  /** From here on the working folder holds something of ours. */
  private staged = false;

  constructor(
    private readonly plan: Plan,
    checkpoints: readonly Checkpoint[],
    private readonly place: Place,
    private readonly options: WriteOptions,
  ) {
    this.sources = new SourceSet(checkpoints);
    this.evaluator = new Evaluator(checkpoints, plan.recipe.seed, new ResolvedLog(), this.sources);
  }

  async execute(start: number): Promise<WriteReport> {
    const { plan, place, options, sources } = this;
    const { signal } = options;
    const layout = planContents(plan);
    const header: JournalHeader = {
      schema: JOURNAL_SCHEMA,
      planHash: plan.hash,
      toolVersion: TOOL_VERSION,
      sources: Object.fromEntries(
        sources.fileStates(
          plan.sources.flatMap((source, from) => [...source.tensors.keys()].map((name) => [from, name] as const)),
        ),
      ),
    };
    const earlier = await this.takeOver(header, layout);
    throwIfCancelled(signal);
    await checkPreconditions(plan, sources, signal);
    await resolveGates(plan, this.evaluator.resolved, sources.checkpoints, options.gates, signal);

    const clones = options.clone !== false && plan.recipe.output.clone !== false && (await this.clonesHere(layout));
    await this.checkSpace(layout, clones);

    let workSynced: Promise<void> = Promise.resolve();
    if (earlier === null) {
      await startStaging(place, RESUME_HINT);
      this.staged = true;
      this.journal = await JournalWriter.create(place.journal, header);
      // The folder's entries need not be durable before the first finish mark is; the journal's sync comes later.
      workSynced = syncFolder(place.work);
      workSynced.catch(() => undefined);
    } else {
      this.staged = true;
      this.journal = await JournalWriter.continue(place.journal, earlier);
    }
    await options.onStep?.('journal');

    const dataBytes = layout.files.reduce((sum, { bytes }) => sum + bytes, 0);
    const progress = new Progress('write', dataBytes, plan.tensors.length, options.onProgress);
    const sink = new WriteSink({
      layout,
      folder: place.staging,
      journal: this.journal,
      sources,
      resolved: this.evaluator.resolved,
      clones,
      finished: this.finished,
      progress,
      onStep: options.onStep,
    });
    this.sink = sink;
    await sink.start();
    // Small files beside the weights become durable while the weights are produced.
    this.documents = this.writeDocuments();
    this.documents.catch(() => undefined);
    await produce(sink.needed(), this.evaluator, sink, signal);
    sources.checkUnchanged();
    await options.onStep?.('produced');
    // All bytes are under way: manifest and weights become durable together.
    const weights = Promise.all([sink.finishAll(), workSynced]);
    weights.catch(() => undefined);
    await this.writeManifest(layout, await this.documents);
    await weights;
    progress.flush();
    await this.journal.close();
    this.journal = undefined;
    await options.onStep?.('manifest');
    throwIfCancelled(signal);
    await publish(place);
    await options.onStep?.('published');
    return {
      out: place.out,
      planHash: plan.hash,
      alreadyComplete: false,
      files: plan.files.length,
      bytes: dataBytes,
      clonedFiles: sink.clonedFiles,
      sharedBytes: sink.sharedBytes,
      resumedFiles: this.finished.size,
      sourceBytesRead: sources.bytesRead,
      seconds: (performance.now() - start) / 1000,
      notes: this.notes,
    };
  }

  /** Takes finished files of an earlier run over, or clears it away. Returns its journal when continuing. */
  private async takeOver(header: JournalHeader, layout: PlanContents): Promise<JournalContents | null> {
    const { place, options } = this;
    if (await restoreOld(place)) {
      this.notes.push(`"${place.shown}" was given back its former contents, which a killed run had moved aside.`);
      await refuseOccupied(
        { ...place, present: 'full' },
        options.overwrite === true,
        'Allow overwriting to replace it.',
      );
    }
    const journal = readJournal(place.journal);
    if (options.resume !== true || journal === null || !existsSync(place.staging)) {
      if (readdirSync(place.work).length > 1) {
        this.notes.push(`An unfinished run of an ended process was removed (${place.work}).`);
      }
      await clearWork(place);
      if (options.resume === true) this.notes.push('There was nothing to resume: started afresh.');
      return null;
    }
    checkSameRun(journal.header, header, place.work);
    // Only what has a finish mark and still looks as it did then; the rest, documents included, is made again.
    for (const planned of layout.files) {
      const { name } = planned.file;
      const mark = journal.files.get(name);
      if (mark !== undefined && isAsFinished(join(place.staging, name), mark, planned.header))
        this.finished.set(name, mark);
    }
    for (const name of readdirSync(place.staging)) {
      if (!this.finished.has(name)) await rm(join(place.staging, name), { recursive: true, force: true });
    }
    for (const mark of this.finished.values()) {
      for (const [from, name, hex] of mark.sources) this.sources.restoreDigest(from, name, hex);
    }
    // Of every mark, also of files that are redone: the source is the same.
    for (const { resolved } of journal.files.values()) if (resolved !== null) this.evaluator.resolved.restore(resolved);
    this.notes.push(
      `Resumed: ${String(this.finished.size)} of ${String(layout.files.length)} files were finished already.`,
    );
    return journal;
  }

  private async clonesHere(layout: PlanContents): Promise<boolean> {
    if (!layout.files.some(({ cloneOf }) => cloneOf !== null)) return false;
    return canClone(this.place.work);
  }

  private async checkSpace(layout: PlanContents, clones: boolean): Promise<void> {
    let needed = overheadBytes(this.plan);
    for (const { file, bytes, header, cloneOf } of layout.files) {
      if (this.finished.has(file.name)) continue;
      needed += clones && cloneOf !== null ? header.length : bytes;
    }
    await requireSpace(this.place.parent, needed, `The output "${this.place.shown}"`);
  }

  private async writeDocuments(): Promise<ManifestDocument[]> {
    const { documents, notes } = await outputDocuments(this.plan, this.sources.checkpoints);
    append(this.notes, notes);
    const { signal } = this.options;
    const written = await Promise.allSettled(
      documents.map((document) => writeDocument(this.place.staging, document, signal)),
    );
    // All have ended, well or not, before a failure is passed on and the folder cleared.
    return written.map((result) => {
      if (result.status === 'rejected') throw result.reason;
      return result.value;
    });
  }

  private async writeManifest(layout: PlanContents, documents: readonly ManifestDocument[]): Promise<void> {
    const { plan, place, sources, sink } = this;
    if (sink === undefined) return;
    const recorded = await collectSources(layout, sources, this.options.signal);
    await writeManifest(join(place.staging, MANIFEST_NAME), {
      toolVersion: TOOL_VERSION,
      created: new Date().toISOString(),
      documents,
      sources: recorded,
      resolved: this.evaluator.resolved.toJSON(),
      notes: [...this.notes],
      tensors: layout.files.flatMap((file) =>
        file.tensors.map((tensor, index) => [tensor.tensor.name, sink.digestsOf(file, index)] as const),
      ),
      plan,
    });
  }

  /** Closes files, keeps what can be resumed, and says so in the error. */
  async afterFailure(error: unknown): Promise<unknown> {
    const { place } = this;
    await this.sink?.abandon();
    await this.documents?.catch(() => undefined);
    await this.journal?.close().catch(() => undefined);
    this.journal = undefined;
    if (!this.staged) {
      return error;
    }
    const kept = this.sink?.finishedNames() ?? new Set(this.finished.keys());
    const cancelled = error instanceof MoeError && error.kind === 'cancelled';
    // A killed process leaves half-written files; an orderly end does not, they would have to be redone anyway.
    for (const name of existsSync(place.staging) ? readdirSync(place.staging) : []) {
      if (!kept.has(name)) await rm(join(place.staging, name), { force: true });
    }
    if (!cancelled && kept.size === 0) {
      await clearWork(place);
      return error;
    }
    if (!(error instanceof MoeError)) return error;
    const count = `${grouped(kept.size)} of ${grouped(this.plan.files.length)} files are finished and kept`;
    const what = cancelled ? 'Cancelled' : error.message;
    return new MoeError(
      error.kind,
      error.code,
      `${what}${/[.!]$/.test(what) ? '' : '.'} Nothing stands under "${place.shown}"; ${count}.`,
      {
        ...error.place,
        hint: `${error.place.hint === undefined ? '' : `${error.place.hint} `}Continue with --resume, or delete ${place.work}.`,
        details: { ...error.place.details, workFolder: place.work, finishedFiles: kept.size },
      },
      { cause: error },
    );
  }

  async close(): Promise<void> {
    await this.journal?.close().catch(() => undefined);
    this.sources.close();
  }
}

/** A file with a finish mark counts only in the size and time it had then, and with the header it must have. */
function isAsFinished(path: string, mark: JournalFile, header: Buffer): boolean {
  try {
    const facts = lstatSync(path);
    if (!facts.isFile() || facts.size !== mark.size || facts.mtimeMs !== mark.mtimeMs) return false;
    return readExactly(path, 0, header.length).equals(header);
  } catch {
    return false;
  }
}
