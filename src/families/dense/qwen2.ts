import type { DenseFamily } from '../spec.ts';
import { decoder, llamaLayer } from './parts.ts';

/** Qwen2 and 2.5: biases on q, k and v (never on o), fixed in the code and not in the config. */
export const qwen2: DenseFamily = {
  modelType: 'qwen2',
  title: 'Qwen2 (bias on q, k, v)',
  tiedByDefault: false,
  defaults: { rms_norm_eps: 1e-6, rope_theta: 10000, max_position_embeddings: 32768, hidden_act: 'silu' },
  biasByDefault: true,
  tensors: (spec) => decoder(spec, (layer) => llamaLayer(spec, layer, true, false)),
};
