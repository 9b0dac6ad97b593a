/**
 * What a tensor is for, from its name alone: one grammar over the spellings of Hugging Face families (v4 per-expert names
 * and v5 packed ones), MLX, GGUF, Megatron and DeepSpeed, behind any prefix. Shapes are judged elsewhere.
 */
import { parseGgufName } from './gguf-roles.ts';

export type TensorRole =
  'router' | 'expert' | 'shared' | 'shared_gate' | 'attention' | 'norm' | 'embed' | 'head' | 'ffn' | 'other';

/** Which projection of a feed-forward; `gate_up` where both lie in one tensor. */
export type FfnPart = 'gate' | 'up' | 'down' | 'gate_up';

/** How a family writes its experts, as far as a name tells (the orientation of packed tensors needs the shape). */
export type ExpertStyle = 'per-expert' | 'packed' | 'granitemoe' | 'mlx' | 'gguf' | 'dbrx' | 'stacked';

export interface TensorName {
  /** 0-based layer, or null outside the layers. */
  readonly layer: number | null;
  /** What precedes the layers (`model.`, `model.language_model.`), or the module path of a tensor outside them. */
  readonly stem: string;
  readonly role: TensorRole;
  /** Index of the expert; 'packed' where all experts of the layer lie in one tensor; null for other roles. */
  readonly expert: number | 'packed' | null;
  /** Dimension that counts the experts of a packed tensor, else null. */
  readonly expertsDim: 0 | null;
  readonly part: FfnPart | null;
  readonly style: ExpertStyle | null;
  /** What is stored: the weight, a bias, or the data of a quantised weight (scales, zero points, blocks). */
  readonly suffix: 'weight' | 'bias' | 'quantisation';
  /** The tower it belongs to: layers of other towers are numbered on their own. */
  readonly tower: 'text' | 'vision' | 'audio' | 'mtp';
}

const words = (text: string): ReadonlySet<string> => new Set(text.split(' '));

const LAYER_WORDS = words('layers layer blocks block h blk');
const FFN_WORDS = words('mlp feed_forward ffn block_sparse_moe moe deepspeed_moe text_moe vision_moe moe_block mixer');
const ATTENTION_WORDS = words(
  'self_attn self_attention attention attn cross_attn cross_attention linear_attn encoder_attn SelfAttention EncDecAttention ' +
    'q_proj k_proj v_proj o_proj qkv_proj Wqkv query_key_value c_attn out_proj sinks',
);
const EXPERT_WORDS = words('experts local_experts deepspeed_experts switch_mlp switch_glu');
const SHARED_WORDS = words('shared_expert shared_experts share_expert share_experts shared_mlp');
const SHARED_GATE_WORDS = words('shared_expert_gate shared_experts_gate shared_gate');
/** Modules that are the router wherever they stand outside attention. */
const ROUTER_WORDS = words('router moe_statics gate_network wg');
/** Tensors that belong to the router wherever they stand. */
const ROUTER_LEAVES = words('e_score_correction_bias expert_bias router_bias gate_weight');
const EMBED_WORDS = words(
  'embed_tokens wte word_embeddings tok_embeddings embed_in token_embedding embeddings wpe embed_positions',
);
const HEAD_WORDS = words('lm_head embed_out output unembed');
const VISION_WORDS = words(
  'visual vision vision_tower vision_model vit image_encoder multi_modal_projector mm_projector vision_encoder',
);
const AUDIO_WORDS = words('audio audio_tower audio_model audio_encoder speech_encoder code2wav talker');
const MTP_WORDS = words('mtp nextn mtp_block');

const PARTS: ReadonlyMap<string, FfnPart> = new Map([
  ...pairs('gate', 'gate_proj w1 wi_0 weight_gate gate'),
  ...pairs('up', 'up_proj w3 v1 wi_1 wi fc1 c_fc dense_h_to_4h linear_v weight_up up'),
  ...pairs(
    'down',
    'down_proj down_projs w2 wo fc2 c_proj dense_4h_to_h output_linear linear_fc2 weight_down down w2_weight',
  ),
  ...pairs('gate_up', 'gate_up_proj up_gate_proj gate_and_up_projs input_linear linear_fc1 w13 w13_weight gate_up'),
]);

function pairs(part: FfnPart, names: string): [string, FfnPart][] {
  return names.split(' ').map((name) => [name, part]);
}

