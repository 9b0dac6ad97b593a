import type { JsonObject } from '../../common/json.ts';
import type { Target } from './types.ts';
import { layerPrefix } from './types.ts';

/** Multipliers by which a Llama is a Granite; a Granite brings its own. */
function multipliers(headDim: number): JsonObject {
  return {
    embedding_multiplier: 1,
    attention_multiplier: headDim ** -0.5,
    residual_multiplier: 1,
    logits_scaling: 1,
  };
}

/** GraniteMoE: experts stacked on disk, every layer MoE, top-k then softmax. */
export const graniteMoe: Target = {
  modelType: 'granitemoe',
  architecture: 'GraniteMoeForCausalLM',
  keepsDenseLayers: false,
  sharedExpert: false,
  softmaxFirst: false,
  router: (layer) => `${layerPrefix(layer)}block_sparse_moe.router.layer.weight`,
  experts: {
    layout: 'stacked',
    input: (layer) => `${layerPrefix(layer)}block_sparse_moe.input_linear.weight`,
    output: (layer) => `${layerPrefix(layer)}block_sparse_moe.output_linear.weight`,
  },
  drop: ['mlp_bias'],
  config: (spec, moe) => ({
    num_local_experts: moe.experts,
    num_experts_per_tok: moe.topK,
    intermediate_size: moe.width,
    attention_bias: spec.attentionBias,
    ...(spec.headDim * spec.heads === spec.hidden ? {} : { head_dim: spec.headDim }),
    ...(spec.modelType === 'granite'
      ? Object.fromEntries(Object.keys(multipliers(spec.headDim)).map((field) => [field, spec.config[field] ?? 1]))
      : multipliers(spec.headDim)),
    router_aux_loss_coef: 0.001,
    output_router_logits: false,
  }),
};
