/** The plan: plain data, computed from headers and a recipe alone; shown, saved, hashed, executed, verified, reverted. */
import type { Dtype } from 'safetensors-js';
import type { JsonObject } from '../common/json.ts';
import type { Recipe } from '../recipe/types.ts';
import type { Expr } from './expr.ts';
import type { SourceTensor } from '../checkpoint/types.ts';

export const PLAN_SCHEMA = 'moe-workbench/plan@1';

/** bit-exact: equal in every dtype; exact: exact algebra, < 2e-6 relative in f32; see docs/exactness.md. */
export type ExactnessClass = 'bit-exact' | 'exact' | 'approximate' | 'not-preserving';

export interface Exactness {
  readonly class: ExactnessClass;
  /** One or more sentences: why this class, naming the recipe field that decides. */
  readonly reason: string;
}

export interface PlanWarning {
  readonly code: string;
  readonly message: string;
}

/** One output tensor. `file` is a file name in the output folder. */
export interface PlanTensor {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly bytes: number;
  readonly file: string;
  readonly expr: Expr;
}

/** An output weight file: header and order of tensors are fixed by the plan. */
export interface PlanFile {
  readonly name: string;
  /** Names in header and data order. */
  readonly tensors: readonly string[];
  /** Length of the header JSON incl. its padding spaces (so data starts at 8 + headerBytes). */
  readonly headerBytes: number;
  readonly dataBytes: number;
  /**
   * Files of one clone group have equal headers' lengths (data 4 KiB-aligned) and byte-equal data: any can be made from the
   * first by cloning it and overwriting its header. Absent where the data is unique.
   */
  readonly cloneOf?: string;
}

/** One checkpoint that the plan reads. Enough to check at execution that the same thing is being read. */
export interface PlanSource {
  /** As the user gave it; not part of the hash. */
  readonly path: string;
  readonly format: 'hf' | 'safetensors' | 'gguf';
  readonly modelType: string | null;
  /** The tensors that expressions read: name → dtype, shape, file, offset, bytes. */
  readonly tensors: ReadonlyMap<string, Omit<SourceTensor, 'name'>>;
}

/** What happens to one layer, for people. */
export interface LayerNote {
  readonly layer: number;
  readonly kind: 'moe' | 'dense';
}

/** Something that only data can tell and that must hold before a byte is written. */
export interface Precondition {
  readonly kind: 'equal-tensors';
  readonly from: number;
  readonly a: string;
  readonly b: string;
  /** What it means when they differ, and what to do. */
  readonly message: string;
}

export interface FlopsPerToken {
  /** Training FLOPs per token, linear part: 6·(matrix parameters used per token, embedding lookup excluded, lm_head included; routers excluded). */
  readonly trainingLinear: number;
  /** + 6·L·q·s, causal attention at `sequence` tokens (Megatron today). */
  readonly trainingCausal: number;
  readonly sequence: number;
  /** 2·active parameters: the usual forward estimate. */
  readonly forward2N: number;
  /** The same three numbers of the dense source, for comparison. */
  readonly dense: { readonly trainingLinear: number; readonly trainingCausal: number; readonly forward2N: number };
  readonly definition: string;
}

export interface Plan {
  readonly schema: typeof PLAN_SCHEMA;
  /** sha256 (hex) of the canonical JSON of everything that decides the output's bytes; no path is in it. */
  readonly hash: string;
  /** Every default filled in, `auto` resolved. */
  readonly recipe: Recipe;
  readonly sources: readonly PlanSource[];
  readonly target: {
    readonly modelType: string;
    readonly parameters: { readonly total: number; readonly active: number };
    /** Bytes of the tensors. */
    readonly bytes: number;
    /** Bytes of the weight files with headers. */
    readonly fileBytes: number;
    readonly config: JsonObject;
    /** Members of config that are floats even where integral: written as 1.0. */
    readonly configFloats: readonly string[];
  };
  readonly source: { readonly modelType: string; readonly parameters: number; readonly bytes: number };
  readonly layers: readonly LayerNote[];
  readonly preconditions: readonly Precondition[];
  readonly files: readonly PlanFile[];
  readonly tensors: readonly PlanTensor[];
  readonly exactness: Exactness;
  readonly flopsPerToken: FlopsPerToken;
  /** Upper bound of the writer's memory, with what dominates it. */
  readonly peakMemoryBytes: number;
  readonly peakMemoryReason: string;
  /** Bytes that the output will occupy on the target file system (after cloning where it can); apparent when unknown. */
  readonly physicalBytes: number;
  readonly warnings: readonly PlanWarning[];
  /** The assumption sheet of a preset, or of the paper figures shown beside ours. */
  readonly assumptions: readonly string[];
}
