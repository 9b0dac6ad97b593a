/** The files beside the weights: generated ones as text, the source's own by path, to be copied byte for byte. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { buildIndex } from 'safetensors-js';
import type { Checkpoint, Sidecar } from '../checkpoint/types.ts';
import { throwIfCancelled } from '../evaluate/index.ts';
import { MoeError, grouped, messageOf } from '../common/errors.ts';
import { pythonJson } from '../common/python-json.ts';
import type { Plan } from '../plan/types.ts';
import { writeFailure } from './failure.ts';
import { pack } from './manifest.ts';
import type { ManifestDocument } from './manifest.ts';
import { modelCard } from './model-card.ts';

export const CONFIG_NAME = 'config.json';
export const INDEX_NAME = 'model.safetensors.index.json';
export const README_NAME = 'README.md';
export const KEPT_README_NAME = 'README.dense.md';
export const MANIFEST_NAME = 'moe-manifest.json';

/** Larger cards are not taken over into the manifest and the front matter. */
const MAX_CARD_BYTES = 4 << 20;

export interface OutputDocument {
  readonly name: string;
  /** generated: follows from the plan; copied: a file of the source; kept: the source's README under another name. */
  readonly origin: 'generated' | 'copied' | 'kept';
  readonly content:
    { readonly text: string } | { readonly bytes: Buffer } | { readonly path: string; readonly bytes: number };
}

export interface OutputDocuments {
  readonly documents: readonly OutputDocument[];
  /** README.md of the base, where it has one of reasonable size. */
  readonly sourceCard: string | null;
  /** What was left out, in words. */
  readonly notes: readonly string[];
}

/** config.json of the output. */
export function configText(plan: Plan): string {
  return pythonJson(plan.target.config, plan.target.configFloats);
}

/** The index, or null where the output is the one file that loaders look for without one. */
export function indexText(plan: Plan): string | null {
  if (plan.files.length === 1 && plan.files[0]?.name === 'model.safetensors') return null;
  return buildIndex(plan.tensors.map(({ name, file, bytes }) => ({ name, file, bytes })));
}

/** Name of a source for people and hubs: `org/name` out of a hub cache path, else the last folder. Never a path. */
export function sourceName(checkpoint: Checkpoint): string {
  const cached = /(?:^|[\\/])models--([^\\/]+?)--([^\\/]+)[\\/]/.exec(`${checkpoint.root}/`);
  if (cached?.[1] !== undefined && cached[2] !== undefined) return `${cached[1]}/${cached[2]}`;
  return checkpoint.format === 'hf' ? basename(checkpoint.root) : basename(checkpoint.path);
}

async function sidecarText(sidecar: Sidecar): Promise<string | null> {
  if (sidecar.text !== undefined) return sidecar.text;
  if (sidecar.path === undefined || sidecar.bytes > MAX_CARD_BYTES) return null;
  return readFile(sidecar.path, 'utf8');
}

/** A plain name that cannot leave the folder and is none of ours. */
function isCarried(name: string, taken: ReadonlySet<string>): boolean {
  if (name === '' || /[/\\\0]/.test(name) || name === '.' || name === '..') return false;
  const lower = name.toLowerCase();
  return !taken.has(lower) && !lower.endsWith('.safetensors') && !lower.endsWith('.safetensors.index.json');
}

