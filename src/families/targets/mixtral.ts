import type { Part, Target } from './types.ts';
import { layerPrefix } from './types.ts';

const MATRIX: Readonly<Record<Part, string>> = { gate: 'w1', up: 'w3', down: 'w2' };

/** Mixtral: every layer MoE, top-k then softmax. */
export const mixtral: Target = {
  modelType: 'mixtral',
  architecture: 'MixtralForCausalLM',
  keepsDenseLayers: false,
  sharedExpert: false,
  softmaxFirst: false,
  router: (layer) => `${layerPrefix(layer)}block_sparse_moe.gate.weight`,
  experts: {
    layout: 'per-expert',
    name: (layer, expert, part) =>
      `${layerPrefix(layer)}block_sparse_moe.experts.${String(expert)}.${MATRIX[part]}.weight`,
  },
  drop: ['attention_bias', 'mlp_bias', 'use_sliding_window', 'max_window_layers', 'layer_types', 'hidden_activation'],
  config: (spec, moe) => ({
    num_local_experts: moe.experts,
    num_experts_per_tok: moe.topK,
    intermediate_size: moe.width,
    head_dim: spec.headDim,
    // Llama has no window even where a stray field names one; Mistral's own default is 4096.
    sliding_window:
      spec.modelType === 'mistral'
        ? spec.config['sliding_window'] === undefined
          ? 4096
          : spec.config['sliding_window']
        : spec.modelType === 'phi3'
          ? (spec.config['sliding_window'] ?? null)
          : null,
    router_aux_loss_coef: 0.001,
    router_jitter_noise: 0,
    output_router_logits: false,
  }),
};
