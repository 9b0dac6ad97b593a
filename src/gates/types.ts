/** Router rows from prompts: what the core asks of whoever can run models. */
import type { Checkpoint } from '../checkpoint/types.ts';

/** How the vectors of a prompt's tokens become one: of its last token, their mean or their sum. */
export type Pooling = 'last' | 'mean' | 'sum';

/** The base model, opened to be run on prompts. */
export interface PromptModel {
  /** Longest text in tokens. */
  readonly maxPositions: number;
  /** What enters each of `layers` for each text: one vector per text and layer, text by text. */
  hidden(
    rows: readonly (readonly number[])[],
    layers: readonly number[],
    take: Pooling,
  ): Promise<readonly (readonly Float32Array[])[]>;
}

/** Opens `base` in a process of its own, lets `use` run it, and ends the process. */
export type GateRunner = <T>(
  base: Checkpoint,
  use: (model: PromptModel) => Promise<T>,
  signal: AbortSignal | undefined,
) => Promise<T>;