const WEIGHT_LEAVES = words('weight kernel');
const BIAS_LEAVES = words('bias');
const QUANT_LEAVES = words(
  'scales biases weight_scale weight_scale_inv weight_scale_2 weight_packed weight_shape weight_zero_point input_scale scale ' +
    'qweight qzeros g_idx weight_g_idx blocks absmax quant_map nested_absmax nested_quant_map quant_state',
);
/** `gate_up_proj_bias`, `down_proj_blocks`: the leaf grown onto the module's name. */
const GROWN_LEAF = /^(.+?)_(bias|blocks|scales|scale_inv|scale|weight_scale_inv)$/;
const NUMBERED_LEAF = /^(weight|bias)(\d{1,9})$/;
const NUMBERED_EXPERT = /^expert_(\d{1,9})$/;
const INTEGER = /^\d{1,9}$/;
const NORM = /(?:^|_)(?:norm|layernorm|ln|rmsnorm)(?:$|_|\d)|norm\d*$|^ln_/i;

/** Reads one name. Never throws: what it does not know is `other`. */
export function parseTensorName(name: string): TensorName {
  // A hostile header can make names of megabytes; no real one is near this length.
  if (name.length > 1024) return { ...OTHER, stem: '' };
  const tokens = name.split('.');
  if (tokens[0] === 'blk' && INTEGER.test(tokens[1] ?? '')) return parseGgufName(tokens);
  let at = -1;
  for (let i = 0; i + 1 < tokens.length; i++) {
    if (LAYER_WORDS.has(tokens[i] ?? '') && INTEGER.test(tokens[i + 1] ?? '')) {
      at = i;
      break;
    }
  }
  if (at < 0) return outsideLayers(tokens);
  const before = tokens.slice(0, at);
  const place = {
    layer: Number(tokens[at + 1]),
    stem: before.length === 0 ? '' : `${before.join('.')}.`,
    tower: towerOf(before),
  };
  return { ...OTHER, ...insideLayer(tokens.slice(at + 2)), ...place };
}

const OTHER: TensorName = {
  layer: null,
  stem: '',
  role: 'other',
  expert: null,
  expertsDim: null,
  part: null,
  style: null,
  suffix: 'weight',
  tower: 'text',
};

type Found = Partial<Omit<TensorName, 'layer' | 'stem' | 'tower'>>;

function towerOf(tokens: readonly string[]): TensorName['tower'] {
  for (const token of tokens) {
    if (VISION_WORDS.has(token)) return 'vision';
    if (AUDIO_WORDS.has(token)) return 'audio';
    if (MTP_WORDS.has(token)) return 'mtp';
  }
  return 'text';
}

/** Splits the leaf (`weight`, `bias`, `…_scales`) from the modules; `expert` where the leaf carries its index. */
function splitLeaf(tokens: readonly string[]): {
  modules: readonly string[];
  leaf: string;
  suffix: TensorName['suffix'];
  expert: number | null;
} {
  const leaf = tokens.at(-1) ?? '';
  const modules = tokens.slice(0, -1);
  if (WEIGHT_LEAVES.has(leaf)) return { modules, leaf, suffix: 'weight', expert: null };
  if (BIAS_LEAVES.has(leaf)) return { modules, leaf, suffix: 'bias', expert: null };
  if (QUANT_LEAVES.has(leaf)) return { modules, leaf, suffix: 'quantisation', expert: null };
  const numbered = NUMBERED_LEAF.exec(leaf);
  if (numbered !== null) {
    return { modules, leaf, suffix: numbered[1] === 'bias' ? 'bias' : 'weight', expert: Number(numbered[2]) };
  }
  const grown = ROUTER_LEAVES.has(leaf) ? null : GROWN_LEAF.exec(leaf);
  if (grown !== null && PARTS.has(grown[1] ?? '')) {
    const suffix = grown[2] === 'bias' ? 'bias' : 'quantisation';
    return { modules: [...modules, grown[1] ?? ''], leaf, suffix, expert: null };
  }
  // A bare parameter (`experts.down_proj`, `sinks`): the leaf names the module.
  return { modules: tokens, leaf, suffix: leaf.endsWith('bias') ? 'bias' : 'weight', expert: null };
}

