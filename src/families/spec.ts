/**
 * What a planner must know of a dense decoder, read from its config.json: sizes, flags, and the tensors it must have.
 * Names and defaults follow transformers (reference: upcycling.md §5.1).
 */
import type { JsonObject, JsonValue } from '../common/json.ts';
import { isJsonObject } from '../common/json.ts';
import { MoeError } from '../common/errors.ts';

/** What a tensor is for; decides what an upcycle does with it. */
export type Role =
  'embed' | 'head' | 'norm' | 'attention' | 'qkv' | 'gate' | 'up' | 'down' | 'gate-up' | 'router' | 'expert' | 'shared';

/** A tensor that a family's checkpoint must have. */
export interface ExpectedTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly role: Role;
  /** 0-based layer, or null outside the layers. */
  readonly layer: number | null;
}

/** Sizes and flags of a dense decoder, in one vocabulary for all families. */
export interface DenseSpec {
  readonly modelType: string;
  readonly hidden: number;
  readonly intermediate: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly vocab: number;
  /** tie_word_embeddings, by the config or the family's default. */
  readonly tied: boolean;
  readonly attentionBias: boolean;
  readonly mlpBias: boolean;
  /** The language model's own config object (text_config where it is nested). */
  readonly config: JsonObject;
}

/** One dense family: what its config means and which tensors it has. */
export interface DenseFamily {
  readonly modelType: string;
  /** For messages: what sets it apart. */
  readonly title: string;
  readonly tiedByDefault: boolean;
  /** Bias on q, k and v when the config is silent; `attention_bias` decides elsewhere. */
  readonly biasByDefault?: boolean;
  /**
   * What the family's class assumes where config.json is silent (transformers 5). Written out on conversion, because the
   * target's class may assume something else (llama's eps is 1e-6, mixtral's 1e-5; rope_theta 1e4 against 1e6).
   */
  readonly defaults: JsonObject;
  tensors(spec: DenseSpec): ExpectedTensor[];
}

function fieldError(field: string, expected: string, value: JsonValue | undefined): MoeError {
  const got = value === undefined ? 'is missing' : `is ${JSON.stringify(value)}`;
  return new MoeError('input', 'config-field', `config.json: ${field} ${got}; expected ${expected}`, {
    file: 'config.json',
    field,
    hint: `Correct ${field} in config.json, or fetch the checkpoint's own config.json again.`,
  });
}

/** A positive safe integer field; `fallback` where the field may be absent or null. */
export function positiveInteger(config: JsonObject, field: string, fallback?: number): number {
  const value = config[field];
  if ((value === undefined || value === null) && fallback !== undefined) return fallback;
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1) {
    throw fieldError(field, 'a positive integer', value);
  }
  return value;
}

/** A boolean field; `fallback` where absent or null. */
export function flag(config: JsonObject, field: string, fallback: boolean): boolean {
  const value = config[field];
  if (value === undefined || value === null) return fallback;
  if (typeof value !== 'boolean') throw fieldError(field, 'true or false', value);
  return value;
}

/** A finite number field; `fallback` where absent or null. */
export function finiteNumber(config: JsonObject, field: string, fallback: number): number {
  const value = config[field];
  if (value === undefined || value === null) return fallback;
  if (typeof value !== 'number' || !Number.isFinite(value)) throw fieldError(field, 'a number', value);
  return value;
}

/** The language model's config: `text_config` of a composite one, else the config itself. */
export function languageConfig(config: JsonObject): JsonObject {
  const text = config['text_config'];
  return isJsonObject(text) && text['hidden_size'] !== undefined ? text : config;
}

/** model_type of a config, lower case, or null. */
export function modelTypeOf(config: JsonObject | null): string | null {
  const value = config?.['model_type'];
  return typeof value === 'string' && value !== '' ? value : null;
}

/** Reads a config as `family` understands it. Throws MoeError `config-field` naming the field. */
export function readDenseSpec(family: DenseFamily, raw: JsonObject): DenseSpec {
  const config = languageConfig(raw);
  const hidden = positiveInteger(config, 'hidden_size');
  const heads = positiveInteger(config, 'num_attention_heads');
  const explicit = config['head_dim'];
  if ((explicit === undefined || explicit === null) && hidden % heads !== 0) {
    throw new MoeError(
      'input',
      'config-field',
      `config.json: hidden_size ${String(hidden)} is not a multiple of num_attention_heads ${String(heads)}, and head_dim is not given`,
      { file: 'config.json', field: 'head_dim' },
    );
  }
  const kvHeads = positiveInteger(config, 'num_key_value_heads', heads);
  if (heads % kvHeads !== 0) {
    throw new MoeError(
      'input',
      'config-field',
      `config.json: num_attention_heads ${String(heads)} is not a multiple of num_key_value_heads ${String(kvHeads)}`,
      { file: 'config.json', field: 'num_key_value_heads' },
    );
  }
  // A composite config may hold the flag at either level.
  const tieField = config['tie_word_embeddings'] === undefined ? raw : config;
  return {
    modelType: family.modelType,
    hidden,
    intermediate: positiveInteger(config, 'intermediate_size'),
    layers: positiveInteger(config, 'num_hidden_layers'),
    heads,
    kvHeads,
    headDim: positiveInteger(config, 'head_dim', Math.floor(hidden / heads)),
    vocab: positiveInteger(config, 'vocab_size'),
    tied: flag(tieField, 'tie_word_embeddings', family.tiedByDefault),
    attentionBias: flag(config, 'attention_bias', family.biasByDefault ?? false),
    mlpBias: flag(config, 'mlp_bias', false),
    config,
  };
}
