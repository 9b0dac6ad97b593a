/** Estimates from counts and config alone: memory of the weights by precision, growth of the key-value cache. */
import type { JsonObject, JsonValue } from '../common/json.ts';
import { isJsonObject } from '../common/json.ts';
import { configInteger, textSection } from '../inspect/moe-config.ts';
import type { Overview } from './wire-types.ts';

type Memory = Overview['memory'][number];
type KvCache = NonNullable<Overview['kvCache']>;

/** Bits per weight at each precision; blocks of 32 with one float16 scale are what GGUF's Q8_0 and Q4_0 store. */
const PRECISIONS: readonly { readonly dtype: string; readonly bits: number; readonly note: string | null }[] = [
  { dtype: 'bf16', bits: 16, note: null },
  { dtype: 'int8', bits: 8.5, note: '8.5 bits per weight: one float16 scale for each 32, as Q8_0' },
  { dtype: 'int4', bits: 4.5, note: '4.5 bits per weight: one float16 scale for each 32, as Q4_0' },
];

/** Memory of the weights; `active` are the parameters that one token uses (null for dense models, or where unknown). */
export function weightMemory(total: number | null, active: number | null, asStored: number): Memory[] {
  const stored: Memory = { dtype: 'as stored', bytes: asStored, activeBytes: null, note: null };
  if (total === null) return [stored];
  const estimates = PRECISIONS.map(({ dtype, bits, note }) => ({
    dtype,
    bytes: Math.ceil((total * bits) / 8),
    activeBytes: active === null || active === total ? null : Math.ceil((active * bits) / 8),
    note,
  }));
  return [stored, ...estimates];
}

const LAYERS = ['num_hidden_layers', 'n_layer', 'n_layers', 'num_layers', 'block_count'];
const HEADS = ['num_attention_heads', 'n_head', 'n_heads', 'num_heads'];
const KV_HEADS = [
  'num_key_value_heads',
  'n_head_kv',
  'num_kv_heads',
  'multi_query_group_num',
  'attn_config.kv_n_heads',
];
const HIDDEN = ['hidden_size', 'd_model', 'n_embd', 'dim'];
const TOKENS = 1000;
const BF16_BYTES = 2;

/** Bytes by which the cache of keys and values grows per 1,000 tokens in bf16; null where the config does not tell. */
export function kvCacheOf(config: JsonObject | null): KvCache | null {
  if (config === null) return null;
  const layers = configInteger(config, LAYERS)?.value;
  if (layers === undefined || layers === 0) return null;
  const { section } = textSection(config);
  const kinds = attentionLayers(section, layers);
  if (kinds.cached === 0) return null;
  const perLayer = latentPerToken(config) ?? headsPerToken(config, section);
  if (perLayer === null) return null;
  const bytes = kinds.cached * perLayer.values * BF16_BYTES * TOKENS;
  if (!Number.isSafeInteger(bytes)) return null;
  return {
    bytesPer1kTokens: bytes,
    dtype: 'bf16',
    how: [`${String(kinds.cached)} layers × ${perLayer.how} × 2 bytes × 1,000 tokens`, ...kinds.notes].join('; '),
  };
}

interface PerToken {
  readonly values: number;
  readonly how: string;
}

/** DeepSeek's latent attention keeps one compressed vector and the rotary part of one key. */
function latentPerToken(config: JsonObject): PerToken | null {
  const rank = configInteger(config, ['kv_lora_rank'])?.value ?? 0;
  if (rank === 0) return null;
  const rope = configInteger(config, ['qk_rope_head_dim'])?.value ?? 0;
  return { values: rank + rope, how: `(latent ${String(rank)} + rotary ${String(rope)})` };
}

function headsPerToken(config: JsonObject, section: JsonObject): PerToken | null {
  const heads = configInteger(config, HEADS)?.value ?? 0;
  const hidden = configInteger(config, HIDDEN)?.value ?? 0;
  const multiQuery = section['multi_query'] === true && section['new_decoder_architecture'] !== true;
  const written = configInteger(config, KV_HEADS)?.value;
  const kvHeads = written ?? (multiQuery ? 1 : heads);
  const width = configInteger(config, ['head_dim'])?.value ?? (heads > 0 ? hidden / heads : 0);
  if (kvHeads === 0 || width === 0 || !Number.isInteger(width)) return null;
  const shared = heads > 0 && kvHeads < heads ? ` (of ${String(heads)} query heads)` : '';
  return {
    values: 2 * kvHeads * width,
    how: `2 × ${String(kvHeads)} key-value heads${shared} × ${String(width)}`,
  };
}

/** Kinds of layer that keep no keys and values (states of a fixed size instead). */
const STATEFUL = /mamba|linear|recurrent|ssm|rwkv|conv/i;

function attentionLayers(section: JsonObject, layers: number): { cached: number; notes: string[] } {
  const notes: string[] = [];
  const listed = layerKinds(section, layers);
  const window = positive(section['sliding_window']) ?? positive(section['attention_window_size']);
  if (listed !== null) {
    const stateful = listed.filter((kind) => STATEFUL.test(kind)).length;
    const sliding = listed.filter((kind) => /sliding|local|chunked/i.test(kind)).length;
    const limit = window ?? positive(section['attention_chunk_size']);
    if (stateful > 0) notes.push(`${String(stateful)} layers keep a state of fixed size and are left out`);
    if (sliding > 0 && limit !== null)
      notes.push(`${String(sliding)} of them stop growing at ${limit.toLocaleString('en-US')} tokens (sliding window)`);
    return { cached: withoutShared(section, layers - stateful, notes), notes };
  }
  const period = positive(section['attn_layer_period']);
  if (period !== null) {
    const offset = positive(section['attn_layer_offset']) ?? 0;
    const cached = Array.from({ length: Math.min(layers, 100_000) }, (_, i) => i).filter(
      (i) => i % period === offset % period,
    ).length;
    notes.push(`${String(layers - cached)} layers without attention are left out`);
    return { cached, notes };
  }
  if (/^(?:mamba|rwkv|falcon_mamba)/.test(String(section['model_type'] ?? ''))) return { cached: 0, notes };
  if (window !== null && section['use_sliding_window'] !== false)
    notes.push(`layers with the sliding window stop growing at ${window.toLocaleString('en-US')} tokens`);
  return { cached: withoutShared(section, layers, notes), notes };
}

/** gemma3n: the last layers reuse the keys and values of earlier ones. */
function withoutShared(section: JsonObject, layers: number, notes: string[]): number {
  const shared = positive(section['num_kv_shared_layers']) ?? 0;
  if (shared === 0 || shared >= layers) return layers;
  notes.push(`${String(shared)} layers share the cache of others`);
  return layers - shared;
}

function layerKinds(section: JsonObject, layers: number): string[] | null {
  const value = section['layer_types'] ?? section['layers_block_type'];
  if (!Array.isArray(value) || value.length !== layers) return null;
  return (value as readonly JsonValue[]).map((kind) => (typeof kind === 'string' ? kind : ''));
}

function positive(value: JsonValue | undefined): number | null {
  if (isJsonObject(value)) return null;
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : null;
}
