/**
 * A checkpoint as opened from headers alone: which physical tensors lie where, the config, what else is in the folder and
 * what is wrong with it. Nothing here ever holds tensor data.
 */
import type { Dtype } from 'safetensors-js';
import type { JsonObject } from '../common/json.ts';

/** Quantised or plain element types of GGUF, by ggml's own names, that safetensors has no name for. */
export type GgmlDtype =
  | 'Q4_0'
  | 'Q4_1'
  | 'Q5_0'
  | 'Q5_1'
  | 'Q8_0'
  | 'Q8_1'
  | 'Q2_K'
  | 'Q3_K'
  | 'Q4_K'
  | 'Q5_K'
  | 'Q6_K'
  | 'Q8_K'
  // Listed and counted, never decoded:
  | 'IQ1_S'
  | 'IQ1_M'
  | 'IQ2_XXS'
  | 'IQ2_XS'
  | 'IQ2_S'
  | 'IQ3_XXS'
  | 'IQ3_S'
  | 'IQ4_NL'
  | 'IQ4_XS'
  | 'TQ1_0'
  | 'TQ2_0'
  | 'MXFP4'
  | 'NVFP4'
  | 'Q1_0';

/** How a tensor's bytes are encoded on disk. GGUF's F32/F16/BF16/F64/I8… use the safetensors names. */
export type StorageDtype = Dtype | GgmlDtype;

/** One tensor as it lies on disk. `shape` is row-major (for GGUF: reversed `ne`). */
export interface SourceTensor {
  readonly name: string;
  readonly dtype: StorageDtype;
  readonly shape: readonly number[];
  /** Name of its file, as in `Checkpoint.files`. */
  readonly file: string;
  /** Absolute byte offset in that file; -1 where only config and index are at hand (nothing to read). */
  readonly begin: number;
  readonly bytes: number;
}

/** A weight file of the checkpoint. */
export interface CheckpointFile {
  /** As the user sees it, relative to the checkpoint's folder. */
  readonly name: string;
  /** Real path to read from (links resolved); missing files have the path where they should be. */
  readonly path: string;
  /** Size on disk; 0 when missing. */
  readonly bytes: number;
  readonly state: 'ok' | 'missing' | 'unreadable';
}

/** A file beside the weights (config, tokenizer, licence, chat template…), copied or replaced on output. */
export interface Sidecar {
  readonly name: string;
  /** Real path (links resolved); undefined for a file generated from GGUF metadata. */
  readonly path?: string;
  /** Contents when generated (GGUF) rather than lying on disk. */
  readonly text?: string;
  readonly bytes: number;
}

export interface Problem {
  readonly severity: 'error' | 'warning' | 'info';
  /** Stable kebab-case code. */
  readonly code: string;
  readonly message: string;
  readonly file?: string;
  readonly tensor?: string;
  readonly byte?: number;
  readonly hint?: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

/** What must be done to a GGUF tensor, after dequantising, to get the Hugging Face one. */
export type GgufTransform =
  | { readonly kind: 'none' }
  /** q/k rows (or biases) back from ggml's interleaved rotary order; `heads` = heads of that projection. */
  | { readonly kind: 'unpermute'; readonly heads: number }
  /** Converters of gemma store 1 + w. */
  | { readonly kind: 'subtract-one' };

/** How a GGUF names a Hugging Face tensor. */
export interface GgufAlias {
  /** Physical name in the GGUF. */
  readonly tensor: string;
  readonly transform: GgufTransform;
}

/** A part of a tensor that DCP shards hold in pieces: which box of the whole lies where. */
export interface TensorPiece {
  readonly file: string;
  readonly dtype: StorageDtype;
  /** Where the box starts in the whole tensor, one number per dimension. */
  readonly offsets: readonly number[];
  readonly shape: readonly number[];
  /** Absolute byte offset in the file. */
  readonly begin: number;
  readonly bytes: number;
}

export interface Checkpoint {
  /** The path that was opened, absolute. */
  readonly path: string;
  /** Folder of the files. */
  readonly root: string;
  readonly format: 'hf' | 'safetensors' | 'gguf';
  /** config.json, or the one rebuilt from GGUF metadata; null where there is none. */
  readonly config: JsonObject | null;
  /** Config members that the file writes as floats (1.0), sorted: JavaScript cannot tell them from integers. */
  readonly configFloats?: readonly string[];
  /** Physical tensors in file and offset order, by their name on disk. */
  readonly tensors: ReadonlyMap<string, SourceTensor>;
  /**
   * Hugging Face name → physical name, only where they differ for a safetensors checkpoint (a tied model that stores only
   * lm_head.weight and says so in `__metadata__`).
   */
  readonly aliases: ReadonlyMap<string, string>;
  /** Hugging Face name → GGUF tensor and transform; null unless format is gguf. */
  readonly gguf: ReadonlyMap<string, GgufAlias> | null;
  readonly files: readonly CheckpointFile[];
  /** The index's weight map (tensor → file) where there is an index. */
  readonly index: {
    readonly weightMap: ReadonlyMap<string, string>;
    readonly totalSize: number | null;
    /** File name of the index. */
    readonly name?: string;
  } | null;
  readonly sidecars: readonly Sidecar[];
  readonly problems: readonly Problem[];
  /**
   * Tensors that lie in pieces (a folder of DCP shards), by name; they are not in `tensors`, whose entries are whole.
   * Absent for every other checkpoint.
   */
  readonly pieces?: ReadonlyMap<string, readonly TensorPiece[]>;
  /** True when only config and index are at hand: can be planned, not written. */
  readonly planOnly: boolean;
}
