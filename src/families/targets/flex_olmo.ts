import type { Target } from './types.ts';
import { mlpExpert, mlpRouter } from './types.ts';

/** FlexOlmo: OLMo 2 with experts, every layer MoE. */
export const flexOlmo: Target = {
  modelType: 'flex_olmo',
  architecture: 'FlexOlmoForCausalLM',
  keepsDenseLayers: false,
  sharedExpert: false,
  softmaxFirst: true,
  router: mlpRouter,
  experts: { layout: 'per-expert', name: mlpExpert },
  drop: ['mlp_bias', 'layer_types'],
  config: (spec, moe) => ({
    num_experts: moe.experts,
    num_experts_per_tok: moe.topK,
    intermediate_size: moe.width,
    norm_topk_prob: moe.order === 'topk-softmax',
    attention_bias: spec.attentionBias,
    router_aux_loss_coef: 0.01,
    output_router_logits: false,
  }),
};
