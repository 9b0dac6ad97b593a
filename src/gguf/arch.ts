/**
 * What is known of each GGUF architecture: the Hugging Face model it was made from, tensor names per layer, and what the
 * converter does to values. Facts as of llama.cpp's converter (2026-10); test/gguf/fixtures holds its output for each.
 */

export interface GgufArch {
  /** `general.architecture`. */
  readonly name: string;
  /** Hugging Face `model_type` and class. */
  readonly modelType: string;
  readonly architecture: string;
  readonly kind: 'dense' | 'moe';
  /** q and k rows are interleaved per head (ggml's pairwise rotary embedding) and must be put back. */
  readonly interleavedQk: boolean;
  /** Norm weights had 1 added. */
  readonly normPlusOne: boolean;
  /** GGUF layer part → Hugging Face layer part, both without `.weight`; `{e}` stands for the expert. */
  readonly layer: Readonly<Record<string, string>>;
  /** Layer parts that every layer must have. */
  readonly required: readonly string[];
  /** Parts that may have a bias: in each group all parts have one, in all layers, or none has. */
  readonly biases: readonly (readonly string[])[];
  /** The Hugging Face class always has the biases of the first group. */
  readonly alwaysBiased: boolean;
}

const ATTENTION = {
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  ffn_norm: 'post_attention_layernorm',
};
const QK_NORMS = { attn_q_norm: 'self_attn.q_norm', attn_k_norm: 'self_attn.k_norm' };
const MLP = { ffn_gate: 'mlp.gate_proj', ffn_up: 'mlp.up_proj', ffn_down: 'mlp.down_proj' };
const QWEN_EXPERTS = {
  ffn_gate_inp: 'mlp.gate',
  ffn_gate_exps: 'mlp.experts.{e}.gate_proj',
  ffn_up_exps: 'mlp.experts.{e}.up_proj',
  ffn_down_exps: 'mlp.experts.{e}.down_proj',
};
const QWEN_SHARED = {
  ffn_gate_inp_shexp: 'mlp.shared_expert_gate',
  ffn_gate_shexp: 'mlp.shared_expert.gate_proj',
  ffn_up_shexp: 'mlp.shared_expert.up_proj',
  ffn_down_shexp: 'mlp.shared_expert.down_proj',
};
const MIXTRAL_EXPERTS = {
  ffn_gate_inp: 'block_sparse_moe.gate',
  ffn_gate_exps: 'block_sparse_moe.experts.{e}.w1',
  ffn_down_exps: 'block_sparse_moe.experts.{e}.w2',
  ffn_up_exps: 'block_sparse_moe.experts.{e}.w3',
};

const QKV_BIAS = ['attn_q', 'attn_k', 'attn_v'];
const ATTENTION_BIAS = [...QKV_BIAS, 'attn_output'];
const MLP_BIAS = ['ffn_gate', 'ffn_up', 'ffn_down'];

function arch(
  name: string,
  modelType: string,
  architecture: string,
  layer: Readonly<Record<string, string>>,
  rest: Partial<Pick<GgufArch, 'kind' | 'interleavedQk' | 'normPlusOne' | 'biases' | 'alwaysBiased'>> = {},
): GgufArch {
  return {
    name,
    modelType,
    architecture,
    kind: 'dense',
    interleavedQk: false,
    normPlusOne: false,
    layer,
    required: Object.keys(layer),
    biases: [],
    alwaysBiased: false,
    ...rest,
  };
}

const LLAMA = arch(
  'llama',
  'llama',
  'LlamaForCausalLM',
  { ...ATTENTION, ...MLP },
  { interleavedQk: true, biases: [ATTENTION_BIAS, MLP_BIAS] },
);

/** `llama` with experts: llama.cpp has no architecture of its own for Mixtral. */
const MIXTRAL = arch(
  'llama',
  'mixtral',
  'MixtralForCausalLM',
  { ...ATTENTION, ...MIXTRAL_EXPERTS },
  { interleavedQk: true, kind: 'moe' },
);

