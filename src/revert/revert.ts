/** Rebuilds the dense checkpoint from an output and its manifest, bit for bit, or says tensor by tensor why it cannot. */
import { createHash } from 'node:crypto';
import { lstatSync } from 'node:fs';
import { rm, rmdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseHeader } from 'safetensors-js';
import type { Checkpoint } from '../checkpoint/types.ts';
import { MoeError, grouped } from '../common/errors.ts';
import { throwIfCancelled } from '../evaluate/index.ts';
import type { Value } from '../evaluate/index.ts';
import { planContents } from '../write/contents.ts';
import { MANIFEST_NAME, writeDocument } from '../write/documents.ts';
import { takeLock } from '../write/lock.ts';
import { readManifest, unpack } from '../write/manifest.ts';
import type { Manifest, ManifestSource } from '../write/manifest.ts';
import { OutputFiles } from '../write/output-files.ts';
import {
  clearWork,
  findPlace,
  makeWorkFolder,
  publish,
  refuseOccupied,
  restoreOld,
  startStaging,
} from '../write/place.ts';
import type { Place } from '../write/place.ts';
import { Progress } from '../write/progress.ts';
import type { ProgressListener } from '../write/progress.ts';
import { requireSpace } from '../write/space.ts';
import { recover } from './recover.ts';
import type { Recovered } from './recover.ts';
import { counted } from '../common/words.ts';

export interface RevertOptions {
  /** Which parent to rebuild: 0 is the base. */
  readonly parent?: number;
  readonly overwrite?: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ProgressListener | undefined;
}

/** A tensor that the output does not hold any more. */
export interface RevertRefusal {
  readonly tensor: string;
  readonly reason: string;
}

export interface RevertFile {
  readonly name: string;
  readonly bytes: number;
  readonly tensors: readonly string[];
}

export interface RevertPlan {
  readonly parent: number;
  readonly possible: boolean;
  readonly files: readonly RevertFile[];
  readonly bytes: number;
  /** Documents that are rebuilt or copied back. */
  readonly documents: readonly string[];
  readonly refusals: readonly RevertRefusal[];
}

export interface RevertReport {
  readonly dest: string;
  readonly files: number;
  readonly bytes: number;
  readonly tensors: number;
  /** Always true: every tensor, header and document had the digest of the original, or the revert had failed. */
  readonly identical: true;
  readonly seconds: number;
  readonly notes: readonly string[];
}

/** Where a tensor's bytes come from. */
type Origin = { readonly value: Value } | { readonly bytes: Buffer };

