import type { JsonObject } from '../../common/json.ts';
import type { DenseSpec } from '../spec.ts';
import { finiteNumber, flag } from '../spec.ts';
import type { Target } from './types.ts';
import { denseLayers, mlpExpert, mlpRouter } from './types.ts';

/**
 * The sliding window, layer by layer: qwen2_moe's own default for `layer_types` differs from qwen2's, so the list is always
 * written where there is a window. Mistral's window covers every layer; Qwen2's those from max_window_layers on; Llama has
 * none.
 */
function windowFields(spec: DenseSpec): JsonObject {
  const source = spec.config;
  const none = { use_sliding_window: false };
  const layers = (sliding: (layer: number) => boolean): string[] =>
    Array.from({ length: spec.layers }, (_, layer) => (sliding(layer) ? 'sliding_attention' : 'full_attention'));
  if (spec.modelType === 'mistral') {
    const window = source['sliding_window'] === undefined ? 4096 : source['sliding_window'];
    return window === null
      ? none
      : {
          use_sliding_window: true,
          sliding_window: window,
          max_window_layers: 0,
          layer_types: layers(() => true),
        };
  }
  if (spec.modelType !== 'qwen2' || !flag(source, 'use_sliding_window', false)) return none;
  const window = source['sliding_window'] === undefined ? 4096 : source['sliding_window'];
  const first = finiteNumber(source, 'max_window_layers', 28);
  return {
    use_sliding_window: window !== null,
    sliding_window: window,
    max_window_layers: first,
    layer_types: source['layer_types'] ?? layers((layer) => window !== null && layer >= first),
  };
}

/** Qwen2-MoE: some layers may stay dense, always a gated shared expert, biases on q, k, v by `qkv_bias`. */
export const qwen2Moe: Target = {
  modelType: 'qwen2_moe',
  architecture: 'Qwen2MoeForCausalLM',
  keepsDenseLayers: true,
  sharedExpert: true,
  softmaxFirst: true,
  router: mlpRouter,
  experts: { layout: 'per-expert', name: mlpExpert },
  drop: ['attention_bias', 'mlp_bias', 'layer_types', 'sliding_window', 'use_sliding_window', 'max_window_layers'],
  config: (spec, moe) => {
    const window = windowFields(spec);
    return {
      num_experts: moe.experts,
      num_experts_per_tok: moe.topK,
      intermediate_size: spec.intermediate,
      moe_intermediate_size: moe.width,
      shared_expert_intermediate_size: moe.sharedWidth ?? spec.intermediate,
      norm_topk_prob: moe.order === 'topk-softmax',
      qkv_bias: spec.modelType === 'qwen2',
      decoder_sparse_step: 1,
      mlp_only_layers: denseLayers(moe),
      // Written even where the class could derive it: older code divides hidden_size by heads.
      ...(spec.headDim * spec.heads === spec.hidden ? {} : { head_dim: spec.headDim }),
      ...window,
      router_aux_loss_coef: 0.001,
      output_router_logits: false,
    };
  },
};
