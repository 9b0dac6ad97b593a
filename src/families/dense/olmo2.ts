import type { DenseFamily } from '../spec.ts';
import { attention, decoder, norm, swiglu } from './parts.ts';

/** OLMo 2: norms after attention and FFN, none before; q and k normed over the whole projection. */
export const olmo2: DenseFamily = {
  modelType: 'olmo2',
  title: 'OLMo 2 (post-norm, q/k norm over the projection)',
  tiedByDefault: false,
  tensors: (spec) =>
    decoder(spec, (layer) => [
      ...attention(spec, layer, spec.attentionBias),
      norm(spec, layer, 'self_attn.q_norm', spec.heads * spec.headDim),
      norm(spec, layer, 'self_attn.k_norm', spec.kvHeads * spec.headDim),
      norm(spec, layer, 'post_attention_layernorm'),
      ...swiglu(spec, layer),
      norm(spec, layer, 'post_feedforward_layernorm'),
    ]),
};
