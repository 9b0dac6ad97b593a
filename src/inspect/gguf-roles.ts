/** The part of the name grammar that reads llama.cpp's names inside the blocks (`blk.N.…`). */
import type { ExpertStyle, FfnPart, TensorName, TensorRole } from './expert-names.ts';

interface GgufRole {
  readonly role: TensorRole;
  readonly part?: FfnPart;
}

const ROLES: ReadonlyMap<string, GgufRole> = new Map<string, GgufRole>([
  ['ffn_gate_inp', { role: 'router' }],
  ['exp_probs_b', { role: 'router' }],
  ['ffn_gate_inp_shexp', { role: 'shared_gate' }],
  ['ffn_gate_exps', { role: 'expert', part: 'gate' }],
  ['ffn_up_exps', { role: 'expert', part: 'up' }],
  ['ffn_down_exps', { role: 'expert', part: 'down' }],
  ['ffn_gate_up_exps', { role: 'expert', part: 'gate_up' }],
  ['ffn_gate_shexp', { role: 'shared', part: 'gate' }],
  ['ffn_up_shexp', { role: 'shared', part: 'up' }],
  ['ffn_down_shexp', { role: 'shared', part: 'down' }],
  ['ffn_gate', { role: 'ffn', part: 'gate' }],
  ['ffn_up', { role: 'ffn', part: 'up' }],
  ['ffn_down', { role: 'ffn', part: 'down' }],
]);

/** `tokens` = ['blk', N, module, …, leaf]. */
export function parseGgufName(tokens: readonly string[]): TensorName {
  const module = tokens[2] ?? '';
  const leaf = tokens.at(-1) ?? '';
  const known = ROLES.get(module);
  const found = known ?? { role: guess(module) };
  // Mixtral files of early 2024 have one tensor per expert: blk.0.ffn_gate.3.weight.
  const index = found.role === 'ffn' && /^\d{1,9}$/.test(tokens[3] ?? '') ? Number(tokens[3]) : null;
  const role = index === null ? found.role : 'expert';
  const style: ExpertStyle | null = role !== 'expert' ? null : index === null ? 'gguf' : 'per-expert';
  return {
    layer: Number(tokens[1]),
    stem: '',
    role,
    expert: role !== 'expert' ? null : (index ?? 'packed'),
    expertsDim: style === 'gguf' ? 0 : null,
    part: found.part ?? null,
    style,
    suffix: leaf === 'bias' ? 'bias' : leaf === 'scale' ? 'quantisation' : 'weight',
    tower: 'text',
  };
}

function guess(module: string): TensorRole {
  if (/^attn_(?:q|k)(?:_[ab])?_norm$|^attn_kv_a_norm$/.test(module)) return 'attention';
  if (module.includes('norm')) return 'norm';
  if (module.startsWith('attn_')) return 'attention';
  return 'other';
}
