/**
 * The journal of a run: a header and one line per finished file, each durable before it counts. A file without a line is
 * redone however complete it looks; a torn last line (killed while writing) is no line.
 */
import { constants, existsSync, readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { z } from 'zod';
import { MoeError } from '../common/errors.ts';
import { writeFailure } from './failure.ts';
import { resolvedSchema } from './manifest.ts';

export const JOURNAL_SCHEMA = 'moe-workbench/journal@1';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

const headerSchema = z.object({
  schema: z.literal(JOURNAL_SCHEMA),
  planHash: z.string(),
  toolVersion: z.string(),
  /** Size and time of every source file by `parent/name`: another state means another source. */
  sources: z.record(z.string(), z.object({ size: z.number(), mtimeMs: z.number() })),
});

const fileLineSchema = z.object({
  file: z.string(),
  size: z.number(),
  mtimeMs: z.number(),
  /** sha256 of each part of each tensor, in file order. */
  digests: z.array(z.array(sha256)),
  /** Digests of source tensors that became known so far: [parent, name, sha256]. */
  sources: z.array(z.tuple([z.number(), z.string(), sha256])),
  /** Statistics that became known so far. */
  resolved: resolvedSchema.nullable(),
});

export type JournalHeader = z.infer<typeof headerSchema>;
export type JournalFile = z.infer<typeof fileLineSchema>;

export interface JournalContents {
  readonly header: JournalHeader;
  readonly files: ReadonlyMap<string, JournalFile>;
  /** Bytes up to the end of the last whole line. */
  readonly validBytes: number;
}

function parse<T>(schema: z.ZodType<T>, line: string): T | null {
  try {
    const result = schema.safeParse(JSON.parse(line));
    return result.success ? result.data : null;
  } catch {
    return null;
  }
}

/** Reads a journal; null if there is none or its header is not whole. Lines after the first damaged one do not count. */
export function readJournal(path: string): JournalContents | null {
  if (!existsSync(path)) return null;
  const bytes = readFileSync(path);
  const files = new Map<string, JournalFile>();
  let header: JournalHeader | null = null;
  let validBytes = 0;
  for (;;) {
    const end = bytes.indexOf(0x0a, validBytes);
    if (end < 0) break;
    const line = bytes.toString('utf8', validBytes, end);
    if (header === null) {
      header = parse(headerSchema, line);
      if (header === null) return null;
    } else {
      const file = parse(fileLineSchema, line);
      if (file === null) break;
      files.set(file.file, file);
    }
    validBytes = end + 1;
  }
  return header === null ? null : { header, files, validBytes };
}

/** Appends lines; those that come while a sync is under way share the next one. */
export class JournalWriter {
  private queue: string[] = [];
  private flushing: Promise<void> | undefined;

  private constructor(
    private readonly handle: FileHandle,
    private position: number,
  ) {}

  /** A new journal. Its header becomes durable with, and before, the first line: nothing counts without one. */
  static async create(path: string, header: JournalHeader): Promise<JournalWriter> {
    try {
      const writer = new JournalWriter(await open(path, 'wx'), 0);
      writer.queue.push(`${JSON.stringify(header)}\n`);
      return writer;
    } catch (error) {
      throw writeFailure(error, 'journal.jsonl');
    }
  }

  /** Continues a journal after its last whole line. */
  static async continue(path: string, contents: JournalContents): Promise<JournalWriter> {
    const noFollow: number = (constants as { readonly O_NOFOLLOW?: number }).O_NOFOLLOW ?? 0;
    const handle = await open(path, constants.O_RDWR | noFollow);
    await handle.truncate(contents.validBytes);
    return new JournalWriter(handle, contents.validBytes);
  }

  /** Resolves when the lines are on disk. */
  append(...lines: readonly JournalFile[]): Promise<void> {
    for (const line of lines) this.queue.push(`${JSON.stringify(line)}\n`);
    const previous = this.flushing ?? Promise.resolve();
    this.flushing = previous.then(() => this.flush());
    return this.flushing;
  }

  private async flush(): Promise<void> {
    if (this.queue.length === 0) return;
    const bytes = Buffer.from(this.queue.join(''), 'utf8');
    this.queue = [];
    try {
      await this.handle.write(bytes, 0, bytes.length, this.position);
      this.position += bytes.length;
      await this.handle.datasync();
    } catch (error) {
      throw writeFailure(error, 'journal.jsonl');
    }
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}

/** Refuses a journal of another plan or source. */
export function checkSameRun(found: JournalHeader, expected: JournalHeader, folder: string): void {
  const hint = `Run without --resume to start afresh, or delete ${folder}.`;
  if (found.planHash !== expected.planHash) {
    throw new MoeError(
      'input',
      'resume-other-plan',
      `The unfinished output was begun with another plan (${found.planHash.slice(0, 12)}…, now ${expected.planHash.slice(0, 12)}…): recipe or source differ.`,
      { file: folder, hint, details: { found: found.planHash, expected: expected.planHash } },
    );
  }
  if (found.toolVersion !== expected.toolVersion) {
    throw new MoeError(
      'input',
      'resume-other-version',
      `The unfinished output was begun by version ${found.toolVersion}, this is ${expected.toolVersion}.`,
      { file: folder, hint },
    );
  }
  for (const [name, state] of Object.entries(expected.sources)) {
    const before = new Map(Object.entries(found.sources)).get(name);
    if (before === undefined || before.size !== state.size || before.mtimeMs !== state.mtimeMs) {
      throw new MoeError(
        'input',
        'resume-source-changed',
        `The source file "${name.slice(name.indexOf('/') + 1)}" was changed since the unfinished run.`,
        { file: name, hint },
      );
    }
  }
}
