/**
 * Presets: published recipes as far as they were published, each with a sheet of what was assumed because its source
 * never stated it. Kept free of the schema so that plans can show the sheet without loading it.
 */
import type { JsonObject } from '../common/json.ts';

export interface Preset {
  readonly name: string;
  readonly title: string;
  /** Paper or model it follows. */
  readonly source: string;
  /** Recipe values that differ from the defaults, and those that the source states. */
  readonly values: JsonObject;
  /** One sentence each: what its source never stated and what stands in its place; figures that need explaining. */
  readonly assumptions: readonly string[];
}

export const PRESETS: readonly Preset[] = [
  {
    name: 'vavre-2024',
    title: 'Llama 3 Meets MoE: E8T2 by copying',
    source: 'Vavre et al. 2024, arXiv 2412.09952',
    values: {
      experts: 8,
      top_k: 2,
      granularity: 1,
      layers: 'all',
      expert_init: { method: 'copy' },
      router: { init: 'normal', std: 0.02, order: 'topk-softmax' },
      config: { router_aux_loss_coef: 0.01, output_router_logits: true },
    },
    assumptions: [
      'Layer subset: the paper converts "a subset of the feed-forward layers" and never says which; all layers are converted here, which is what its FLOPs fit.',
      'Router init: "random", distribution and standard deviation not given; N(0, 0.02²) here.',
      'Auxiliary loss: no coefficient, z-loss or jitter is stated; router_aux_loss_coef 0.01 here, in Hugging Face’s convention (balanced value = top_k; Megatron’s is 1, so coefficients are not interchangeable).',
      'Noisy gating: the paper gives the equations as background and never says whether noise was used in training; none here.',
      'Global batch size, optimiser betas and weight decay are not stated (stated: 100B tokens, LR 3e-5 to 3e-7 cosine, 100 warm-up steps, capacity factor 4).',
      'Sequence length is not stated; 8192 fits the printed FLOPs.',
      'Whether the optimiser state of the dense model was dropped is not stated.',
      'Parameter counts: the paper prints 34.4B total / 11.8B active for Llama-3-8B E8T2. Copying all three SwiGLU matrices in all 32 layers gives 47.49B / 13.67B (47,491,321,856 / 13,668,454,400), which is what is planned here; counting only two of the three matrices for each extra expert gives 34.34B / 11.79B, so the printed figures most likely used a non-gated formula. The printed FLOPs fit the full count.',
    ],
  },
  {
    name: 'he-2024-e8g8t8',
    title: 'Upcycling LLMs into MoE: fine-grained E8G8T8 with virtual groups',
    source: 'He et al. 2024 (NVIDIA), arXiv 2410.07524',
    values: {
      experts: 64,
      top_k: 8,
      granularity: 8,
      layers: 'all',
      expert_init: { method: 'copy' },
      router: { init: 'normal', std: 0.02, order: 'softmax-topk' },
      scale: 'megatron',
      config: { router_aux_loss_coef: 0.01, output_router_logits: true },
    },
    assumptions: [
      'Router init: the paper initialises the router of one replica set and repeats its rows; distribution and standard deviation are not given; N(0, 0.02²) here.',
      'Scaling: the published cube root (s = 4 for E8G8T8) on gate, up and down is derived for squared ReLU and was used "empirically" for SwiGLU, where it does not keep the function; use scale: exact with router.order: topk-softmax for an exact start.',
      'Auxiliary loss: 1e-2 is stated in Megatron’s convention (balanced value 1); Hugging Face’s balanced value is top_k, so the same coefficient weighs differently.',
      'The paper’s models are Nemotron 2B and 15B; which layers were converted is taken to be all.',
      'Where the FFN is cut under tensor parallelism is not stated (Megatron cuts the rank-local matrix); slices here are cut from the whole matrix.',
    ],
  },
  {
    name: 'drop-upcycling',
    title: 'Drop-Upcycling: copies with half of the neurons re-drawn',
    source: 'Nakamura et al. 2025, arXiv 2502.19261 (ICLR 2025)',
    values: {
      experts: 8,
      top_k: 2,
      granularity: 1,
      layers: 'all',
      expert_init: { method: 'drop', ratio: 0.5, variant: 'paper' },
      router: { init: 'uniform', std: 0.02, order: 'topk-softmax' },
      config: { router_aux_loss_coef: 0.02, output_router_logits: true },
    },
    assumptions: [
      'Index sets: the paper shares one set of neurons between gate, up and down (50 % of the neurons stay intact at ratio 0.5); its published code draws one set per matrix (12.5 % stay intact). The paper’s rule is used; expert_init.variant=official gives the code’s.',
      'The neuron shuffle of the published code is left out: permuting the neurons of an expert does not change what it computes.',
      'Router: uniform with standard deviation 0.02, as the published training scripts name it (torch_rand_002); the paper’s abstract does not state it.',
      'Mean and standard deviation of the re-drawn values are two scalars per matrix, taken over the values they replace, as in the published code.',
      'router_aux_loss_coef 0.02 is that of the published 8x1.5B scripts.',
    ],
  },
  {
    name: 'qwen-moe',
    title: 'Qwen1.5-MoE-A2.7B style: fine-grained, shared expert, partly re-drawn',
    source: 'Qwen team 2024, blog "Qwen1.5-MoE" and Qwen2 technical report 2.2.2',
    values: {
      target: 'qwen2_moe',
      experts: 60,
      top_k: 4,
      granularity: 4,
      layers: 'all',
      expert_init: { method: 'drop', ratio: 0.5, variant: 'paper' },
      router: { init: 'normal', std: 0.02, order: 'softmax-topk' },
      shared_expert: 'b',
      config: { router_aux_loss_coef: 0.001, output_router_logits: false },
    },
    assumptions: [
      'No code was published. How the dense FFN was cut is not stated; slices of a quarter of its width are used (60 experts are 15 replicas of 4 slices), without padding 5504 to 5632 = 4 × 1408 as the released shapes imply.',
      'Shared expert: 4 × 1408 wide in the release, how it began is not stated; plan b here (a copy of the dense FFN, routed experts halved).',
      'Randomness: "shuffle along the intermediate dimension" and "randomly re-initialise 50 %" are stated, the distribution is not; Drop-Upcycling’s rule is used (the shuffle alone would not change the function).',
      'Router init and standard deviation are not stated; N(0, 0.02²) here. softmax-topk is the released config’s norm_topk_prob: false.',
      'Auxiliary-loss coefficient of the upcycled run is not stated; the config default 0.001 here.',
      'Output scaling is not stated; scale: auto applies the factor that is right for equal router probabilities.',
    ],
  },
  {
    name: 'mixtral-8x',
    title: 'Mixtral’s shape from a dense model: 8 copies, top-2',
    source: 'Jiang et al. 2024, arXiv 2401.04088 (shape only)',
    values: {
      target: 'mixtral',
      experts: 8,
      top_k: 2,
      granularity: 1,
      layers: 'all',
      expert_init: { method: 'copy' },
      router: { init: 'normal', std: 0.02, order: 'topk-softmax' },
      config: { router_aux_loss_coef: 0.02, output_router_logits: false },
    },
    assumptions: [
      'Whether and how Mixtral 8x7B was upcycled from Mistral 7B was never published; only its shape (8 experts of full width, top-2, softmax over the chosen two) is followed.',
      'Expert init: copies of the dense FFN are assumed.',
      'Router init and standard deviation are not stated; N(0, 0.02²) here.',
      'router_aux_loss_coef 0.02 is that of the released config.json; what training used is not stated.',
    ],
  },
];

/** The preset of that name, or undefined. */
export function presetNamed(name: string): Preset | undefined {
  return PRESETS.find((preset) => preset.name === name);
}
