import type { DenseFamily } from '../spec.ts';
import { decoder, llamaLayer, norm } from './parts.ts';

/** Qwen3: an RMSNorm over each head of q and k. */
export const qwen3: DenseFamily = {
  modelType: 'qwen3',
  title: 'Qwen3 (q/k norm per head)',
  tiedByDefault: false,
  tensors: (spec) =>
    decoder(spec, (layer) => [
      ...llamaLayer(spec, layer, spec.attentionBias),
      norm(spec, layer, 'self_attn.q_norm', spec.headDim),
      norm(spec, layer, 'self_attn.k_norm', spec.headDim),
    ]),
};
