/**
 * JSON as Python's typed configs want it. JavaScript has one number type and prints 1.0 as 1; transformers 5 checks its
 * config fields strictly and refuses an int where it expects a float ("Field 'attention_dropout' expected float, got int").
 * So integral values of float fields are written with ".0".
 */
import type { JsonValue } from './json.ts';

/** Config fields that are floats in transformers, whatever their value. */
const FLOAT_FIELDS: ReadonlySet<string> = new Set([
  'attention_dropout',
  'attention_factor',
  'attention_multiplier',
  'attn_logit_softcapping',
  'attn_pdrop',
  'beta_fast',
  'beta_slow',
  'clip_qkv',
  'embd_pdrop',
  'embedding_multiplier',
  'factor',
  'final_logit_softcapping',
  'hidden_dropout',
  'high_freq_factor',
  'initializer_range',
  'input_jitter_noise',
  'layer_norm_eps',
  'logits_scaling',
  'long_factor',
  'low_freq_factor',
  'mscale',
  'mscale_all_dim',
  'partial_rotary_factor',
  'resid_pdrop',
  'residual_multiplier',
  'rms_norm_eps',
  'rope_theta',
  'router_aux_loss_coef',
  'router_jitter_noise',
  'router_z_loss_coef',
  'routed_scaling_factor',
  'short_factor',
]);

const FLOAT_MEMBER = /"((?:[^"\\]|\\.)*)"\s*:\s*(?:\[\s*)?-?\d+(?:\.\d+(?:[eE][+-]?\d+)?|[eE][+-]?\d+)/g;

/** Names of the members whose number (or first array element) is written as a float in this JSON text, sorted. */
export function floatMembers(text: string): string[] {
  const names = new Set<string>();
  for (const match of text.matchAll(FLOAT_MEMBER)) if (match[1] !== undefined) names.add(match[1]);
  return [...names].sort();
}

/** JSON text, indented by 2, with a trailing newline; integral numbers of float members keep their ".0". */
export function pythonJson(value: JsonValue, floats: readonly string[] = []): string {
  const named = new Set(floats);
  const isFloat = (key: string): boolean => FLOAT_FIELDS.has(key) || named.has(key);
  const print = (item: JsonValue, indent: string, float: boolean): string => {
    if (typeof item === 'number') {
      const text = JSON.stringify(item);
      return float && /^-?\d+$/.test(text) ? `${text}.0` : text;
    }
    if (typeof item !== 'object' || item === null) return JSON.stringify(item);
    const inner = `${indent}  `;
    if (Array.isArray(item)) {
      const list = item as readonly JsonValue[];
      if (list.length === 0) return '[]';
      return `[\n${list.map((part) => inner + print(part, inner, float)).join(',\n')}\n${indent}]`;
    }
    const members = Object.entries(item as Readonly<Record<string, JsonValue>>);
    if (members.length === 0) return '{}';
    const lines = members.map(
      ([key, member]) => `${inner}${JSON.stringify(key)}: ${print(member, inner, isFloat(key))}`,
    );
    return `{\n${lines.join(',\n')}\n${indent}}`;
  };
  return `${print(value, '', false)}\n`;
}
