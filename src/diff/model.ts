/** A checkpoint seen by the names and parts that a comparison needs. */
import { join } from 'node:path';
import { RangeReader } from '../checkpoint/read.ts';
import type { Checkpoint, SourceTensor, StorageDtype } from '../checkpoint/types.ts';
import { scanGgufHeader } from '../gguf/header.ts';
import { openGgufModel } from '../gguf/split.ts';
import { mapTensors } from '../gguf/names.ts';
import type { GgufSource } from '../gguf/names.ts';
import { summariseExperts } from '../inspect/experts.ts';
import { gatherFacts } from '../inspect/facts.ts';
import { parseTensorName, readMoeConfig } from '../inspect/index.ts';
import { tieFlag } from '../inspect/tie.ts';
import { ggufMatrix, storedMatrix } from './matrix.ts';
import type { Matrix } from './matrix.ts';

/** A tensor under its Hugging Face name. */
export interface Named {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: StorageDtype;
  matrix(): Matrix;
  /** Rows `first` to `first + rows` alone; null where the tensor is not stored row by row. */
  slice(first: number, rows: number): Matrix | null;
}

/** gate [I, H], up [I, H] and down [H, I] of one feed-forward. */
export interface FfnParts {
  readonly gate?: Matrix;
  readonly up?: Matrix;
  readonly down?: Matrix;
}

export class Model {
  readonly cp: Checkpoint;
  readonly reader: RangeReader;
  private readonly sources: ReadonlyMap<string, GgufSource> | null;
  private readonly tied: boolean;

  constructor(cp: Checkpoint, signal: AbortSignal | undefined) {
    this.cp = cp;
    this.reader = new RangeReader(cp, { signal });
    this.sources = cp.format === 'gguf' ? sourcesOf(cp) : null;
    this.tied = cp.config !== null && tieFlag(cp.config) === true;
  }

  /** Names on disk (for GGUF: the Hugging Face names they stand for, where known). */
  names(): string[] {
    return this.sources === null || this.sources.size === 0 ? [...this.cp.tensors.keys()] : [...this.sources.keys()];
  }

  /** A tensor by name, also under an alias or, for the head of a tied model, as the embedding. */
  get(name: string): Named | null {
    const source = this.sources?.get(name);
    if (source !== undefined) {
      const dtype = this.cp.tensors.get(source.pieces[0]?.tensor.name ?? '')?.dtype ?? 'F32';
      return { name, shape: source.shape, dtype, matrix: () => ggufMatrix(source, dtype), slice: () => null };
    }
    const tensor = this.cp.tensors.get(this.cp.aliases.get(name) ?? name);
    if (tensor !== undefined) {
      const { shape, dtype } = tensor;
      return {
        name,
        shape,
        dtype,
        matrix: () => storedMatrix(this.reader, tensor),
        slice: (first, rows) => storedMatrix(this.reader, tensor, { first, rows }),
      };
    }
    if (this.tied && name.endsWith('lm_head.weight')) {
      return this.get(`${name.slice(0, -'lm_head.weight'.length)}model.embed_tokens.weight`);
    }
    return null;
  }

  close(): Promise<void> {
    return this.reader.close();
  }

  /** Dense feed-forwards and experts of the language model, by layer. */
  ffns(): LayerFfns {
    const moe = this.cp.config === null ? null : readMoeConfig(this.cp.config);
    const layout = summariseExperts(gatherFacts(this.cp), moe, this.cp.config)?.layout ?? null;
    // Rows of a transposed stack are not rows of a projection.
    const found = new LayerFfns(layout === 'packed-transposed' || layout === 'packed-interleaved');
    for (const tensor of this.cp.tensors.values()) found.take(tensor, this.reader);
    for (const [name, source] of this.sources ?? []) {
      if (source.pieces.some((piece) => found.names.has(piece.tensor.name))) found.names.add(name);
    }
    return found;
  }
}

