/** What a config promises about tensors: all of them for a family that is known tensor by tensor, else shapes by role. */
import { MoeError, grouped } from '../common/errors.ts';
import type { JsonObject } from '../common/json.ts';
import { expectedTensors } from '../families/index.ts';
import type { ExpectedTensor } from '../families/index.ts';
import { problemOf } from '../checkpoint/errors.ts';
import type { Problem } from '../checkpoint/types.ts';
import { parseTensorName } from './expert-names.ts';
import { configInteger, readMoeConfig, textSection } from './moe-config.ts';

/** A config may ask for more tensors than memory holds; no model has nearly as many. */
const MAX_EXPECTED = 3_000_000;

export interface Wanted {
  /** null: the family is not known tensor by tensor, or its config cannot be used (then `problem` says why). */
  readonly tensors: readonly ExpectedTensor[] | null;
  readonly problem?: Problem;
}

/** `expectedTensors`, for configs from anywhere: bounded, and a contradictory config gives a problem instead of an error. */
export function wantedTensors(config: JsonObject): Wanted {
  const layers = configInteger(config, LAYERS)?.value ?? 0;
  const experts = readMoeConfig(config)?.experts ?? 0;
  if (layers * (20 + 3 * experts) > MAX_EXPECTED) {
    return {
      tensors: null,
      problem: {
        severity: 'error',
        code: 'config-too-large',
        file: 'config.json',
        message: `config.json asks for ${grouped(layers)} layers with ${grouped(experts)} experts: too many to be true`,
        hint: 'Correct config.json.',
      },
    };
  }
  try {
    return { tensors: expectedTensors(withExpertCount(config)) };
  } catch (error) {
    if (!(error instanceof MoeError)) throw error;
    const problem = problemOf(error, 'config.json');
    // A field that is only missing has a default in the family's class, which is not known here.
    const absent = error.place.field !== undefined && textSection(config).section[error.place.field] === undefined;
    const message = `${problem.message}; the tensors are not compared with the config one by one`;
    return { tensors: null, problem: { ...problem, message, severity: absent ? 'warning' : 'error' } };
  }
}

/** The count of experts under every name that a family reads: transformers 5 writes qwen3_moe's as num_local_experts. */
function withExpertCount(config: JsonObject): JsonObject {
  const experts = readMoeConfig(config)?.experts;
  const { section, path } = textSection(config);
  if (experts === undefined || (path !== '' && path !== 'text_config.')) return config;
  const filled: JsonObject = { num_experts: experts, num_local_experts: experts, ...section };
  return path === '' ? filled : { ...config, text_config: filled };
}

/** Field names of the sizes that every family has. */
export const LAYERS = ['num_hidden_layers', 'n_layer', 'n_layers', 'num_layers', 'block_count'];
export const HIDDEN = ['hidden_size', 'd_model', 'n_embd', 'dim', 'embedding_length'];
export const VOCAB = ['vocab_size', 'padded_vocab_size'];
export const DENSE_WIDTH = [
  'intermediate_size_mlp',
  'intermediate_size',
  'ffn_hidden_size',
  'n_inner',
  'feed_forward_length',
];

/**
 * The shape that the config's sizes give to a tensor of the usual `[out, in]` layout, by its name alone; null where name or
 * config do not decide it.
 */
export function shapeByRole(name: string, config: JsonObject): readonly number[] | null {
  const { role, part, suffix, expert } = parseTensorName(name);
  const hidden = configInteger(config, HIDDEN)?.value;
  if (hidden === undefined || suffix !== 'weight') return null;
  if (role === 'embed' || role === 'head') {
    const vocab = configInteger(config, VOCAB)?.value;
    return vocab === undefined ? null : [vocab, hidden];
  }
  if (role === 'norm') return [hidden];
  const width =
    role === 'ffn'
      ? configInteger(config, DENSE_WIDTH)?.value
      : role === 'expert' && typeof expert === 'number'
        ? (readMoeConfig(config)?.width ?? undefined)
        : undefined;
  if (width === undefined) return null;
  if (part === 'gate' || part === 'up') return [width, hidden];
  if (part === 'gate_up') return [2 * width, hidden];
  return part === 'down' ? [hidden, width] : null;
}