const ARCHS: readonly GgufArch[] = [
  LLAMA,
  arch('qwen2', 'qwen2', 'Qwen2ForCausalLM', { ...ATTENTION, ...MLP }, { biases: [QKV_BIAS], alwaysBiased: true }),
  arch('qwen3', 'qwen3', 'Qwen3ForCausalLM', { ...ATTENTION, ...QK_NORMS, ...MLP }, { biases: [ATTENTION_BIAS] }),
  arch('phi3', 'phi3', 'Phi3ForCausalLM', {
    attn_norm: 'input_layernorm',
    attn_qkv: 'self_attn.qkv_proj',
    attn_output: 'self_attn.o_proj',
    ffn_norm: 'post_attention_layernorm',
    ffn_up: 'mlp.gate_up_proj',
    ffn_down: 'mlp.down_proj',
  }),
  arch('gemma', 'gemma', 'GemmaForCausalLM', { ...ATTENTION, ...MLP }, { normPlusOne: true, biases: [ATTENTION_BIAS] }),
  arch(
    'granite',
    'granite',
    'GraniteForCausalLM',
    { ...ATTENTION, ...MLP },
    { interleavedQk: true, biases: [ATTENTION_BIAS, MLP_BIAS] },
  ),
  arch(
    'olmo2',
    'olmo2',
    'Olmo2ForCausalLM',
    {
      attn_q: 'self_attn.q_proj',
      attn_k: 'self_attn.k_proj',
      attn_v: 'self_attn.v_proj',
      attn_output: 'self_attn.o_proj',
      ...QK_NORMS,
      ...MLP,
      post_attention_norm: 'post_attention_layernorm',
      post_ffw_norm: 'post_feedforward_layernorm',
    },
    { biases: [ATTENTION_BIAS] },
  ),
  arch(
    'qwen2moe',
    'qwen2_moe',
    'Qwen2MoeForCausalLM',
    { ...ATTENTION, ...QWEN_EXPERTS, ...QWEN_SHARED },
    { kind: 'moe', biases: [QKV_BIAS] },
  ),
  arch(
    'qwen3moe',
    'qwen3_moe',
    'Qwen3MoeForCausalLM',
    { ...ATTENTION, ...QK_NORMS, ...QWEN_EXPERTS },
    { kind: 'moe', biases: [ATTENTION_BIAS] },
  ),
  arch(
    'olmoe',
    'olmoe',
    'OlmoeForCausalLM',
    { ...ATTENTION, ...QK_NORMS, ...QWEN_EXPERTS },
    { kind: 'moe', biases: [ATTENTION_BIAS] },
  ),
  arch(
    'granitemoe',
    'granitemoe',
    'GraniteMoeForCausalLM',
    {
      ...ATTENTION,
      ffn_gate_inp: 'block_sparse_moe.router.layer',
      // Hugging Face keeps gate and up of all experts in one tensor [experts, 2·width, hidden], gate rows first.
      ffn_gate_exps: 'block_sparse_moe.input_linear',
      ffn_up_exps: 'block_sparse_moe.input_linear',
      ffn_down_exps: 'block_sparse_moe.output_linear',
    },
    { interleavedQk: true, kind: 'moe', biases: [ATTENTION_BIAS] },
  ),
];

const BY_NAME: ReadonlyMap<string, GgufArch> = new Map(ARCHS.map((entry) => [entry.name, entry]));

/** Names of the architectures that can be read whole. */
export const SUPPORTED_ARCHS: readonly string[] = [...BY_NAME.keys()];

/** What is known of architecture `name`; `experts` tells Mixtral from Llama. Undefined for an unsupported one. */
export function findArch(name: string, experts: number): GgufArch | undefined {
  return name === 'llama' && experts > 0 ? MIXTRAL : BY_NAME.get(name);
}
