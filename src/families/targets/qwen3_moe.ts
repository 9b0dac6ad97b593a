import type { Target } from './types.ts';
import { denseLayers, mlpExpert, mlpRouter } from './types.ts';

/** Qwen3-MoE: some layers may stay dense, no shared expert. */
export const qwen3Moe: Target = {
  modelType: 'qwen3_moe',
  architecture: 'Qwen3MoeForCausalLM',
  keepsDenseLayers: true,
  sharedExpert: false,
  softmaxFirst: true,
  router: mlpRouter,
  experts: { layout: 'per-expert', name: mlpExpert },
  drop: ['mlp_bias', 'layer_types'],
  config: (spec, moe) => ({
    num_experts: moe.experts,
    num_experts_per_tok: moe.topK,
    intermediate_size: spec.intermediate,
    moe_intermediate_size: moe.width,
    norm_topk_prob: moe.order === 'topk-softmax',
    head_dim: spec.headDim,
    attention_bias: spec.attentionBias,
    decoder_sparse_step: 1,
    mlp_only_layers: denseLayers(moe),
    router_aux_loss_coef: 0.001,
    output_router_logits: false,
  }),
};