function insideLayer(tokens: readonly string[]): Found {
  const { modules, leaf, suffix, expert } = splitLeaf(tokens);
  const part = lastPart(modules);
  let attention = false;
  let ffn = false;
  for (let i = 0; i < modules.length; i++) {
    const token = modules[i] ?? '';
    if (ATTENTION_WORDS.has(token)) attention = true;
    else if (SHARED_GATE_WORDS.has(token)) return { role: 'shared_gate', suffix };
    else if (SHARED_WORDS.has(token)) {
      // `shared_expert.gate.weight` would be its own little gate, not a projection.
      return modules.at(-1) === 'gate' ? { role: 'shared_gate', suffix } : { role: 'shared', part, suffix };
    } else if (attention) continue;
    else if (ROUTER_LEAVES.has(leaf)) return { role: 'router', suffix: leaf === 'gate_weight' ? 'weight' : 'bias' };
    else if (EXPERT_WORDS.has(token)) return expertOf(modules.slice(i), part, suffix, expert);
    else if (ROUTER_WORDS.has(token)) return { role: 'router', suffix };
    else if (ffn && token === 'gate') return { role: 'router', suffix };
    else if (ffn && token === 'moe') return packedUnder(modules.slice(i), part, suffix);
    else if (FFN_WORDS.has(token)) {
      ffn = true;
      const found = packedUnder(modules.slice(i), part, suffix);
      if (found.role === 'expert') return found;
    } else if (token === 'gate_weight') return { role: 'router', suffix };
  }
  if (attention) return { role: 'attention', suffix };
  if (modules.some((token) => NORM.test(token))) return { role: 'norm', suffix };
  if (part !== null) return { role: 'ffn', part, suffix };
  if (EMBED_WORDS.has(modules.at(-1) ?? '')) return { role: 'embed', suffix };
  return { role: 'other', suffix };
}

function lastPart(modules: readonly string[]): FfnPart | null {
  for (let i = modules.length - 1; i >= 0; i--) {
    const part = PARTS.get(modules[i] ?? '');
    if (part !== undefined) return part;
  }
  return null;
}

/** Experts without a module `experts`: granitemoe's `input_linear`, step3's `moe.gate_proj`. */
function packedUnder(modules: readonly string[], part: FfnPart | null, suffix: TensorName['suffix']): Found {
  const [container, next] = modules;
  if ((next === 'input_linear' || next === 'output_linear') && modules.length === 2) {
    return { role: 'expert', expert: 'packed', expertsDim: 0, part, style: 'granitemoe', suffix };
  }
  if (container === 'moe' && modules.length === 2 && part !== null && next !== 'gate') {
    return { role: 'expert', expert: 'packed', expertsDim: 0, part, style: 'stacked', suffix };
  }
  return container === 'moe' && next === 'gate' ? { role: 'router', suffix } : { role: 'ffn', part, suffix };
}

/** `modules` starts at the word for experts. */
function expertOf(
  modules: readonly string[],
  part: FfnPart | null,
  suffix: TensorName['suffix'],
  leafIndex: number | null,
): Found {
  const index = leafIndex ?? expertIndex(modules);
  if (index !== null) return { role: 'expert', expert: index, part, style: 'per-expert', suffix };
  const word = modules[0] ?? '';
  const style: ExpertStyle =
    word === 'switch_mlp' || word === 'switch_glu'
      ? 'mlx'
      : modules[1] === 'mlp'
        ? 'dbrx'
        : part === 'gate' || part === 'up'
          ? 'stacked'
          : 'packed';
  return { role: 'expert', expert: 'packed', expertsDim: 0, part, style, suffix };
}

function expertIndex(modules: readonly string[]): number | null {
  for (let i = 1; i < modules.length; i++) {
    const token = modules[i] ?? '';
    if (INTEGER.test(token)) return Number(token);
    const numbered = NUMBERED_EXPERT.exec(token);
    if (numbered !== null) return Number(numbered[1]);
  }
  return null;
}

function outsideLayers(tokens: readonly string[]): TensorName {
  const { modules, suffix } = splitLeaf(tokens);
  const stem = modules.length === 0 ? '' : `${modules.slice(0, -1).join('.')}${modules.length > 1 ? '.' : ''}`;
  const base = { ...OTHER, stem, suffix, tower: towerOf(tokens) };
  const last = modules.at(-1) ?? '';
  // llama.cpp's names outside the blocks.
  if (last === 'token_embd' || (last === 'shared' && modules.length === 1)) return { ...base, role: 'embed' };
  if (EMBED_WORDS.has(last)) return { ...base, role: 'embed' };
  if (HEAD_WORDS.has(last)) return { ...base, role: 'head' };
  if (modules.some((token) => NORM.test(token))) return { ...base, role: 'norm' };
  return base;
}
