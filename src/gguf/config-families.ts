/** The fields of config.json that differ from family to family. */
import { MoeError } from '../common/errors.ts';
import type { JsonObject } from '../common/json.ts';
import type { GgufArch } from './arch.ts';
import type { Sizes } from './config.ts';
import type { Metadata } from './metadata.ts';
import { shortestFloat32 } from './metadata.ts';
import type { GgufHeader, GgufNote } from './types.ts';

/** Members of config.json. */
export type ConfigFields = JsonObject;

export interface FamilyContext extends Sizes {
  readonly header: GgufHeader;
  readonly metadata: Metadata;
  readonly notes: GgufNote[];
}

type Fields = (context: FamilyContext) => ConfigFields;

/** Fields of `arch` beyond the common ones; they override those. */
export function familyFields(arch: GgufArch, context: FamilyContext): ConfigFields {
  const fields = Object.hasOwn(FAMILIES, arch.modelType) ? FAMILIES[arch.modelType] : undefined;
  return fields === undefined ? {} : fields(context);
}

function say(context: FamilyContext, severity: GgufNote['severity'], field: string, message: string): void {
  context.notes.push({ severity, code: 'gguf-default', field, message });
}

/** Whether layer 0 has that bias. `requireComplete` sees to it that all layers have it or none. */
function hasBias(context: FamilyContext, ...parts: string[]): boolean {
  return parts.some((part) => context.header.tensors.has(`blk.0.${part}.bias`));
}

function attentionBias(context: FamilyContext): { attention_bias: boolean } {
  return { attention_bias: hasBias(context, 'attn_q', 'attn_qkv', 'attn_output') };
}

function mlpBias(context: FamilyContext): { mlp_bias: boolean } {
  return { mlp_bias: hasBias(context, 'ffn_up') };
}

function scale(context: FamilyContext, key: string): number | undefined {
  const value = context.metadata.number(key);
  return value === undefined ? undefined : shortestFloat32(value);
}

function experts(context: FamilyContext): { count: number; used: number } {
  const { metadata, notes } = context;
  const count = metadata.requireInteger('{arch}.expert_count');
  const used = metadata.requireInteger('{arch}.expert_used_count');
  if (used > count) {
    throw new MoeError('input', 'gguf-metadata', `${context.header.path}: ${used} experts used of ${count}`, {
      file: context.header.path,
      field: `${metadata.arch}.expert_used_count`,
    });
  }
  const gating = metadata.integer('{arch}.expert_gating_func') ?? 1;
  const weightScale = metadata.number('{arch}.expert_weights_scale') ?? 1;
  if (gating > 1 || (weightScale !== 1 && weightScale !== 0)) {
    notes.push({
      severity: 'warning',
      code: 'gguf-router',
      field: 'norm_topk_prob',
      message: 'the router has a gating function or weight scale that this family has no field for; it is left out',
    });
  }
  return { count, used };
}

/** Width of one expert where the family stores it apart from the dense width. */
function expertWidth(context: FamilyContext): number {
  const stored = context.metadata.uniformInteger('{arch}.expert_feed_forward_length');
  if (stored !== undefined && stored > 0) return stored;
  const fromTensor = context.header.tensors.get('blk.0.ffn_up_exps.weight')?.shape[1];
  return fromTensor ?? context.intermediate;
}

const SLIDING_NOTE =
  'sliding-window settings are not stored for this family; the model is described as using full attention';

const llama: Fields = (context) => {
  const window = context.metadata.integer('{arch}.attention.sliding_window');
  if (window !== undefined && window > 0) {
    throw new MoeError(
      'input',
      'gguf-metadata',
      `${context.header.path}: a llama architecture with a sliding window of ${window}, which a llama config cannot say`,
      {
        file: context.header.path,
        field: `${context.metadata.arch}.attention.sliding_window`,
      },
    );
  }
  say(
    context,
    'info',
    'model_type',
    'Llama and Mistral are one architecture in GGUF: model_type is llama, and a sliding window that a Mistral may have had is not stored',
  );
  return { head_dim: context.headDim, pretraining_tp: 1, ...attentionBias(context), ...mlpBias(context) };
};

const mixtral: Fields = (context) => {
  const { count, used } = experts(context);
  say(context, 'info', 'sliding_window', SLIDING_NOTE);
  return {
    head_dim: context.headDim,
    num_local_experts: count,
    num_experts_per_tok: used,
    sliding_window: null,
    output_router_logits: false,
    router_aux_loss_coef: 0.001,
  };
};

const qwenWindow = (context: FamilyContext): ConfigFields => {
  say(context, 'info', 'use_sliding_window', SLIDING_NOTE);
  return { use_sliding_window: false, sliding_window: null, max_window_layers: context.layers };
};

