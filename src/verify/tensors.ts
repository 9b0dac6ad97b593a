/** Checks of tensor data: computed again from the source and compared, or hashed where no source is at hand. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, read } from 'node:fs';
import { join } from 'node:path';
import { grouped } from '../common/errors.ts';
import { bytePool, throwIfCancelled } from '../evaluate/index.ts';
import type { Evaluator } from '../evaluate/index.ts';
import type { Content, PlanContents, Target } from '../write/contents.ts';
import type { Manifest } from '../write/manifest.ts';
import type { Sink } from '../write/produce.ts';
import { CHUNK_BYTES, produce } from '../write/produce.ts';
import type { Progress } from '../write/progress.ts';
import { describeByte, firstDifference } from './problems.ts';
import type { Findings } from './problems.ts';

/** The output's weight files, opened for reading as they are needed. */
export class OutputReader {
  private readonly fds = new Map<number, number>();

  constructor(
    private readonly out: string,
    private readonly layout: PlanContents,
  ) {}

  private fd(file: number): number {
    const known = this.fds.get(file);
    if (known !== undefined) return known;
    if (this.fds.size >= 200) this.close();
    const fd = openSync(join(this.out, this.layout.files[file]?.file.name ?? ''), 'r');
    this.fds.set(file, fd);
    return fd;
  }

  /** Fills `into` from `position`; the bytes past the file's end stay as they are and the count says so. */
  read(file: number, into: Buffer, position: number): Promise<number> {
    const fd = this.fd(file);
    return new Promise((resolve, reject) => {
      const step = (done: number): void => {
        read(fd, into, done, into.length - done, position + done, (error, n) => {
          if (error !== null) reject(error);
          else if (n === 0 || done + n === into.length) resolve(done + n);
          else step(done + n);
        });
      };
      if (into.length === 0) resolve(0);
      else step(0);
    });
  }

  close(): void {
    for (const fd of this.fds.values()) closeSync(fd);
    this.fds.clear();
  }
}

/** A place whose bytes are not the expected ones. */
interface Mismatch {
  readonly content: Content;
  readonly target: Target;
  /** Absolute in the file. */
  readonly byte: number;
  readonly detail: string;
}

class CompareSink implements Sink {
  readonly mismatches = new Map<Target, Mismatch>();
  readonly digests = new Map<number, string>();

  constructor(
    private readonly reader: OutputReader,
    private readonly usable: ReadonlySet<number>,
    private readonly nameOf: (file: number) => string,
    private readonly progress: Progress,
  ) {}

  async put(content: Content, offset: number, bytes: Buffer): Promise<void> {
    const found = bytePool.take(bytes.length);
    // One target after the other: a hundred experts must not mean a hundred buffers.
    for (const target of content.targets) {
      if (!this.usable.has(target.file)) continue;
      const n = await this.reader.read(target.file, found, target.offset + offset);
      this.progress.add(bytes.length, this.nameOf(target.file));
      if (n === bytes.length && found.equals(bytes)) continue;
      if (this.mismatches.has(target)) continue;
      const at = firstDifference(bytes, found.subarray(0, n));
      const detail = describeByte(bytes[at], at < n ? found[at] : undefined);
      this.mismatches.set(target, { content, target, byte: target.offset + offset + at, detail });
    }
    bytePool.give(found);
  }

  done(content: Content, sha256: string): void {
    this.digests.set(content.id, sha256);
  }
}

/** Recorded digest of the content that lies at a target. */
function recordedDigests(manifest: Manifest, layout: PlanContents): Map<Target, string> {
  const found = new Map<Target, string>();
  const nextOf = new Map<Content, number>();
  for (const file of layout.files) {
    for (const { tensor, parts } of file.tensors) {
      const digests = manifest.tensors.get(tensor.name) ?? [];
      parts.forEach((content, part) => {
        // Targets were made in this very order.
        const next = nextOf.get(content) ?? 0;
        nextOf.set(content, next + 1);
        const target = content.targets[next];
        const digest = digests[part];
        if (target !== undefined && digest !== undefined) found.set(target, digest);
      });
    }
  }
  return found;
}

async function hashTarget(
  reader: OutputReader,
  content: Content,
  target: Target,
  progress?: Progress,
  name = '',
): Promise<string> {
  const hash = createHash('sha256');
  const buffer = bytePool.take(Math.min(CHUNK_BYTES, content.bytes));
  for (let at = 0; at < content.bytes; at += buffer.length) {
    const piece = buffer.subarray(0, Math.min(buffer.length, content.bytes - at));
    const n = await reader.read(target.file, piece, target.offset + at);
    hash.update(piece.subarray(0, n));
    progress?.add(piece.length, name);
  }
  bytePool.give(buffer);
  return hash.digest('hex');
}

export interface TensorCheck {
  readonly out: string;
  readonly manifest: Manifest;
  readonly layout: PlanContents;
  readonly usable: ReadonlySet<number>;
  readonly findings: Findings;
  readonly progress: Progress;
  readonly signal?: AbortSignal | undefined;
}

