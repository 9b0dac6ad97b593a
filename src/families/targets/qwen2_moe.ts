import type { Target } from './types.ts';
import { denseLayers, mlpExpert, mlpRouter } from './types.ts';

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
    const source = spec.config;
    // Mistral's window covers every layer; Qwen2 keeps its own fields; Llama has none.
    const mistralWindow = source['sliding_window'] === undefined ? 4096 : source['sliding_window'];
    const window =
      spec.modelType === 'mistral' && mistralWindow !== null
        ? {
            use_sliding_window: true,
            sliding_window: mistralWindow,
            max_window_layers: 0,
            layer_types: moe.sparse.map(() => 'sliding_attention'),
          }
        : spec.modelType === 'qwen2'
          ? Object.fromEntries(
              ['use_sliding_window', 'sliding_window', 'max_window_layers', 'layer_types'].flatMap((field) =>
                source[field] === undefined ? [] : [[field, source[field]]],
              ),
            )
          : { use_sliding_window: false };
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
