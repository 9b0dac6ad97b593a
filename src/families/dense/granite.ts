import type { DenseFamily } from '../spec.ts';
import { decoder, llamaLayer } from './parts.ts';

/** Granite: Llama's tensors, four multipliers in the config. */
export const granite: DenseFamily = {
  modelType: 'granite',
  title: 'Granite (Llama with four multipliers)',
  tiedByDefault: false,
  defaults: {
    rms_norm_eps: 1e-6,
    rope_theta: 10000,
    max_position_embeddings: 2048,
    hidden_act: 'silu',
    bos_token_id: 1,
    eos_token_id: 2,
  },
  tensors: (spec) => decoder(spec, (layer) => llamaLayer(spec, layer, spec.attentionBias)),
};