/** Everything that goes beside the weights of `plan`. */
export async function outputDocuments(plan: Plan, sources: readonly Checkpoint[]): Promise<OutputDocuments> {
  const [base] = sources;
  if (base === undefined) throw new MoeError('usage', 'source-missing', 'No source checkpoint was given.');
  const notes: string[] = [];
  const cardFile = base.sidecars.find(({ name }) => name === README_NAME);
  const sourceCard = cardFile === undefined ? null : await sidecarText(cardFile);
  if (cardFile !== undefined && sourceCard === null)
    notes.push('The source’s README.md is too large and was left out.');

  const taken = new Set(
    [CONFIG_NAME, README_NAME, KEPT_README_NAME, MANIFEST_NAME, INDEX_NAME, ...plan.files.map(({ name }) => name)].map(
      (name) => name.toLowerCase(),
    ),
  );
  const carried = base.sidecars.filter(({ name }) => isCarried(name, taken));
  for (const { name } of base.sidecars) {
    if (name === MANIFEST_NAME) notes.push('The source has a moe-manifest.json of its own; it was not carried over.');
    else if (name === KEPT_README_NAME) notes.push('The source’s README.dense.md was not carried over.');
  }
  const licenceFiles = carried.map(({ name }) => name).filter((name) => /^(?:licen[cs]e|copying|notice)/i.test(name));
  const documents: OutputDocument[] = [{ name: CONFIG_NAME, origin: 'generated', content: { text: configText(plan) } }];
  const index = indexText(plan);
  if (index !== null) documents.push({ name: INDEX_NAME, origin: 'generated', content: { text: index } });
  for (const { name, text, path, bytes } of carried) {
    if (text !== undefined) documents.push({ name, origin: 'generated', content: { text } });
    else if (path !== undefined) documents.push({ name, origin: 'copied', content: { path, bytes } });
  }
  if (sourceCard !== null) documents.push({ name: KEPT_README_NAME, origin: 'kept', content: { text: sourceCard } });
  const card = modelCard({
    plan,
    sourceCard,
    keptAs: sourceCard === null ? null : KEPT_README_NAME,
    sourceNames: sources.map(sourceName),
    licenceFiles,
  });
  documents.push({ name: README_NAME, origin: 'generated', content: { text: card } });
  return { documents, sourceCard, notes };
}

/** Generated files up to this size are kept in the manifest too. */
const MAX_RECORDED_BYTES = 64 << 10;

/** Writes one document durably; a copied file whose size is not what it was when opened is refused. */
export async function writeDocument(
  folder: string,
  document: OutputDocument,
  signal?: AbortSignal,
): Promise<ManifestDocument> {
  const { name, origin, content } = document;
  const hash = createHash('sha256');
  let bytes = 0;
  try {
    const file = await open(join(folder, name), 'wx', 0o644);
    try {
      const chunks = 'path' in content ? createReadStream(content.path) : [bytesOf(content)];
      for await (const chunk of chunks) {
        throwIfCancelled(signal);
        const piece: Buffer = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk);
        hash.update(piece);
        await file.writeFile(piece);
        bytes += piece.length;
      }
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    if ('path' in content && isReadFailure(error, content.path)) {
      throw new MoeError('input', 'source-unreadable', `Cannot read "${name}" of the source: ${messageOf(error)}`, {
        file: name,
      });
    }
    throw writeFailure(error, name);
  }
  if ('path' in content && bytes !== content.bytes) {
    throw new MoeError(
      'input',
      'source-changed',
      `The source file "${name}" changed during the run (${grouped(content.bytes)} bytes when opened, ${grouped(bytes)} now).`,
      { file: name, hint: 'Let nothing write to the source while it is read, then run again.' },
    );
  }
  const recorded = !('path' in content) && bytes <= MAX_RECORDED_BYTES ? { content: pack(bytesOf(content)) } : {};
  return { name, origin, bytes, sha256: hash.digest('hex'), ...recorded };
}

function bytesOf(content: { readonly text: string } | { readonly bytes: Buffer }): Buffer {
  return 'text' in content ? Buffer.from(content.text, 'utf8') : content.bytes;
}

function isReadFailure(error: unknown, path: string): boolean {
  return typeof error === 'object' && error !== null && 'path' in error && error.path === path;
}

/** Makes a folder's own entries durable; not possible, and not needed, on Windows. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes the entry of `path` in its parent folder durable. */
export async function syncParent(path: string): Promise<void> {
  await syncFolder(dirname(path));
}
