import type { DenseFamily } from '../spec.ts';
import { decoder, llamaLayer } from './parts.ts';

/** Mistral: Llama's tensors, a sliding window in the config. It has no biases, whatever the config says. */
export const mistral: DenseFamily = {
  modelType: 'mistral',
  title: 'Mistral (Llama with a sliding window)',
  tiedByDefault: false,
  defaults: {
    rms_norm_eps: 1e-6,
    rope_theta: 10000,
    max_position_embeddings: 131072,
    hidden_act: 'silu',
    bos_token_id: 1,
    eos_token_id: 2,
  },
  tensors: (spec) => decoder(spec, (layer) => llamaLayer(spec, layer, false)),
};
