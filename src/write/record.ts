/** What the manifest records about the sources, and writing the manifest itself. */
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Checkpoint } from '../checkpoint/types.ts';
import { MoeError } from '../common/errors.ts';
import type { SourceSet } from '../evaluate/index.ts';
import type { Plan } from '../plan/types.ts';
import { CONFIG_NAME, README_NAME, sourceName } from './documents.ts';
import { writeFailure } from './failure.ts';
import { manifestChunks, pack } from './manifest.ts';
import type { ManifestInput, ManifestSource } from './manifest.ts';
import { readExactly } from './read-exactly.ts';

/** Tensors up to this size that no output holds (old rotary tables) are kept in the manifest itself. */
const INLINE_BYTES = 64 << 10;
/** Replaced documents up to this size are kept. */
const MAX_REPLACED_BYTES = 64 << 20;

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Digests of all source tensors (those not read in passing are read now), headers and replaced documents. */
export async function collectSources(plan: Plan, sources: SourceSet, signal?: AbortSignal): Promise<ManifestSource[]> {
  const collected: ManifestSource[] = [];
  for (const [from, checkpoint] of sources.checkpoints.entries()) {
    const used = new Set(plan.sources[from]?.tensors.keys());
    const rebuildable = checkpoint.format !== 'gguf';
    const tensors: [string, string][] = [];
    const inline: [string, string][] = [];
    for (const tensor of checkpoint.tensors.values()) {
      if (!used.has(tensor.name)) {
        // Needed only to rebuild the dense files.
        if (!rebuildable || tensor.begin < 0 || !isReadable(checkpoint, tensor.file)) continue;
        if (tensor.bytes <= INLINE_BYTES) {
          const bytes = Buffer.alloc(tensor.bytes);
          sources.readDirect(from, tensor, 0, bytes);
          inline.push([tensor.name, pack(bytes)]);
        }
      }
      tensors.push([tensor.name, await sources.digest(from, tensor.name, signal)]);
    }
    collected.push({
      name: sourceName(checkpoint),
      format: checkpoint.format,
      tensors: Object.fromEntries(tensors),
      files: rebuildable ? headersOf(checkpoint) : [],
      inline: Object.fromEntries(inline),
      replaced: rebuildable ? replacedDocuments(checkpoint) : [],
    });
  }
  return collected;
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