const qwen2: Fields = (context) => {
  // Qwen2's class has no head_dim field of its own; other than hidden / heads it could not be said.
  return {
    ...(context.headDim * context.heads === context.hidden ? {} : { head_dim: context.headDim }),
    ...qwenWindow(context),
  };
};

const qwen3: Fields = (context) => ({ head_dim: context.headDim, ...attentionBias(context), ...qwenWindow(context) });

function qwenMoe(context: FamilyContext, normalised: boolean): ConfigFields {
  const { count, used } = experts(context);
  say(
    context,
    'warning',
    'norm_topk_prob',
    `norm_topk_prob is not stored; ${String(normalised)} is what llama.cpp computes for this architecture`,
  );
  return {
    num_experts: count,
    num_experts_per_tok: used,
    moe_intermediate_size: expertWidth(context),
    norm_topk_prob: normalised,
    decoder_sparse_step: 1,
    mlp_only_layers: [],
    output_router_logits: false,
    router_aux_loss_coef: 0.001,
  };
}

const qwen2Moe: Fields = (context) => {
  const shared = context.metadata.integer('{arch}.expert_shared_feed_forward_length');
  return {
    ...qwen2(context),
    ...qwenMoe(context, false),
    qkv_bias: hasBias(context, 'attn_q', 'attn_qkv'),
    shared_expert_intermediate_size:
      shared ?? context.header.tensors.get('blk.0.ffn_up_shexp.weight')?.shape[0] ?? context.intermediate,
  };
};

const qwen3Moe: Fields = (context) => ({ ...qwen3(context), ...qwenMoe(context, true) });

const phi3: Fields = (context) => {
  const window = context.metadata.integer('{arch}.attention.sliding_window') ?? 0;
  const original = context.metadata.integer('{arch}.rope.scaling.original_context_length') ?? context.contextLength;
  return {
    original_max_position_embeddings: original,
    partial_rotary_factor: context.rotaryDim / context.headDim,
    sliding_window: window === 0 ? null : window,
    attention_bias: false,
    embd_pdrop: 0,
    resid_pdrop: 0,
  };
};

const gemma: Fields = (context) => ({
  head_dim: context.headDim,
  hidden_act: 'gelu_pytorch_tanh',
  hidden_activation: 'gelu_pytorch_tanh',
  ...attentionBias(context),
});

const granite: Fields = (context) => {
  const attention = scale(context, '{arch}.attention.scale');
  if (attention === undefined) {
    say(
      context,
      'warning',
      'attention_multiplier',
      'no attention scale is stored: 1/√head_dim, which llama.cpp then takes, is written',
    );
  }
  return {
    embedding_multiplier: scale(context, '{arch}.embedding_scale') ?? 1,
    attention_multiplier: attention ?? 1 / Math.sqrt(context.headDim),
    residual_multiplier: scale(context, '{arch}.residual_scale') ?? 1,
    logits_scaling: scale(context, '{arch}.logit_scale') ?? 1,
    ...attentionBias(context),
    ...mlpBias(context),
  };
};

const graniteMoe: Fields = (context) => {
  const { count, used } = experts(context);
  const { mlp_bias: _none, ...fields } = granite(context);
  return {
    ...fields,
    num_local_experts: count,
    num_experts_per_tok: used,
    output_router_logits: false,
    router_aux_loss_coef: 0.001,
  };
};

const olmo2: Fields = (context) => {
  const { metadata, header } = context;
  const window = metadata.integer('{arch}.attention.sliding_window') ?? 0;
  metadata.use('{arch}.attention.sliding_window_pattern');
  if (window > 0) {
    throw new MoeError(
      'input',
      'gguf-unsupported-arch',
      `${header.path}: an "olmo2" file with a sliding window is an OLMo 3 model, which is not supported`,
      {
        file: header.path,
        field: `${metadata.arch}.attention.sliding_window`,
      },
    );
  }
  return attentionBias(context);
};

const olmoe: Fields = (context) => {
  const { count, used } = experts(context);
  say(
    context,
    'warning',
    'norm_topk_prob',
    'norm_topk_prob is not stored; false is what llama.cpp computes for this architecture',
  );
  return {
    ...attentionBias(context),
    num_experts: count,
    num_experts_per_tok: used,
    norm_topk_prob: false,
    clip_qkv: null,
    output_router_logits: false,
    router_aux_loss_coef: 0.01,
  };
};

const FAMILIES: Readonly<Record<string, Fields>> = {
  llama,
  mixtral,
  qwen2,
  qwen3,
  qwen2_moe: qwen2Moe,
  qwen3_moe: qwen3Moe,
  phi3,
  gemma,
  granite,
  granitemoe: graniteMoe,
  olmo2,
  olmoe,
};
