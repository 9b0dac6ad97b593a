/** An opened checkpoint as a source of weights: safetensors in place, GGUF in place where it is plain, else from a cache. */
import { createHash, randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { Checkpoint } from '../checkpoint/types.ts';
import { MoeError, grouped, messageOf, systemCodeOf } from '../common/errors.ts';
import type { JsonObject } from '../common/json.ts';
import { mapTensors, requireComplete } from '../gguf/names.ts';
import type { GgufSource } from '../gguf/names.ts';
import { openGgufModel } from '../gguf/split.ts';
import { readSource, rowCount, rowLength } from '../gguf/tensor-data.ts';
import type { WeightEntry, WeightSource } from '../model/weights.ts';

export interface WeightsOptions {
  /** Where dequantised GGUF weights are kept (float32, 4 bytes per parameter); needed for GGUF only. */
  readonly cacheFolder?: string;
  readonly signal?: AbortSignal;
  /** Bytes written to the cache so far, of how many. */
  readonly onProgress?: (done: number, total: number) => void;
}

export interface RunnableWeights {
  readonly config: JsonObject;
  readonly source: WeightSource;
  /** The cache file that was made or found; null where weights are read in place. */
  readonly cacheFile: string | null;
}

/**
 * Weights and config of a checkpoint for the runtime. Throws MoeErrors: `no-config`, `plan-only` (no weights at hand),
 * `gguf-cache-needed`, and what reading a GGUF may throw.
 */
export function weightsOf(checkpoint: Checkpoint, options: WeightsOptions = {}): RunnableWeights {
  const { config } = checkpoint;
  if (config === null) {
    throw new MoeError('input', 'no-config', `${checkpoint.path} has no config.json, so the model cannot be built.`, {
      file: checkpoint.path,
      hint: 'Put the config.json of the model beside its weights.',
    });
  }
  if (checkpoint.planOnly) {
    throw new MoeError(
      'input',
      'plan-only',
      `${checkpoint.path} holds config and index only: there are no weights to run.`,
      { file: checkpoint.path, hint: 'Download the weight files that the index names.' },
    );
  }
  if (checkpoint.format === 'gguf') return { config, ...ggufWeights(checkpoint, options) };
  return { config, source: plainSource(checkpoint), cacheFile: null };
}

function plainSource(checkpoint: Checkpoint): WeightSource {
  const files = new Map(checkpoint.files.map((file) => [file.name, file]));
  const entries = new Map<string, WeightEntry>();
  for (const tensor of checkpoint.tensors.values()) {
    const file = files.get(tensor.file);
    if (file?.state !== 'ok' || tensor.begin < 0) continue;
    entries.set(tensor.name, {
      dtype: tensor.dtype,
      shape: tensor.shape,
      data: { kind: 'file', file: file.path, offset: tensor.begin, bytes: tensor.bytes },
    });
  }
  return sourceWith(entries, checkpoint.aliases);
}

function sourceWith(entries: ReadonlyMap<string, WeightEntry>, aliases: ReadonlyMap<string, string>): WeightSource {
  return { get: (name) => entries.get(aliases.get(name) ?? name), names: () => entries.keys() };
}

function ggufWeights(checkpoint: Checkpoint, options: WeightsOptions): Omit<RunnableWeights, 'config'> {
  const [file] = checkpoint.files;
  if (file === undefined) throw new MoeError('internal', 'gguf-without-file', `${checkpoint.path} lists no file.`);
  // By its own name, not its real path: the parts of a cut model are found by their names.
  const header = openGgufModel(path.join(checkpoint.root, file.name));
  const mapping = mapTensors(header);
  requireComplete(header, mapping);
  const entries = new Map<string, WeightEntry>();
  const converted: GgufSource[] = [];
  for (const source of mapping.sources.values()) {
    const entry = inPlace(source);
    if (entry === null) converted.push(source);
    else entries.set(source.name, entry);
  }
  if (converted.length === 0) return { source: sourceWith(entries, new Map()), cacheFile: null };
  if (options.cacheFolder === undefined) {
    throw new MoeError(
      'usage',
      'gguf-cache-needed',
      `${file.name} holds quantised weights, which are dequantised into a cache file before they run.`,
      { file: file.path, hint: 'Name a folder for the cache.' },
    );
  }
  const cacheFile = cacheName(
    options.cacheFolder,
    checkpoint.files.map((part) => part.path),
  );
  for (const [name, entry] of cacheEntries(cacheFile, converted)) entries.set(name, entry);
  fillCache(cacheFile, converted, options);
  return { source: sourceWith(entries, new Map()), cacheFile };
}

/** A stored tensor that already is the Hugging Face one: float, whole rows, untouched. */
function inPlace(source: GgufSource): WeightEntry | null {
  const [piece, ...others] = source.pieces;
  if (piece === undefined || others.length > 0 || piece.transform.kind !== 'none') return null;
  const { tensor } = piece;
  const width = { F32: 4, F16: 2, BF16: 2 }[tensor.ggmlType.name as string];
  if (width === undefined) return null;
  const length = rowLength(source.shape);
  const bytes = (piece.end - piece.begin) * length * width;
  return {
    dtype: tensor.ggmlType.name,
    shape: source.shape,
    data: {
      kind: 'file',
      file: fs.realpathSync(tensor.file),
      offset: tensor.offset + piece.begin * length * width,
      bytes,
    },
  };
}

/** Named by the files and their state, so that a changed file gets a new cache. */
function cacheName(folder: string, files: readonly string[]): string {
  const states = files.map((file) => {
    const { size, mtimeMs } = fs.statSync(file);
    return `${file}\0${size}\0${mtimeMs}\0`;
  });
  const digest = createHash('sha256')
    .update(`${states.join('')}f32-1`)
    .digest('hex')
    .slice(0, 32);
  return path.join(folder, `gguf-${digest}.f32`);
}

const elementsOf = (source: GgufSource): number => source.shape.reduce((a, b) => a * b, 1);

function cacheEntries(cacheFile: string, sources: readonly GgufSource[]): readonly (readonly [string, WeightEntry])[] {
  let offset = 0;
  return sources.map((source) => {
    const bytes = 4 * elementsOf(source);
    const entry: WeightEntry = {
      dtype: 'F32',
      shape: source.shape,
      data: { kind: 'file', file: cacheFile, offset, bytes },
    };
    offset += bytes;
    return [source.name, entry] as const;
  });
}

/** Values dequantised at a time. */
const STEP = 1 << 22;

/** Writes the cache unless it is there; a cache appears under its name only when it is complete. */
function fillCache(cacheFile: string, sources: readonly GgufSource[], options: WeightsOptions): void {
  const total = sources.reduce((sum, source) => sum + 4 * elementsOf(source), 0);
  if (fs.statSync(cacheFile, { throwIfNoEntry: false })?.size === total) return;
  const partial = `${cacheFile}.${randomBytes(6).toString('hex')}.partial`;
  try {
    fs.mkdirSync(path.dirname(cacheFile), { recursive: true });
    const fd = fs.openSync(partial, 'wx');
    try {
      let done = 0;
      for (const source of sources) {
        const rows = rowCount(source.shape);
        const step = Math.max(1, Math.floor(STEP / rowLength(source.shape)));
        for (let row = 0; row < rows; row += step) {
          if (options.signal?.aborted === true)
            throw new MoeError('cancelled', 'cancelled', 'Dequantising was cancelled.');
          const values = readSource(source, row, Math.min(rows, row + step));
          writeAll(fd, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
          done += values.byteLength;
          options.onProgress?.(done, total);
        }
      }
    } finally {
      fs.closeSync(fd);
    }
    fs.renameSync(partial, cacheFile);
  } catch (error) {
    fs.rmSync(partial, { force: true });
    if (error instanceof MoeError) throw error;
    const full = systemCodeOf(error) === 'ENOSPC';
    throw new MoeError(
      'resources',
      'gguf-cache-failed',
      `The dequantised weights (${grouped(total)} bytes) cannot be written to ${cacheFile}: ${messageOf(error)}`,
      {
        file: cacheFile,
        hint: full
          ? 'Free disk space, or name a cache folder on a larger disk.'
          : 'Name a cache folder that can be written.',
      },
      { cause: error },
    );
  }
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += fs.writeSync(fd, bytes, at);
}