/** Every tensor computed again from the source and compared byte by byte. True if all are equal. */
export async function compareWithSource(check: TensorCheck, evaluator: Evaluator): Promise<boolean> {
  const { manifest, layout, usable, findings, signal } = check;
  const reader = new OutputReader(check.out, layout);
  const nameOf = (file: number): string => layout.files[file]?.file.name ?? '';
  try {
    const sink = new CompareSink(reader, usable, nameOf, check.progress);
    await produce(layout.contents, evaluator, sink, signal);
    const recorded = recordedDigests(manifest, layout);
    let differing = 0;
    let foreign = 0;
    for (const { content, target, byte, detail } of sink.mismatches.values()) {
      throwIfCancelled(signal);
      const intact = (await hashTarget(reader, content, target)) === recorded.get(target);
      if (intact) {
        // The output is as it was written: it is the source that is another one now.
        foreign += 1;
        continue;
      }
      differing += 1;
      findings.problem({
        code: 'tensor-differs',
        message: `"${target.tensor}" in "${nameOf(target.file)}" differs from what the plan makes of the source, first at byte ${grouped(byte)} of the file (${detail}).`,
        file: nameOf(target.file),
        tensor: target.tensor,
        byte,
      });
    }
    let unlike = 0;
    for (const content of layout.contents) {
      const computed = sink.digests.get(content.id);
      for (const target of content.targets) {
        const digest = recorded.get(target);
        if (digest === computed) continue;
        unlike += 1;
        if (!sink.mismatches.has(target) || digest === undefined) {
          findings.problem({
            code: 'digest-differs',
            message: `"${target.tensor}": the manifest records ${digest?.slice(0, 12) ?? 'no digest'}…, source and plan give ${computed?.slice(0, 12) ?? '?'}….`,
            file: nameOf(target.file),
            tensor: target.tensor,
          });
        }
        break;
      }
    }
    if (foreign > 0) {
      findings.problem({
        code: 'source-differs',
        message: `${grouped(foreign)} tensors are intact as written, but the source at hand gives other values: it was changed since, or is another checkpoint.`,
      });
    }
    findings.check(
      'tensors',
      differing === 0 && foreign === 0 && unlike === 0,
      `${grouped(layout.files.reduce((n, { tensors }) => n + tensors.length, 0))} tensors computed again from the source and compared byte by byte${differing + foreign > 0 ? `, ${grouped(differing + foreign)} differ` : ''}`,
    );
    return differing === 0 && foreign === 0 && unlike === 0;
  } finally {
    reader.close();
  }
}

/** Every tensor hashed and compared with the manifest. True if all digests are as recorded. */
export async function compareWithDigests(check: TensorCheck): Promise<boolean> {
  const { manifest, layout, usable, findings, progress, signal } = check;
  const reader = new OutputReader(check.out, layout);
  const nameOf = (file: number): string => layout.files[file]?.file.name ?? '';
  const recorded = recordedDigests(manifest, layout);
  const targetsOf = new Map<number, { content: Content; target: Target }[]>();
  for (const content of layout.contents) {
    for (const target of content.targets) {
      const list = targetsOf.get(target.file) ?? [];
      list.push({ content, target });
      targetsOf.set(target.file, list);
    }
  }
  let differing = 0;
  try {
    const intact = new Map<Content, Target>();
    const damaged: { content: Content; target: Target }[] = [];
    for (const file of usable) {
      const targets = targetsOf.get(file) ?? [];
      targets.sort((a, b) => a.target.offset - b.target.offset);
      for (const { content, target } of targets) {
        throwIfCancelled(signal);
        const digest = await hashTarget(reader, content, target, progress, nameOf(file));
        if (digest === recorded.get(target)) intact.set(content, target);
        else damaged.push({ content, target });
      }
    }
    for (const { content, target } of damaged) {
      differing += 1;
      const twin = intact.get(content);
      const found = twin === undefined ? null : await locate(reader, content, twin, target);
      const place = { file: nameOf(target.file), tensor: target.tensor };
      findings.problem({
        code: 'tensor-differs',
        message:
          found === null
            ? `"${target.tensor}" in "${place.file}" is not as it was written (its sha256 differs); give the source to learn where.`
            : `"${target.tensor}" in "${place.file}" is not as it was written: it differs from its equal "${twin?.tensor ?? ''}" at byte ${grouped(found.byte)} of the file (${found.detail}).`,
        ...place,
        ...(found === null ? {} : { byte: found.byte }),
      });
    }
  } finally {
    reader.close();
  }
  findings.check(
    'tensors',
    differing === 0,
    `every tensor hashed and compared with the manifest${differing > 0 ? `, ${grouped(differing)} differ` : ''}`,
  );
  return differing === 0;
}

/** First difference between an undamaged copy of a content and a damaged one. */
async function locate(
  reader: OutputReader,
  content: Content,
  good: Target,
  bad: Target,
): Promise<{ byte: number; detail: string } | null> {
  const size = Math.min(CHUNK_BYTES, content.bytes);
  const a = Buffer.alloc(size);
  const b = Buffer.alloc(size);
  for (let at = 0; at < content.bytes; at += size) {
    const length = Math.min(size, content.bytes - at);
    await reader.read(good.file, a.subarray(0, length), good.offset + at);
    await reader.read(bad.file, b.subarray(0, length), bad.offset + at);
    const index = firstDifference(a.subarray(0, length), b.subarray(0, length));
    if (index >= 0) return { byte: bad.offset + at + index, detail: describeByte(a[index], b[index]) };
  }
  return null;
}