function sourcesOf(cp: Checkpoint): ReadonlyMap<string, GgufSource> {
  if (cp.gguf === null || cp.gguf.size === 0) return new Map();
  // Of a model that was cut, all parts; its parts are found by their names, not by what links lead to.
  const [file] = cp.files;
  if (file !== undefined && cp.files.length > 1) return mapTensors(openGgufModel(join(cp.root, file.name))).sources;
  return mapTensors(scanGgufHeader(file?.path ?? cp.path)).sources;
}

type Key = number | 'dense' | 'shared';
type Draft = { gate?: Matrix; up?: Matrix; down?: Matrix };

/** Feed-forward parts by layer and expert, whatever the layout on disk. */
export class LayerFfns {
  private readonly layers = new Map<number, Map<Key, Draft>>();
  /** Names of the tensors that the parts come from. */
  readonly names = new Set<string>();
  /** Expert tensors in layouts whose rows are not those of a dense projection (transposed, interleaved, quantised). */
  readonly skipped: string[] = [];
  private readonly transposed: boolean;

  constructor(transposed: boolean) {
    this.transposed = transposed;
  }

  get layerNumbers(): number[] {
    return [...this.layers.keys()].sort((a, b) => a - b);
  }

  dense(layer: number): FfnParts | null {
    return this.layers.get(layer)?.get('dense') ?? null;
  }

  shared(layer: number): FfnParts | null {
    return this.layers.get(layer)?.get('shared') ?? null;
  }

  experts(layer: number): readonly (readonly [number, FfnParts])[] {
    const entries = [...(this.layers.get(layer) ?? new Map<Key, Draft>())];
    return entries.filter((entry): entry is [number, Draft] => typeof entry[0] === 'number').sort(([a], [b]) => a - b);
  }

  get hasExperts(): boolean {
    return [...this.layers.values()].some((parts) => [...parts.keys()].some((key) => typeof key === 'number'));
  }

  get hasDense(): boolean {
    return [...this.layers.values()].some((parts) => parts.has('dense'));
  }

  take(tensor: SourceTensor, reader: RangeReader): void {
    const { role, layer, part, suffix, expert, style, tower } = parseTensorName(tensor.name);
    if (layer === null || tower !== 'text' || part === null || suffix !== 'weight') return;
    if (role !== 'ffn' && role !== 'expert' && role !== 'shared') return;
    const { shape } = tensor;
    const put = (key: Key, which: keyof Draft, first: number, rows: number): void => {
      this.draft(layer, key)[which] = storedMatrix(reader, tensor, { first, rows });
    };
    const putBoth = (key: Key, first: number, rows: number): void => {
      if (part !== 'gate_up') put(key, part, first, rows);
      else {
        put(key, 'gate', first, rows / 2);
        put(key, 'up', first + rows / 2, rows / 2);
      }
    };
    if (expert === 'packed') {
      const [experts, rows] = shape;
      const known = experts !== undefined && rows !== undefined && shape.length === 3 && experts <= 65_536;
      if (!known || style === 'dbrx' || this.transposed || (part === 'gate_up' && rows % 2 !== 0)) {
        this.skipped.push(tensor.name);
        return;
      }
      this.names.add(tensor.name);
      for (let e = 0; e < experts; e++) putBoth(e, e * rows, rows);
      return;
    }
    if (shape.length !== 2 || (part === 'gate_up' && (shape[0] ?? 0) % 2 !== 0)) {
      this.skipped.push(tensor.name);
      return;
    }
    this.names.add(tensor.name);
    putBoth(expert ?? (role === 'shared' ? 'shared' : 'dense'), 0, shape[0] ?? 0);
  }

  private draft(layer: number, key: Key): Draft {
    let parts = this.layers.get(layer);
    if (parts === undefined) this.layers.set(layer, (parts = new Map()));
    let draft = parts.get(key);
    if (draft === undefined) parts.set(key, (draft = {}));
    return draft;
  }
}
