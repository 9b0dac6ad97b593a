import type { DenseFamily } from '../spec.ts';
import { attention, decoder, norm, swiglu } from './parts.ts';

/** OLMo 2: norms after attention and FFN, none before; q and k normed over the whole projection. */
export const olmo2: DenseFamily = {
  modelType: 'olmo2',
  title: 'OLMo 2 (post-norm, q/k norm over the projection)',
  tiedByDefault: false,
  defaults: {
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    max_position_embeddings: 2048,
    hidden_act: 'silu',
    pad_token_id: 1,
    eos_token_id: 50279,
  },
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
