/** config.json of the planned MoE: everything that means something is carried over, everything that would lie is not. */
import type { Dtype } from 'safetensors-js';
import { MoeError } from '../common/errors.ts';
import type { JsonObject, JsonValue } from '../common/json.ts';
import { isJsonObject } from '../common/json.ts';
import type { Target } from '../families/targets/types.ts';
import type { MoeShape } from '../families/targets/types.ts';
import type { Parent } from './logical.ts';
import type { PlanWarning } from './types.ts';

/** Source fields that describe the file's past, or code that must never be run. */
const NEVER_COPIED: ReadonlySet<string> = new Set([
  '_name_or_path',
  'architectures',
  'auto_map',
  'dtype',
  'model_type',
  'pretraining_tp',
  'quantization_config',
  'rope_parameters',
  'rope_scaling',
  'rope_theta',
  'torch_dtype',
  'transformers_version',
]);

/** Fields that the plan sets and `recipe.config` may change: training knobs and inert values. */
const FREE: ReadonlySet<string> = new Set(['router_aux_loss_coef', 'output_router_logits', 'router_jitter_noise']);

const TORCH_NAMES: Readonly<Partial<Record<Dtype, string>>> = {
  F32: 'float32',
  BF16: 'bfloat16',
  F16: 'float16',
  F64: 'float64',
};

/**
 * Rope in both spellings: transformers 4 reads rope_theta + rope_scaling, transformers 5 reads rope_parameters; whichever
 * the source used, the output has both, saying the same.
 */
export function ropeFields(config: JsonObject, defaultTheta: JsonValue, family = ''): JsonObject {
  const parameters = isJsonObject(config['rope_parameters']) ? config['rope_parameters'] : {};
  const scaling = isJsonObject(config['rope_scaling']) ? config['rope_scaling'] : {};
  const theta = parameters['rope_theta'] ?? scaling['rope_theta'] ?? config['rope_theta'] ?? defaultTheta;
  const merged: JsonObject = { ...scaling, ...parameters };
  const type = merged['rope_type'] ?? merged['type'] ?? 'default';
  const rest = Object.fromEntries(
    Object.entries(merged).filter(([key]) => !['rope_theta', 'rope_type', 'type'].includes(key)),
  );
  // Phi-3 reads 'su' and 'yarn' as longrope.
  const name = family === 'phi3' && (type === 'su' || type === 'yarn') ? 'longrope' : type;
  return {
    rope_theta: theta,
    rope_scaling: name === 'default' ? null : { rope_type: name, ...rest },
    rope_parameters: { rope_type: name, rope_theta: theta, ...rest },
  };
}

export interface ConfigParts {
  readonly parent: Parent;
  readonly target: Target;
  readonly moe: MoeShape;
  readonly tied: boolean;
  /** dtype of the FFN as written. */
  readonly dtype: Dtype;
  readonly extra: JsonObject;
}

/** The output config and what must be said about it. Throws MoeError `config-protected` for an extra field that would lie. */
export function targetConfig(parts: ConfigParts): { config: JsonObject; warnings: PlanWarning[] } {
  const { parent, target, moe, extra } = parts;
  const source = parent.spec.config;
  const warnings: PlanWarning[] = [];
  const kept = Object.fromEntries(
    Object.entries(source).filter(([field]) => !NEVER_COPIED.has(field) && !target.drop.includes(field)),
  );
  if (source['auto_map'] !== undefined) {
    warnings.push({
      code: 'auto-map-dropped',
      message: 'config.json names custom code (auto_map); it is not carried over: the output uses the standard class.',
    });
  }
  if (source['quantization_config'] !== undefined) {
    warnings.push({
      code: 'quantization-config-dropped',
      message: 'config.json has a quantization_config although the tensors are plain; it is not carried over.',
    });
  }
  const { rope_theta: defaultTheta, ...defaults } = parent.family.defaults;
  const structural: JsonObject = {
    ...target.config(parent.spec, moe),
    ...ropeFields(source, defaultTheta ?? 10000, parent.family.modelType),
    hidden_size: parent.spec.hidden,
    num_hidden_layers: parent.spec.layers,
    num_attention_heads: parent.spec.heads,
    num_key_value_heads: parent.spec.kvHeads,
    vocab_size: parent.spec.vocab,
    tie_word_embeddings: parts.tied,
  };
  const protectedFields = Object.keys(extra).filter(
    (field) => field === 'model_type' || field === 'architectures' || (field in structural && !FREE.has(field)),
  );
  const [first] = protectedFields;
  if (first !== undefined) {
    throw new MoeError(
      'input',
      'config-protected',
      `recipe config.${first} would contradict the tensors: the plan sets ${first} to ${JSON.stringify(structural[first] ?? target.modelType)}`,
      {
        field: `config.${first}`,
        hint: 'Change the recipe field that decides it (experts, top_k, granularity, tie, …) instead.',
      },
    );
  }
  const dtypeName = TORCH_NAMES[parts.dtype];
  const config: JsonObject = {
    architectures: [target.architecture],
    model_type: target.modelType,
    ...defaults,
    ...kept,
    ...(parent.family.modelType === 'gemma' ? { hidden_act: gemmaActivation(source) } : {}),
    ...structural,
    // Both spellings again: torch_dtype for transformers 4, dtype for 5.
    ...(dtypeName === undefined ? {} : { dtype: dtypeName, torch_dtype: dtypeName }),
    ...extra,
  };
  return { config, warnings };
}

/** Gemma's class computes the tanh GELU unless hidden_activation says otherwise; the old field hidden_act is ignored. */
function gemmaActivation(source: JsonObject): JsonValue {
  const activation = source['hidden_activation'];
  return typeof activation === 'string' ? activation : 'gelu_pytorch_tanh';
}
