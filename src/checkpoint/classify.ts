/** Which file of a folder is what, by its name. Contents are judged where they are read. */
import type { Entry } from './listing.ts';

export interface Contents {
  /** `*.safetensors`, sorted by name. */
  readonly safetensors: readonly Entry[];
  /** `*.safetensors.index.json`. */
  readonly indexes: readonly Entry[];
  readonly gguf: readonly Entry[];
  /** Half-written weight files (`.tmp`, `.partial`, `.incomplete`, …). */
  readonly leftovers: readonly Entry[];
  /** Weights stored as pickles (`pytorch_model.bin`, `*.pth`, …) and their indexes. */
  readonly pickles: readonly Entry[];
  /** Weights of formats that are not read (`*.h5`, `*.msgpack`, `*.onnx`, …). */
  readonly foreign: readonly Entry[];
  readonly folders: readonly Entry[];
  /** Everything else that is a file or a dead link. */
  readonly others: readonly Entry[];
}

const LEFTOVER = /\.(?:tmp|temp|part|partial|incomplete|crdownload|download|aria2|writing)(?:[-._]?[\w-]{0,40})?$/i;
const WEIGHT_INSIDE = /\.(?:safetensors|gguf)/i;
const PICKLE = /\.(?:bin|pt|pth|ckpt|pkl|pickle|distcp)$/i;
const NOT_WEIGHTS = /^(?:training_args|scheduler|rng_state.*|optimizer|trainer_state)\.(?:bin|pt|pth)$/i;
const FOREIGN = /\.(?:h5|hdf5|msgpack|onnx|onnx_data|mlmodel|ot|npz|tflite|pb)$/i;

/** Sorts a folder's entries by what their names say. */
export function classify(entries: readonly Entry[]): Contents {
  const found = {
    safetensors: [] as Entry[],
    indexes: [] as Entry[],
    gguf: [] as Entry[],
    leftovers: [] as Entry[],
    pickles: [] as Entry[],
    foreign: [] as Entry[],
    folders: [] as Entry[],
    others: [] as Entry[],
  };
  for (const entry of entries) {
    const { name } = entry;
    if (entry.kind === 'folder') found.folders.push(entry);
    else if (LEFTOVER.test(name) && WEIGHT_INSIDE.test(name)) found.leftovers.push(entry);
    else if (name.startsWith('.')) continue;
    else if (/\.safetensors$/i.test(name)) found.safetensors.push(entry);
    else if (/\.safetensors\.index\.json$/i.test(name)) found.indexes.push(entry);
    else if (/\.gguf$/i.test(name)) found.gguf.push(entry);
    else if (NOT_WEIGHTS.test(name)) continue;
    else if (PICKLE.test(name) || /\.bin\.index\.json$/i.test(name)) found.pickles.push(entry);
    else if (FOREIGN.test(name)) found.foreign.push(entry);
    else found.others.push(entry);
  }
  return found;
}

/** Name of shard `n` of `of` in a series, as `stem-00001-of-00004.safetensors`. */
export interface ShardName {
  readonly stem: string;
  readonly number: number;
  readonly of: number;
  readonly digits: number;
}

const SHARD = /^(.*?)-(\d{1,6})-of-(\d{1,6})\.safetensors$/i;

export function shardName(name: string): ShardName | null {
  const match = SHARD.exec(name);
  if (match === null) return null;
  const [, stem, number, of] = match;
  return { stem: stem ?? '', number: Number(number), of: Number(of), digits: (number ?? '').length };
}

/** The file name of a shard. */
export function shardFile(shard: ShardName, number: number): string {
  const pad = (n: number): string => String(n).padStart(shard.digits, '0');
  return `${shard.stem}-${pad(number)}-of-${pad(shard.of)}.safetensors`;
}

/**
 * A safetensors file that is by its name something else than a shard of the model beside it: an adapter, optimiser state,
 * Mistral's second copy, or a variant (`model.fp16.safetensors`).
 */
export function isSideWeights(name: string): boolean {
  return /^(?:adapter_|consolidated|optimizer|optim_|training_|scheduler|ema|vae|model\.(?:fp16|bf16|fp32|non_ema)\.)/i.test(
    name,
  );
}
