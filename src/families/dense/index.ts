/** All dense families that can be a source, by model_type. */
import type { DenseFamily } from '../spec.ts';
import { gemma } from './gemma.ts';
import { granite } from './granite.ts';
import { llama } from './llama.ts';
import { mistral } from './mistral.ts';
import { olmo2 } from './olmo2.ts';
import { phi3 } from './phi3.ts';
import { qwen2 } from './qwen2.ts';
import { qwen3 } from './qwen3.ts';

export const DENSE_FAMILIES: ReadonlyMap<string, DenseFamily> = new Map(
  [llama, mistral, qwen2, qwen3, phi3, olmo2, granite, gemma].map((family) => [family.modelType, family]),
);