interface Prepared {
  readonly plan: RevertPlan;
  readonly source: ManifestSource;
  readonly headers: ReadonlyMap<string, Buffer>;
  readonly origins: ReadonlyMap<string, Origin>;
  readonly recovered: Recovered;
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function prepare(manifest: Manifest, folder: string, parent: number): Prepared {
  const source = manifest.sources[parent];
  if (source === undefined) {
    throw new MoeError(
      'usage',
      'no-such-parent',
      `The output was made from ${counted(manifest.sources.length, 'checkpoint', 'checkpoints')}; there is no number ${String(parent)}.`,
    );
  }
  const recovered = recover(manifest, planContents(manifest.plan), folder, parent);
  const refusals: RevertRefusal[] = [];
  if (source.format === 'gguf') {
    for (const name of Object.keys(source.tensors)) {
      refusals.push({
        tensor: name,
        reason: 'the source was a GGUF file, whose quantised blocks do not follow from the values; keep that file',
      });
    }
  }
  const digests = new Map(Object.entries(source.tensors));
  const inline = new Map(Object.entries(source.inline));
  // A tensor that the output dropped may be equal to one that it has (a tied head).
  const byDigest = new Map<string, Value>();
  for (const [name, value] of recovered.values) {
    const digest = digests.get(name);
    if (digest !== undefined) byDigest.set(digest, value);
  }
  const headers = new Map<string, Buffer>();
  const origins = new Map<string, Origin>();
  const files = source.files.map((file): RevertFile => {
    const header = unpack(file.header, file.headerBytes, `the header of ${file.name}`);
    if (sha256(header) !== file.headerSha256) throw damaged(`its copy of the header of ${file.name}`);
    headers.set(file.name, header);
    const { tensors } = parseHeader(header.subarray(8), { file: file.name });
    for (const { name, begin, end } of tensors.values()) {
      const packed = inline.get(name);
      const value = recovered.values.get(name) ?? byDigest.get(digests.get(name) ?? '');
      if (value !== undefined) origins.set(name, { value });
      else if (packed !== undefined) origins.set(name, { bytes: unpack(packed, end - begin, name) });
      else refusals.push({ tensor: name, reason: recovered.reasons.get(name) ?? 'no output tensor was made from it' });
    }
    return { name: file.name, bytes: file.bytes, tensors: [...tensors.keys()] };
  });
  const copied =
    parent === 0 ? manifest.documents.filter(({ origin }) => origin === 'copied').map(({ name }) => name) : [];
  return {
    plan: {
      parent,
      possible: refusals.length === 0,
      files,
      bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
      documents: [...source.replaced.map(({ name }) => name), ...copied],
      refusals,
    },
    source,
    headers,
    origins,
    recovered,
  };
}

function damaged(what: string): MoeError {
  return new MoeError('check', 'manifest-damaged', `moe-manifest.json is damaged: ${what} is not what it was.`, {
    file: MANIFEST_NAME,
  });
}

/** What a revert would write, and what stands against it. Reads the manifest only. */
export function planRevert(manifest: Manifest, parent = 0): RevertPlan {
  const prepared = prepare(manifest, '.', parent);
  prepared.recovered.sources.close();
  return prepared.plan;
}

/**
 * Rebuilds the dense checkpoint of the output folder `out` in `dest`. Throws MoeError `not-revertible` (input; details list
 * the tensors and reasons), `revert-digest` (check: the output is damaged), `resources`, `cancelled`. Nothing stands under
 * the name `dest` before all of it has been checked against the digests of the original.
 */
export async function revertOutput(out: string, dest: string, options: RevertOptions = {}): Promise<RevertReport> {
  const start = performance.now();
  const folder = resolve(out);
  const manifest = readManifest(join(folder, MANIFEST_NAME));
  const prepared = prepare(manifest, folder, options.parent ?? 0);
  try {
    const { plan } = prepared;
    if (!plan.possible) throw refused(plan);
    checkOutputFiles(folder, manifest);
    const place = await findPlace(dest, [asSource(folder, manifest)]);
    await refuseOccupied(place, options.overwrite === true, 'Choose another folder or allow overwriting.');
    await makeWorkFolder(place);
    const lock = takeLock(place.lock, place.shown);
    const files = new OutputFiles(place.staging);
    try {
      await restoreOld(place);
      await clearWork(place);
      await requireSpace(place.parent, plan.bytes + (1 << 20), `The dense checkpoint "${dest}"`);
      await startStaging(place, 'An interrupted revert is not continued; run it again.');
      const tensors = await writeFiles(prepared, files, options);
      await writeDocuments(folder, manifest, prepared, place, options);
      prepared.recovered.sources.checkUnchanged();
      await publish(place);
      await rm(place.work, { recursive: true, force: true });
      lock.release();
      return {
        dest: place.out,
        files: plan.files.length,
        bytes: plan.bytes,
        tensors,
        identical: true,
        seconds: (performance.now() - start) / 1000,
        notes: notesOf(manifest, plan),
      };
    } catch (error) {
      await files.close();
      await clearWork(place).catch(() => undefined);
      lock.release();
      await rmdir(place.work).catch(() => undefined);
      throw error;
    }
  } finally {
    prepared.recovered.sources.close();
  }
}

function notesOf(manifest: Manifest, plan: RevertPlan): string[] {
  const notes: string[] = [];
  if (plan.parent > 0)
    notes.push(
      'Files beside the weights are recorded for the base only; this parent got its weights, config and index.',
    );
  if (manifest.sources.length > 1 && plan.parent === 0)
    notes.push('The output was made from several parents; this is the base.');
  return notes;
}

function refused(plan: RevertPlan): MoeError {
  const [first] = plan.refusals;
  const count = plan.refusals.length;
  return new MoeError(
    'input',
    'not-revertible',
    `The dense checkpoint cannot be rebuilt: ${grouped(count)} tensor${count === 1 ? ' is' : 's are'} not in the output any more. "${first?.tensor ?? ''}": ${first?.reason ?? ''}.`,
    {
      ...(first === undefined ? {} : { tensor: first.tensor }),
      hint: 'Recipes that copy, split, permute or scale by powers of two can be undone; those that add noise, round or average cannot.',
      details: { refusals: plan.refusals.slice(0, 100), refusalCount: count },
    },
  );
}

/** Files in another size than they were written with would only give confusing errors later. */
function checkOutputFiles(folder: string, manifest: Manifest): void {
  for (const { file, bytes } of planContents(manifest.plan).files) {
    let size = -1;
    try {
      ({ size } = lstatSync(join(folder, file.name)));
    } catch {
      // Missing: said below.
    }
    if (size === bytes) continue;
    throw new MoeError(
      'check',
      'output-incomplete',
      size < 0
        ? `"${file.name}" is missing.`
        : `"${file.name}" has ${grouped(size)} bytes instead of ${grouped(bytes)}.`,
      { file: file.name, hint: 'Run verify to see all that is wrong.' },
    );
  }
}

/** The output as a source, for the check that neither folder lies in the other. */
function asSource(folder: string, manifest: Manifest): Checkpoint {
  return {
    path: folder,
    root: folder,
    format: 'hf',
    config: null,
    tensors: new Map(),
    aliases: new Map(),
    gguf: null,
    files: manifest.plan.files.map(({ name }) => ({ name, path: join(folder, name), bytes: 0, state: 'ok' })),
    index: null,
    sidecars: [],
    problems: [],
    planOnly: false,
  };
}

const CHUNK_BYTES = 2 << 20;

async function writeFiles(prepared: Prepared, files: OutputFiles, options: RevertOptions): Promise<number> {
  const { plan, source, headers, origins } = prepared;
  const digests = new Map(Object.entries(source.tensors));
  const progress = new Progress('revert', plan.bytes, origins.size, options.onProgress);
  const buffers = [0, 1].map(() => Buffer.from(new ArrayBuffer(CHUNK_BYTES)));
  let tensors = 0;
  for (const { name: file, bytes } of plan.files) {
    const header = headers.get(file);
    if (header === undefined) continue;
    await files.write(file, header, 0);
    let end = header.length;
    for (const { name, begin } of parseHeader(header.subarray(8), { file }).tensors.values()) {
      const origin = origins.get(name);
      if (origin === undefined) continue;
      const hash = createHash('sha256');
      let position = header.length + begin;
      let pending: Promise<void> = Promise.resolve();
      let turn = 0;
      for (const piece of piecesOf(origin, () => buffers[turn++ % 2] ?? Buffer.alloc(CHUNK_BYTES))) {
        throwIfCancelled(options.signal);
        hash.update(piece);
        // The write of this piece goes on while the next one is read into the other buffer.
        await pending;
        pending = files.write(file, piece, position);
        pending.catch(() => undefined);
        position += piece.length;
        progress.add(piece.length, file);
      }
      await pending;
      end = position;
      tensors += 1;
      const found = hash.digest('hex');
      if (found !== digests.get(name)) {
        throw new MoeError(
          'check',
          'revert-digest',
          `"${name}" did not come out as the original: sha256 ${found.slice(0, 12)}…, recorded ${(digests.get(name) ?? 'none').slice(0, 12)}….`,
          { file, tensor: name, hint: 'The output was changed since it was written: run verify.' },
        );
      }
      progress.tensors(1);
    }
    const { size } = await files.finish(file);
    if (size !== bytes || end !== bytes) {
      throw new MoeError(
        'internal',
        'written-size',
        `"${file}" has ${grouped(size)} bytes, the original had ${grouped(bytes)}.`,
        { file },
      );
    }
  }
  progress.flush();
  return tensors;
}

function* piecesOf(origin: Origin, buffer: () => Buffer): Generator<Buffer> {
  if ('bytes' in origin) {
    yield origin.bytes;
    return;
  }
  const { value } = origin;
  if (!Number.isInteger(value.width)) {
    // Packed dtypes are whole copies; their elements cannot be cut at any byte.
    const whole = Buffer.alloc(value.byteCount(0, value.elements));
    value.read(0, value.elements, whole);
    yield whole;
    return;
  }
  const row = value.shape.at(-1) ?? 1;
  const most = Math.floor(CHUNK_BYTES / value.width);
  const step = row > 0 && row <= most ? Math.floor(most / row) * row : most;
  for (let at = 0; at < value.elements; at += step) {
    const stop = Math.min(value.elements, at + step);
    const piece = buffer().subarray(0, (stop - at) * value.width);
    value.read(at, stop, piece);
    yield piece;
  }
}

async function writeDocuments(
  folder: string,
  manifest: Manifest,
  { plan, source }: Prepared,
  place: Place,
  options: RevertOptions,
): Promise<void> {
  for (const { name, bytes, content, sha256: recorded } of source.replaced) {
    const original = unpack(content, bytes, name);
    if (sha256(original) !== recorded) throw damaged(`its copy of ${name}`);
    await writeDocument(place.staging, { name, origin: 'generated', content: { bytes: original } }, options.signal);
  }
  if (plan.parent > 0) return;
  for (const document of manifest.documents) {
    if (document.origin !== 'copied') continue;
    const { name } = document;
    const content = { path: join(folder, name), bytes: document.bytes };
    const written = await writeDocument(place.staging, { name, origin: 'copied', content }, options.signal);
    if (written.sha256 === document.sha256) continue;
    throw new MoeError(
      'check',
      'revert-digest',
      `"${name}" in the output is not the one that was copied from the source.`,
      {
        file: name,
        hint: 'The output was changed since it was written: run verify.',
      },
    );
  }
}
