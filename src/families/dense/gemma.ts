import type { DenseFamily } from '../spec.ts';
import { decoder, llamaLayer } from './parts.ts';

/** Gemma 1: RMSNorm multiplies by 1 + w, embeddings are scaled by √hidden, tied. Both are folded into the weights. */
export const gemma: DenseFamily = {
  modelType: 'gemma',
  title: 'Gemma (norms of 1 + w, scaled embeddings, tied)',
  tiedByDefault: true,
  defaults: {
    rms_norm_eps: 1e-6,
    rope_theta: 10000,
    max_position_embeddings: 8192,
    hidden_act: 'gelu_pytorch_tanh',
    pad_token_id: 0,
    eos_token_id: 1,
    bos_token_id: 2,
  },
  tensors: (spec) => decoder(spec, (layer) => llamaLayer(spec, layer, spec.attentionBias)),
};
