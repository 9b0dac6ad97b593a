/**
 * One table for the many names under which configs say how many experts there are, how many a token uses, how wide they
 * are and how many are shared (field case G2-06; reference: upcycling.md §4.2).
 */
import type { JsonObject, JsonValue } from '../common/json.ts';
import { isJsonObject } from '../common/json.ts';

/** Names in order of preference; dots go into nested objects. */
const EXPERTS = [
  'num_local_experts',
  'num_experts',
  'n_routed_experts',
  'moe_num_experts',
  'ffn_config.moe_num_experts',
  'num_routed_experts',
  'expert_count',
  'moe_num_local_experts',
  'moe.num_experts',
  'num_moe_experts',
];
const TOP_K = [
  'num_experts_per_tok',
  'num_experts_per_token',
  'moe_k',
  'moe_topk',
  'moe_top_k',
  'ffn_config.moe_top_k',
  'top_k_experts',
  'num_selected_experts',
  'expert_used_count',
  'moe_router_topk',
  'moe.num_experts_per_tok',
];
const WIDTH = [
  'moe_intermediate_size',
  'expert_ffn_hidden_size',
  'moe_ffn_hidden_size',
  'ffn_config.ffn_hidden_size',
  'moe.intermediate_size',
  'expert_feed_forward_length',
];
/** Where the experts have the only feed-forward width of the config. */
const PLAIN_WIDTH = ['intermediate_size', 'ffn_hidden_size', 'feed_forward_length'];
const SHARED = [
  'n_shared_experts',
  'moe_num_shared_experts',
  'num_shared_experts',
  'num_shared_expert',
  'expert_shared_count',
];
const SHARED_WIDTH = [
  'shared_expert_intermediate_size',
  'shared_intermediate_size',
  'moe_shared_expert_intermediate_size',
  'shared_experts_intermediate_size',
  'share_expert_dim',
  'expert_shared_feed_forward_length',
];

/** Families whose shared expert exists whether or not the config says so; its width is the experts'. */
const ALWAYS_SHARED: ReadonlySet<string> = new Set(['llama4', 'llama4_text']);

/** Families whose experts are `intermediate_size` wide, whatever else the config holds. */
const PLAIN_WIDTH_FAMILIES: ReadonlySet<string> = new Set([
  'mixtral',
  'olmoe',
  'flex_olmo',
  'phimoe',
  'granitemoe',
  'granitemoeshared',
  'granitemoehybrid',
  'minimax',
  'minimax_m2',
  'jamba',
  'jetmoe',
  'gpt_oss',
  'llama4',
  'llama4_text',
]);

/** Families that read `norm_topk_prob`, and what an absent field means to them (reference: upcycling.md §4.1). */
const NORM_TOPK_DEFAULT: ReadonlyMap<string, boolean> = new Map([
  ['qwen2_moe', false],
  ['qwen3_moe', false],
  ['olmoe', false],
  ['flex_olmo', false],
]);

/** Keys under which composite models keep their language model's config. */
const TEXT_SECTIONS = [
  'text_config',
  'language_config',
  'llm_config',
  'thinker_config',
  'language_model',
  'text_model',
];

/** A value with the dotted name of the field it was read from. */
export interface Found {
  readonly value: number;
  readonly field: string;
}

/** What a config says about its experts; null where it is silent. Nothing here is read from tensors. */
export interface MoeConfig {
  /** model_type of the section that holds the fields. */
  readonly modelType: string | null;
  readonly experts: number;
  readonly topK: number | null;
  /** Width of one routed expert. */
  readonly width: number | null;
  /** Shared experts; 0 where there are none. */
  readonly shared: number;
  /** Width of all shared experts together (they are one FFN on disk). */
  readonly sharedWidth: number | null;
  /** Dotted names of the fields behind the numbers. */
  readonly fields: {
    readonly experts: string;
    readonly topK: string | null;
    readonly width: string | null;
    readonly shared: string | null;
    readonly sharedWidth: string | null;
  };
}

/**
 * The part of a config that describes the language model: the config itself, or `text_config` and its like in a composite
 * one (also one level deeper, as `thinker_config.text_config`). `path` is the dotted prefix of its fields, '' or 'text_config.'.
 */
export function textSection(config: JsonObject): { readonly section: JsonObject; readonly path: string } {
  let section = config;
  let path = '';
  for (let depth = 0; depth < 3; depth++) {
    if (positive(section['hidden_size']) || positive(section['num_hidden_layers'])) break;
    const key = TEXT_SECTIONS.find((name) => isJsonObject(section[name]));
    const inner = key === undefined ? undefined : section[key];
    if (key === undefined || !isJsonObject(inner)) break;
    section = inner;
    path += `${key}.`;
  }
  return { section, path };
}

