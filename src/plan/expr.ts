/**
 * The expression language of plans. Every output tensor is a small pure-data expression over source tensors; writing,
 * verifying, reverting and cutting per rank are different readings of it. All shapes are row-major.
 *
 * Arithmetic: `scale`, `offset`, `add`, `average`, `noise`, `redraw`, `svd-noise` and the random ops compute in float64
 * from the exact values of their operands and round once, to nearest even, to the dtype of the node. A node's dtype is its
 * first operand's unless it names one.
 */
import type { Dtype } from 'safetensors-js';
import type { ExpertPrompts, PromptInit } from '../recipe/types.ts';

/** Which indices a `take` picks along its dimension, in output order. Symbolic, so that a plan stays small. */
export type IndexSet =
  /**
   * GGUF's rotary interleaving undone: `heads` blocks of d rows; output row h·d + s·(d/2) + j is input row h·d + 2·j + s.
   */
  | { readonly kind: 'unpermute-rope'; readonly heads: number }
  /** Output index i takes input i // times: rows of the router repeated inside a replica (virtual group). */
  | { readonly kind: 'repeat'; readonly times: number }
  /** A random permutation of all `size` indices, a function of (seed, key). */
  | { readonly kind: 'permutation'; readonly key: string; readonly size: number }
  /** Shard `shard` of `shards` of a random permutation (seed, key), its indices in ascending order. */
  | {
      readonly kind: 'random-shard';
      readonly key: string;
      readonly size: number;
      readonly shards: number;
      readonly shard: number;
    }
  /**
   * Shard of neurons dealt by importance: neurons sorted by descending L2 norm over (gate row, up row, down column) of the
   * three `of` tensors, ties by index, dealt in snake order so that shards are balanced; indices ascending. Needs data:
   * resolved at write and recorded in the manifest.
   */
  | {
      readonly kind: 'norm-shard';
      readonly key: string;
      readonly size: number;
      readonly shards: number;
      readonly shard: number;
      /** gate [I,H], up [I,H], down [H,I]. */
      readonly of: readonly [Expr, Expr, Expr];
    }
  /** floor(ratio·size) indices drawn without replacement (seed, key), ascending. Used by `redraw`. */
  | { readonly kind: 'random-subset'; readonly key: string; readonly size: number; readonly ratio: number };

export type Distribution =
  | { readonly kind: 'normal'; readonly mean: number; readonly std: number }
  | { readonly kind: 'uniform'; readonly low: number; readonly high: number };

export type Expr =
  /** A physical source tensor of parent `from` (index into Plan.sources; 0 is the base), whole, in its own dtype. */
  | { readonly op: 'source'; readonly from: number; readonly tensor: string }
  /** Quantised GGUF blocks to F32, to the bit as the gguf package does. */
  | { readonly op: 'dequantise'; readonly of: Expr }
  | { readonly op: 'slice'; readonly of: Expr; readonly dim: number; readonly begin: number; readonly end: number }
  | { readonly op: 'concat'; readonly dim: number; readonly of: readonly Expr[] }
  /** Same elements, another shape of the same size. */
  | { readonly op: 'reshape'; readonly of: Expr; readonly shape: readonly number[] }
  | { readonly op: 'take'; readonly of: Expr; readonly dim: number; readonly index: IndexSet }
  | { readonly op: 'scale'; readonly of: Expr; readonly by: number }
  /** Adds a constant (gemma's 1 + w). */
  | { readonly op: 'offset'; readonly of: Expr; readonly by: number }
  | { readonly op: 'cast'; readonly of: Expr; readonly dtype: Dtype }
  /** Mean of equal-shaped tensors (BTX). */
  | { readonly op: 'average'; readonly of: readonly Expr[] }
  /** Element i gets + std·normal(seed, key, i) where uniform(seed, key + '#mask', i) < ratio. */
  | { readonly op: 'noise'; readonly of: Expr; readonly std: number; readonly ratio: number; readonly key: string }
  /**
   * Drop-Upcycling: the slices at `index` along `dim` are re-drawn from N(mean, std) of the values they replace (two
   * scalars per tensor, taken at write, population std, recorded in the manifest).
   */
  | { readonly op: 'redraw'; readonly of: Expr; readonly dim: number; readonly index: IndexSet; readonly key: string }
  /**
   * W + scale·s·(I − U·Uᵀ)·Z with Z standard normal (seed, key), U an orthonormal basis of the top `rank` left singular
   * vectors of W [m,n] and s the root mean square of the residual W − U·Uᵀ·W. Whole-matrix.
   */
  | { readonly op: 'svd-noise'; readonly of: Expr; readonly rank: number; readonly scale: number; readonly key: string }
  | {
      readonly op: 'random';
      readonly shape: readonly number[];
      readonly dtype: Dtype;
      readonly dist: Distribution;
      readonly key: string;
    }
  /** Rows orthonormal (or columns, where rows > columns), times `gain`; Gram–Schmidt of normal(seed, key). Whole-matrix. */
  | {
      readonly op: 'orthogonal';
      readonly shape: readonly [number, number];
      readonly dtype: Dtype;
      readonly gain: number;
      readonly key: string;
    }
  /**
   * mergekit's gates: row e is what the base model (source 0) makes of expert e's prompts before layer `layer`, of length 1.
   * Needs the model to be run: resolved before writing and recorded in the manifest.
   */
  | {
      readonly op: 'prompt-gate';
      readonly shape: readonly [number, number];
      readonly dtype: Dtype;
      readonly mode: PromptInit;
      readonly layer: number;
      readonly prompts: readonly ExpertPrompts[];
    }
  | { readonly op: 'fill'; readonly shape: readonly number[]; readonly dtype: Dtype; readonly value: number };

export type PromptGate = Extract<Expr, { op: 'prompt-gate' }>;
