/** What the manifest records about the sources, and writing the manifest itself. */
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Checkpoint, SourceTensor } from '../checkpoint/types.ts';
import { MoeError } from '../common/errors.ts';
import type { SourceSet } from '../evaluate/index.ts';
import { sourcesRead } from './contents.ts';
import type { PlanContents } from './contents.ts';
import { CONFIG_NAME, README_NAME, sourceName } from './documents.ts';
import { writeFailure } from './failure.ts';
import { manifestChunks, pack } from './manifest.ts';
import type { ManifestInput, ManifestSource } from './manifest.ts';
import { readExactly } from './read-exactly.ts';

/** Tensors up to this size that no output holds (old rotary tables) are kept in the manifest itself. */
const INLINE_BYTES = 64 << 10;
const MAX_INLINE_TOTAL = 4 << 20;
/** Replaced documents up to this size are kept. */
const MAX_REPLACED_BYTES = 64 << 20;

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Digests of all source tensors (those not read in passing are read now), headers and replaced documents. */
export async function collectSources(
  { contents }: PlanContents,
  sources: SourceSet,
  signal?: AbortSignal,
): Promise<ManifestSource[]> {
  const read = sourcesRead(contents, sources.checkpoints.length);
  const collected: ManifestSource[] = [];
  for (const [from, checkpoint] of sources.checkpoints.entries()) {
    const rebuildable = checkpoint.format !== 'gguf';
    const digests = new Map<string, string>();
    const unread: SourceTensor[] = [];
    for (const tensor of checkpoint.tensors.values()) {
      const isRead = read[from]?.has(tensor.name) === true;
      // The others are needed only to rebuild the dense files.
      if (!isRead && (!rebuildable || tensor.begin < 0 || !isReadable(checkpoint, tensor.file))) continue;
      digests.set(tensor.name, await sources.digest(from, tensor.name, signal));
      if (!isRead) unread.push(tensor);
    }
    collected.push({
      name: sourceName(checkpoint),
      format: checkpoint.format,
      tensors: Object.fromEntries(digests),
      files: rebuildable ? headersOf(checkpoint) : [],
      inline: inlined(sources, from, unread, digests),
      replaced: rebuildable ? replacedDocuments(checkpoint) : [],
    });
  }
  return collected;
}

/** Small tensors that no output holds, packed; none where a large one is missing as well and the files are lost anyway. */
function inlined(
  sources: SourceSet,
  from: number,
  unread: readonly SourceTensor[],
  digests: ReadonlyMap<string, string>,
): Record<string, string> {
  const unreadNames = new Set(unread.map(({ name }) => name));
  const heldElsewhere = new Set([...digests].flatMap(([name, digest]) => (unreadNames.has(name) ? [] : [digest])));
  const missing = unread.filter(({ name }) => !heldElsewhere.has(digests.get(name) ?? ''));
  const total = missing.reduce((sum, { bytes }) => sum + bytes, 0);
  if (missing.some(({ bytes }) => bytes > INLINE_BYTES) || total > MAX_INLINE_TOTAL) return {};
  return Object.fromEntries(
    missing.map((tensor) => {
      const bytes = Buffer.alloc(tensor.bytes);
      sources.readDirect(from, tensor, 0, bytes);
      return [tensor.name, pack(bytes)];
    }),
  );
}

function isReadable(checkpoint: Checkpoint, file: string): boolean {
  return checkpoint.files.find(({ name }) => name === file)?.state === 'ok';
}

function headersOf(checkpoint: Checkpoint): ManifestSource['files'] {
  return checkpoint.files
    .filter(({ state }) => state === 'ok')
    .map(({ name, path, bytes }) => {
      const length = Number(readExactly(path, 0, 8).readBigUInt64LE());
      const header = readExactly(path, 0, 8 + length);
      return { name, bytes, headerBytes: header.length, header: pack(header), headerSha256: sha256(header) };
    });
}

/** config.json, indexes and README.md of the source: the output has its own under these names. */
function replacedDocuments(checkpoint: Checkpoint): ManifestSource['replaced'] {
  const paths = new Map<string, string>();
  for (const { name, path } of checkpoint.sidecars) {
    if ((name === CONFIG_NAME || name === README_NAME) && path !== undefined) paths.set(name, path);
  }
  // Indexes count as part of the weights and are no sidecars.
  if (checkpoint.format === 'hf') {
    for (const name of readdirSync(checkpoint.root)) {
      if (name.endsWith('.safetensors.index.json')) paths.set(name, join(checkpoint.root, name));
    }
  }
  const found: ManifestSource['replaced'] = [];
  for (const [name, path] of paths) {
    const facts = statSync(path, { throwIfNoEntry: false });
    if (facts?.isFile() !== true || facts.size > MAX_REPLACED_BYTES) continue;
    const content = readFileSync(path);
    found.push({ name, bytes: content.length, content: pack(content), sha256: sha256(content) });
  }
  return found;
}

/** Writes the manifest durably. */
export async function writeManifest(path: string, input: ManifestInput): Promise<void> {
  try {
    const file = await open(path, 'wx', 0o644);
    try {
      for (const chunk of manifestChunks(input)) await file.writeFile(chunk);
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof MoeError) throw error;
    throw writeFailure(error, 'moe-manifest.json');
  }
}