/** model_type of a config as a whole; null where absent or not a string. */
export function modelTypeOf(config: JsonObject | null): string | null {
  const value = config?.['model_type'];
  return typeof value === 'string' && value !== '' ? value : null;
}

/**
 * What the config says about experts, or null for a dense model (no field, or a count of 0). A list of counts (one per
 * modality or layer) stands for its first entry.
 */
export function readMoeConfig(config: JsonObject): MoeConfig | null {
  const text = textSection(config);
  // The fields may also lie beside the section (some exporters flatten), so that is looked at second.
  const places = text.path === '' ? [text] : [text, { section: config, path: '' }];
  for (const place of places) {
    const experts = find(place, EXPERTS);
    if (experts !== null) return readSection(place, experts);
  }
  return null;
}

function readSection(place: { readonly section: JsonObject; readonly path: string }, experts: Found): MoeConfig {
  const modelType = modelTypeOf(place.section);
  const topK = find(place, TOP_K);
  const plain = modelType !== null && PLAIN_WIDTH_FAMILIES.has(modelType);
  const width = (plain ? null : find(place, WIDTH)) ?? find(place, PLAIN_WIDTH);
  const count = find(place, SHARED);
  const ownWidth = find(place, SHARED_WIDTH);
  const always = modelType !== null && ALWAYS_SHARED.has(modelType);
  const shared = count?.value ?? (ownWidth !== null || always ? 1 : 0);
  const sharedWidth = ownWidth?.value ?? (shared > 0 && width !== null ? shared * width.value : null);
  return {
    modelType,
    experts: experts.value,
    topK: topK?.value ?? null,
    width: width?.value ?? null,
    shared,
    sharedWidth: shared > 0 ? sharedWidth : null,
    fields: {
      experts: experts.field,
      topK: topK?.field ?? null,
      width: width?.field ?? null,
      shared: count?.field ?? null,
      sharedWidth: ownWidth?.field ?? null,
    },
  };
}

/**
 * What `norm_topk_prob` means for this family: the value written, the family's default (with `absent` true), or null for a
 * family that does not read it.
 */
export function normTopkProb(config: JsonObject): { readonly value: boolean; readonly absent: boolean } | null {
  const { section } = textSection(config);
  const family = modelTypeOf(section);
  const fallback = family === null ? undefined : NORM_TOPK_DEFAULT.get(family);
  if (fallback === undefined) return null;
  const value = section['norm_topk_prob'];
  return typeof value === 'boolean' ? { value, absent: false } : { value: fallback, absent: true };
}

/** Sizes of an expert-parallel group that divide `experts` evenly, ascending: 8 → 1, 2, 4, 8. */
export function expertParallelSizes(experts: number): number[] {
  // The bound keeps a hostile count from costing time: no model is near it.
  if (!Number.isSafeInteger(experts) || experts < 1 || experts > 2 ** 31) return [];
  const low: number[] = [];
  const high: number[] = [];
  for (let d = 1; d * d <= experts; d++) {
    if (experts % d !== 0) continue;
    low.push(d);
    if (d * d !== experts) high.push(experts / d);
  }
  return [...low, ...high.reverse()];
}

/** A non-negative whole number at a dotted field of the language model's section, or null. */
export function configInteger(config: JsonObject, names: readonly string[]): Found | null {
  return find(textSection(config), names, 0);
}

function find(
  place: { readonly section: JsonObject; readonly path: string },
  names: readonly string[],
  least = 1,
): Found | null {
  for (const name of names) {
    const value = wholeNumber(lookUp(place.section, name));
    if (value !== null && value >= least) return { value, field: place.path + name };
  }
  return null;
}

function lookUp(section: JsonObject, dotted: string): JsonValue | undefined {
  let value: JsonValue | undefined = section;
  for (const key of dotted.split('.')) {
    if (!isJsonObject(value) || !Object.hasOwn(value, key)) return undefined;
    value = value[key];
  }
  return value;
}

function wholeNumber(value: JsonValue | undefined): number | null {
  const one = Array.isArray(value) ? (value as readonly JsonValue[])[0] : value;
  return typeof one === 'number' && Number.isSafeInteger(one) && one >= 0 ? one : null;
}

function positive(value: JsonValue | undefined): boolean {
  return (wholeNumber(value) ?? 0) > 0;
}
