/**
 * Where a model's weights come from, seen from the graph: a name, a type, a shape and bytes in a file (or, for what was
 * dequantised or made up, in memory). Any opened checkpoint can be adapted to it.
 */
import { MoeError } from '../common/errors.ts';
import type { GraphBuilder, Value } from '../onnx/builder.ts';
import { cast } from '../onnx/ops-math.ts';
import type { ElementType, TensorBytes } from '../onnx/types.ts';

export type WeightData =
  /** `file` is a real path (links resolved), `offset` counts from the start of the file. */
  | { readonly kind: 'file'; readonly file: string; readonly offset: number; readonly bytes: number }
  | { readonly kind: 'memory'; readonly bytes: Uint8Array };

export interface WeightEntry {
  /** safetensors name of the element type (`F32`, `BF16`, …). */
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: WeightData;
}

export interface WeightSource {
  get(name: string): WeightEntry | undefined;
  names(): Iterable<string>;
}

/**
 * A matrix, vector or stack inside a tensor on disk: the whole tensor, or a run of whole rows of it. `shape` is the shape as
 * used; `tensorShape` what the file must hold; `start` the first element of the run.
 */
export interface WeightRef {
  readonly tensor: string;
  readonly tensorShape: readonly number[];
  readonly shape: readonly number[];
  readonly start: number;
}

/** A reference to a whole tensor. */
export function whole(tensor: string, shape: readonly number[]): WeightRef {
  return { tensor, tensorShape: shape, shape, start: 0 };
}

/** Gives the graph its weights: as stored, or as float32. Training binds inputs instead of files. */
export interface WeightBinder {
  /** The weight with the element type that it has on disk. */
  raw(ref: WeightRef): Value;
  /** The weight as float32. */
  float(ref: WeightRef): Value;
  /** True when `float` has to convert (the tensor is stored in another type). */
  needsCast(ref: WeightRef): boolean;
}

const STORED: ReadonlyMap<string, { readonly type: ElementType; readonly bytes: number }> = new Map([
  ['F32', { type: 'float32', bytes: 4 }],
  ['BF16', { type: 'bfloat16', bytes: 2 }],
  ['F16', { type: 'float16', bytes: 2 }],
  ['F64', { type: 'float64', bytes: 8 }],
]);

/** Names an external file as the model will: relative to the folder that the session is given, with forward slashes. */
export type Locate = (file: string) => string;

/** Binds weights as initialisers that point into the user's own files; nothing is read or copied here. */
export class FileBinder implements WeightBinder {
  readonly #raw = new Map<string, Value>();
  readonly #float = new Map<string, Value>();

  constructor(
    private readonly g: GraphBuilder,
    private readonly source: WeightSource,
    private readonly locate: Locate,
  ) {}

  raw(ref: WeightRef): Value {
    const key = `${ref.tensor}@${ref.start}:${ref.shape.join('x')}`;
    const known = this.#raw.get(key);
    if (known !== undefined) return known;
    const { type, width, entry } = this.#entry(ref);
    const elements = ref.shape.reduce((a, b) => a * b, 1);
    const name = ref.start === 0 && elements === entry.shape.reduce((a, b) => a * b, 1) ? ref.tensor : key;
    const made = this.g.initializer(name, type, ref.shape, this.#bytes(entry, ref.start * width, elements * width));
    this.#raw.set(key, made);
    return made;
  }

  float(ref: WeightRef): Value {
    const raw = this.raw(ref);
    if (raw.type === 'float32') return raw;
    // A cast made inside a branch is not visible outside of it, so it is not remembered.
    if (this.g.inBranch) return cast(this.g, raw, 'float32', { prologue: true });
    const known = this.#float.get(raw.name);
    if (known !== undefined) return known;
    const made = cast(this.g, raw, 'float32', { prologue: true });
    this.#float.set(raw.name, made);
    return made;
  }

  needsCast(ref: WeightRef): boolean {
    return this.#entry(ref).type !== 'float32';
  }

  #entry(ref: WeightRef): { readonly type: ElementType; readonly width: number; readonly entry: WeightEntry } {
    const entry = this.source.get(ref.tensor);
    if (entry === undefined) throw missingTensor(ref);
    if (entry.shape.length !== ref.tensorShape.length || entry.shape.some((dim, i) => dim !== ref.tensorShape[i])) {
      throw new MoeError(
        'input',
        'tensor-shape-mismatch',
        `${ref.tensor} has shape [${entry.shape.join(', ')}], but config.json says [${ref.tensorShape.join(', ')}].`,
        {
          tensor: ref.tensor,
          hint: 'Check that config.json belongs to these weights.',
          details: { actual: entry.shape, expected: ref.tensorShape },
        },
      );
    }
    const stored = STORED.get(entry.dtype);
    if (stored === undefined) {
      throw new MoeError(
        'input',
        'dtype-not-runnable',
        `${ref.tensor} is stored as ${entry.dtype}, which cannot be run directly.`,
        {
          tensor: ref.tensor,
          hint: 'Only F32, F16, BF16 and F64 weights run. Dequantise or convert the checkpoint first.',
        },
      );
    }
    const size = entry.shape.reduce((a, b) => a * b, 1) * stored.bytes;
    const given = entry.data.kind === 'file' ? entry.data.bytes : entry.data.bytes.length;
    if (size !== given) {
      throw new MoeError(
        'input',
        'tensor-bytes-mismatch',
        `${ref.tensor}: ${given} bytes, but [${entry.shape.join(', ')}] of ${entry.dtype} takes ${size}.`,
        { tensor: ref.tensor },
      );
    }
    return { type: stored.type, width: stored.bytes, entry };
  }

  #bytes(entry: WeightEntry, start: number, length: number): TensorBytes {
    if (entry.data.kind === 'memory')
      return { kind: 'inline', bytes: entry.data.bytes.subarray(start, start + length) };
    return { kind: 'external', location: this.locate(entry.data.file), offset: entry.data.offset + start, length };
  }
}

/** The error for a tensor that the model needs and the checkpoint lacks. */
export function missingTensor(ref: WeightRef): MoeError {
  return new MoeError(
    'input',
    'missing-tensor',
    `The checkpoint has no tensor ${ref.tensor} ([${ref.tensorShape.join(', ')}] expected).`,
    {
      tensor: ref.tensor,
      hint: 'Check that every shard is present and that config.json belongs to these weights.',
    },
  );
}
