import type { DenseFamily } from '../spec.ts';
import { decoder, llamaLayer, norm } from './parts.ts';

/** Qwen3: an RMSNorm over each head of q and k. */
export const qwen3: DenseFamily = {
  modelType: 'qwen3',
  title: 'Qwen3 (q/k norm per head)',
  tiedByDefault: false,
  defaults: { rms_norm_eps: 1e-6, rope_theta: 10000, max_position_embeddings: 32768, hidden_act: 'silu' },
  tensors: (spec) =>
    decoder(spec, (layer) => [
      ...llamaLayer(spec, layer, spec.attentionBias),
      norm(spec, layer, 'self_attn.q_norm', spec.headDim),
      norm(spec, layer, 'self_attn.k_norm', spec.headDim),
    ]),
};
