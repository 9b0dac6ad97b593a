import type { DenseFamily } from '../spec.ts';
import { decoder, llamaLayer } from './parts.ts';

/** Llama 1–3 and everything that declares itself llama (SmolLM2, TinyLlama, …). */
export const llama: DenseFamily = {
  modelType: 'llama',
  title: 'Llama (pre-norm, SwiGLU, RoPE)',
  tiedByDefault: false,
  tensors: (spec) => decoder(spec, (layer) => llamaLayer(spec, layer, spec.attentionBias)),
};
