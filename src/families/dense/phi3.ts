import type { DenseFamily } from '../spec.ts';
import { decoder, layerTensor, norm } from './parts.ts';

/** Phi-3 and 4: q, k, v fused in one matrix (in this order), gate and up in another (gate first). */
export const phi3: DenseFamily = {
  modelType: 'phi3',
  title: 'Phi-3 (fused qkv and gate_up)',
  tiedByDefault: false,
  defaults: {
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    max_position_embeddings: 4096,
    // Its class always has one, and it decides between the short and the long factors.
    original_max_position_embeddings: 4096,
    hidden_act: 'silu',
    bos_token_id: 1,
    eos_token_id: 32000,
    pad_token_id: 32000,
  },
  tensors: (spec) => {
    const q = spec.heads * spec.headDim;
    const kv = spec.kvHeads * spec.headDim;
    return decoder(spec, (layer) => [
      norm(spec, layer, 'input_layernorm'),
      layerTensor(layer, 'self_attn.qkv_proj.weight', [q + 2 * kv, spec.hidden], 'qkv'),
      layerTensor(layer, 'self_attn.o_proj.weight', [spec.hidden, q], 'attention'),
      norm(spec, layer, 'post_attention_layernorm'),
      layerTensor(layer, 'mlp.gate_up_proj.weight', [2 * spec.intermediate, spec.hidden], 'gate-up'),
      layerTensor(layer, 'mlp.down_proj.weight', [spec.hidden, spec.intermediate], 'down'),
    ]);
  },
};
