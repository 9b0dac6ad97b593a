import type { DenseFamily } from '../spec.ts';
import { decoder, llamaLayer } from './parts.ts';

/** Llama 1–3 and everything that declares itself llama (SmolLM2, TinyLlama, …). */
export const llama: DenseFamily = {
  modelType: 'llama',
  title: 'Llama (pre-norm, SwiGLU, RoPE)',
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
