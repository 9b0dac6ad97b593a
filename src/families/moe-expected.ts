/** Tensors that a checkpoint of a writable MoE family (and olmoe) must have, from its config: for health checks. */
import type { JsonObject } from '../common/json.ts';
import { attention, decoder, layerTensor, norm, swiglu } from './dense/parts.ts';
import type { DenseFamily, DenseSpec, ExpectedTensor } from './spec.ts';
import { flag, languageConfig, positiveInteger, readDenseSpec } from './spec.ts';
import { TARGET_FAMILIES } from './targets/index.ts';
import type { Target } from './targets/types.ts';
import { mlpExpert, mlpRouter } from './targets/types.ts';

interface MoeNumbers {
  readonly experts: number;
  readonly width: number;
  readonly isSparse: (layer: number) => boolean;
  readonly sharedWidth: number | null;
}

/** transformers 5 saves qwen3_moe with num_local_experts; 4 knows only num_experts. */
function expertsField(stacked: boolean, config: JsonObject): string {
  const [own, other] = stacked ? ['num_local_experts', 'num_experts'] : ['num_experts', 'num_local_experts'];
  return config[own] === undefined && config[other] !== undefined ? other : own;
}

function numbersOf(type: string, config: JsonObject): MoeNumbers {
  const stacked = type === 'mixtral' || type === 'granitemoe';
  const qwen = type === 'qwen2_moe' || type === 'qwen3_moe';
  const step = qwen ? positiveInteger(config, 'decoder_sparse_step', 1) : 1;
  const listed = qwen ? config['mlp_only_layers'] : undefined;
  const only = new Set<unknown>(Array.isArray(listed) ? listed : []);
  return {
    experts: positiveInteger(config, expertsField(stacked, config)),
    width: positiveInteger(config, qwen ? 'moe_intermediate_size' : 'intermediate_size'),
    isSparse: (layer) => !only.has(layer) && (layer + 1) % step === 0,
    sharedWidth: type === 'qwen2_moe' ? positiveInteger(config, 'shared_expert_intermediate_size', 5632) : null,
  };
}

function moeBlock(
  spec: DenseSpec,
  layer: number,
  numbers: MoeNumbers,
  target: Pick<Target, 'router' | 'experts'>,
): ExpectedTensor[] {
  const { hidden } = spec;
  const { experts, width } = numbers;
  const whole = (name: string, shape: readonly number[], role: ExpectedTensor['role']): ExpectedTensor => ({
    name,
    shape,
    role,
    layer,
  });
  const list = [whole(target.router(layer), [experts, hidden], 'router')];
  if (target.experts.layout === 'stacked') {
    list.push(
      whole(target.experts.input(layer), [experts, 2 * width, hidden], 'expert'),
      whole(target.experts.output(layer), [experts, hidden, width], 'expert'),
    );
  } else {
    for (let expert = 0; expert < experts; expert += 1) {
      list.push(
        whole(target.experts.name(layer, expert, 'gate'), [width, hidden], 'expert'),
        whole(target.experts.name(layer, expert, 'up'), [width, hidden], 'expert'),
        whole(target.experts.name(layer, expert, 'down'), [hidden, width], 'expert'),
      );
    }
  }
  if (numbers.sharedWidth !== null) {
    list.push(
      layerTensor(layer, 'mlp.shared_expert.gate_proj.weight', [numbers.sharedWidth, hidden], 'shared'),
      layerTensor(layer, 'mlp.shared_expert.up_proj.weight', [numbers.sharedWidth, hidden], 'shared'),
      layerTensor(layer, 'mlp.shared_expert.down_proj.weight', [hidden, numbers.sharedWidth], 'shared'),
      layerTensor(layer, 'mlp.shared_expert_gate.weight', [1, hidden], 'shared'),
    );
  }
  return list;
}

function attentionBlock(type: string, spec: DenseSpec, layer: number): ExpectedTensor[] {
  const q = spec.heads * spec.headDim;
  const kv = spec.kvHeads * spec.headDim;
  const preNorms = [norm(spec, layer, 'input_layernorm'), norm(spec, layer, 'post_attention_layernorm')];
  switch (type) {
    case 'mixtral':
      return [...preNorms, ...attention(spec, layer, false)];
    case 'qwen2_moe':
      return [...preNorms, ...attention(spec, layer, flag(spec.config, 'qkv_bias', true), false)];
    case 'qwen3_moe':
      return [
        ...preNorms,
        ...attention(spec, layer, spec.attentionBias),
        norm(spec, layer, 'self_attn.q_norm', spec.headDim),
        norm(spec, layer, 'self_attn.k_norm', spec.headDim),
      ];
    case 'olmoe':
    case 'flex_olmo':
      return [
        ...(type === 'olmoe'
          ? preNorms
          : [norm(spec, layer, 'post_attention_layernorm'), norm(spec, layer, 'post_feedforward_layernorm')]),
        ...attention(spec, layer, spec.attentionBias),
        norm(spec, layer, 'self_attn.q_norm', q),
        norm(spec, layer, 'self_attn.k_norm', kv),
      ];
    default:
      return [...preNorms, ...attention(spec, layer, spec.attentionBias)];
  }
}

/** Expected tensors of an MoE config (mixtral, qwen2_moe, qwen3_moe, olmoe, flex_olmo, granitemoe); null for others. */
export function expectedMoeTensors(type: string, raw: JsonObject): ExpectedTensor[] | null {
  const writable = Object.values(TARGET_FAMILIES).find((family) => family.modelType === type);
  const target = writable ?? (type === 'olmoe' ? olmoe : null);
  if (target === null) return null;
  const family: DenseFamily = { modelType: type, title: type, tiedByDefault: false, defaults: {}, tensors: () => [] };
  // Qwen MoE configs may lack intermediate_size when no layer is dense.
  const config = languageConfig(raw);
  const numbers = numbersOf(type, config);
  const spec = readDenseSpec(family, {
    ...raw,
    ...config,
    intermediate_size: config['intermediate_size'] ?? numbers.width,
  });
  return decoder(spec, (layer) => [
    ...attentionBlock(type, spec, layer),
    ...(numbers.isSparse(layer) ? moeBlock(spec, layer, numbers, target) : swiglu(spec, layer)),
  ]);
}

const olmoe: Pick<Target, 'router' | 'experts'> = {
  router: mlpRouter,
  experts: { layout: 'per-expert', name: mlpExpert },
};
