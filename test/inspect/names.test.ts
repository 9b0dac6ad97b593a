import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseTensorName } from '../../src/inspect/index.ts';
import type { TensorName } from '../../src/inspect/index.ts';

type Row = readonly [
  name: string,
  role: TensorName['role'],
  layer: number | null,
  expert?: TensorName['expert'],
  part?: TensorName['part'],
  style?: TensorName['style'],
];

/** Names as the families write them (reference: upcycling.md §4.1 and the models' own index files). */
const ROWS: readonly Row[] = [
  // mixtral, phimoe, minimax
  ['model.layers.3.block_sparse_moe.gate.weight', 'router', 3],
  ['model.layers.3.block_sparse_moe.experts.7.w1.weight', 'expert', 3, 7, 'gate', 'per-expert'],
  ['model.layers.3.block_sparse_moe.experts.7.w3.weight', 'expert', 3, 7, 'up', 'per-expert'],
  ['model.layers.3.block_sparse_moe.experts.7.w2.weight', 'expert', 3, 7, 'down', 'per-expert'],
  ['model.layers.1.block_sparse_moe.e_score_correction_bias', 'router', 1],
  ['model.layers.0.mlp.router.weight', 'router', 0],
  // qwen2_moe, qwen3_moe, olmoe, flex_olmo
  ['model.layers.0.mlp.gate.weight', 'router', 0],
  ['model.layers.0.mlp.experts.59.gate_proj.weight', 'expert', 0, 59, 'gate', 'per-expert'],
  ['model.layers.0.mlp.experts.59.down_proj.weight', 'expert', 0, 59, 'down', 'per-expert'],
  ['model.layers.0.mlp.shared_expert.up_proj.weight', 'shared', 0, null, 'up'],
  ['model.layers.0.mlp.shared_expert_gate.weight', 'shared_gate', 0],
  ['model.layers.0.mlp.experts.gate_up_proj', 'expert', 0, 'packed', 'gate_up', 'packed'],
  ['model.layers.0.mlp.experts.down_proj', 'expert', 0, 'packed', 'down', 'packed'],
  // granitemoe, granitemoeshared
  ['model.layers.0.block_sparse_moe.router.layer.weight', 'router', 0],
  ['model.layers.0.block_sparse_moe.input_linear.weight', 'expert', 0, 'packed', 'gate_up', 'granitemoe'],
  ['model.layers.0.block_sparse_moe.output_linear.weight', 'expert', 0, 'packed', 'down', 'granitemoe'],
  ['model.layers.0.shared_mlp.input_linear.weight', 'shared', 0, null, 'gate_up'],
  ['model.layers.0.shared_mlp.output_linear.weight', 'shared', 0, null, 'down'],
  // deepseek, glm4, dots, ernie, exaone, hunyuan
  ['model.layers.4.mlp.gate.e_score_correction_bias', 'router', 4],
  ['model.layers.4.mlp.shared_experts.gate_proj.weight', 'shared', 4, null, 'gate'],
  ['model.layers.4.mlp.moe_statics.e_score_correction_bias', 'router', 4],
  ['model.layers.4.mlp.gate.wg.weight', 'router', 4],
  ['model.layers.4.mlp.shared_mlp.down_proj.weight', 'shared', 4, null, 'down'],
  ['model.layers.4.mlp.experts.3.up_proj.weight_scale_inv', 'expert', 4, 3, 'up', 'per-expert'],
  // llama4, gpt_oss
  ['language_model.model.layers.1.feed_forward.router.weight', 'router', 1],
  ['language_model.model.layers.1.feed_forward.experts.gate_up_proj', 'expert', 1, 'packed', 'gate_up', 'packed'],
  ['language_model.model.layers.1.feed_forward.shared_expert.gate_proj.weight', 'shared', 1, null, 'gate'],
  ['model.layers.0.mlp.router.bias', 'router', 0],
  ['model.layers.0.mlp.experts.gate_up_proj_bias', 'expert', 0, 'packed', 'gate_up', 'packed'],
  ['model.layers.0.mlp.experts.gate_up_proj_blocks', 'expert', 0, 'packed', 'gate_up', 'packed'],
  ['model.layers.0.mlp.experts.down_proj_scales', 'expert', 0, 'packed', 'down', 'packed'],
  ['model.layers.0.self_attn.sinks', 'attention', 0],
  // lfm2, afmoe, step3, jamba, nemotron-h
  ['model.layers.2.feed_forward.gate.weight', 'router', 2],
  ['model.layers.2.feed_forward.expert_bias', 'router', 2],
  ['model.layers.2.feed_forward.experts.1.w1.weight', 'expert', 2, 1, 'gate', 'per-expert'],
  ['model.layers.2.mlp.router.gate.weight', 'router', 2],
  ['model.layers.2.mlp.expert_bias', 'router', 2],
  ['model.layers.2.moe.gate.weight', 'router', 2],
  ['model.layers.2.moe.router_bias', 'router', 2],
  ['model.layers.2.moe.gate_proj.weight', 'expert', 2, 'packed', 'gate', 'stacked'],
  ['model.layers.2.moe.down_proj.weight', 'expert', 2, 'packed', 'down', 'stacked'],
  ['model.layers.2.share_expert.up_proj.weight', 'shared', 2, null, 'up'],
  ['model.layers.2.feed_forward.router.weight', 'router', 2],
  ['backbone.layers.2.mixer.gate.weight', 'router', 2],
  ['backbone.layers.2.mixer.experts.5.up_proj.weight', 'expert', 2, 5, 'up', 'per-expert'],
  ['backbone.layers.2.mixer.q_proj.weight', 'attention', 2],
  // dbrx, switch transformers, nllb-moe, LLaMA-MoE, Megatron, DeepSpeed
  ['transformer.blocks.0.ffn.experts.mlp.w1', 'expert', 0, 'packed', 'gate', 'dbrx'],
  ['transformer.blocks.0.ffn.experts.mlp.v1', 'expert', 0, 'packed', 'up', 'dbrx'],
  ['transformer.blocks.0.ffn.router.layer.weight', 'router', 0],
  ['transformer.blocks.0.norm_attn_norm.attn.Wqkv.weight', 'attention', 0],
  ['transformer.blocks.0.norm_attn_norm.norm_1.weight', 'norm', 0],
  ['encoder.block.1.layer.1.mlp.experts.expert_3.wi.weight', 'expert', 1, 3, 'up', 'per-expert'],
  ['encoder.block.1.layer.1.mlp.router.classifier.weight', 'router', 1],
  ['model.layers.0.mlp.calculator.experts.weight_gate.2', 'expert', 0, 2, 'gate', 'per-expert'],
  ['decoder.layers.0.mlp.experts.local_experts.4.linear_fc1.weight', 'expert', 0, 4, 'gate_up', 'per-expert'],
  ['decoder.layers.0.mlp.experts.linear_fc2.weight6', 'expert', 0, 6, 'down', 'per-expert'],
  ['decoder.layers.0.mlp.shared_experts.linear_fc1.weight', 'shared', 0, null, 'gate_up'],
  ['layers.0.mlp.deepspeed_moe.experts.deepspeed_experts.1.fc1.weight', 'expert', 0, 1, 'up', 'per-expert'],
  ['layers.0.mlp.deepspeed_moe.gate.wg.weight', 'router', 0],
  // MLX
  ['model.layers.0.mlp.switch_mlp.gate_proj.weight', 'expert', 0, 'packed', 'gate', 'mlx'],
  ['model.layers.0.block_sparse_moe.switch_mlp.down_proj.scales', 'expert', 0, 'packed', 'down', 'mlx'],
  // dense
  ['model.layers.11.mlp.gate_proj.weight', 'ffn', 11, null, 'gate'],
  ['model.layers.11.mlp.gate_up_proj.weight', 'ffn', 11, null, 'gate_up'],
  ['model.layers.11.self_attn.q_norm.weight', 'attention', 11],
  ['model.layers.11.self_attn.gate_proj.weight', 'attention', 11],
  ['model.layers.11.input_layernorm.weight', 'norm', 11],
  ['model.layers.11.post_feedforward_layernorm.weight', 'norm', 11],
  ['model.embed_tokens.weight', 'embed', null],
  ['transformer.wte.weight', 'embed', null],
  ['model.norm.weight', 'norm', null],
  ['lm_head.weight', 'head', null],
  ['h.0.mlp.c_fc.weight', 'ffn', 0, null, 'up'],
  ['h.0.attn.c_proj.weight', 'attention', 0],
  ['h.0.ln_1.weight', 'norm', 0],
  // GGUF
  ['blk.5.ffn_gate_inp.weight', 'router', 5],
  ['blk.5.exp_probs_b.bias', 'router', 5],
  ['blk.5.ffn_gate_exps.weight', 'expert', 5, 'packed', 'gate', 'gguf'],
  ['blk.5.ffn_down_exps.weight', 'expert', 5, 'packed', 'down', 'gguf'],
  ['blk.5.ffn_up.3.weight', 'expert', 5, 3, 'up', 'per-expert'],
  ['blk.5.ffn_up_shexp.weight', 'shared', 5, null, 'up'],
  ['blk.5.ffn_gate_inp_shexp.weight', 'shared_gate', 5],
  ['blk.5.ffn_down.weight', 'ffn', 5, null, 'down'],
  ['blk.5.attn_norm.weight', 'norm', 5],
  ['blk.5.attn_q_norm.weight', 'attention', 5],
  ['blk.5.attn_output.weight', 'attention', 5],
  ['token_embd.weight', 'embed', null],
  ['output.weight', 'head', null],
  ['output_norm.weight', 'norm', null],
];

describe('tensor names', () => {
  it.each(ROWS.map((row) => [row[0], row[1], row] as const))('%s is %s', (name, role, row) => {
    const [, , layer, expert = null, part = null, style = null] = row;
    const parsed = parseTensorName(name);
    expect({ role: parsed.role, layer: parsed.layer, expert: parsed.expert, style: parsed.style }).toEqual({
      role,
      layer,
      expert,
      style,
    });
    if (part !== null) expect(parsed.part).toBe(part);
  });

  it('tells weights from biases and from the data of quantised weights', () => {
    const suffix = (name: string): string => parseTensorName(name).suffix;
    expect(suffix('model.layers.0.mlp.experts.0.up_proj.weight')).toBe('weight');
    expect(suffix('model.layers.0.mlp.router.bias')).toBe('bias');
    expect(suffix('model.layers.0.mlp.experts.gate_up_proj_bias')).toBe('bias');
    expect(suffix('model.layers.0.mlp.experts.gate_up_proj_blocks')).toBe('quantisation');
    expect(suffix('model.layers.0.mlp.experts.0.up_proj.qweight')).toBe('quantisation');
    expect(suffix('model.layers.0.mlp.up_proj.weight_scale_inv')).toBe('quantisation');
  });

  it('keeps the towers of a composite model apart', () => {
    const tower = (name: string): string => parseTensorName(name).tower;
    expect(tower('model.visual.blocks.3.attn.qkv.weight')).toBe('vision');
    expect(tower('audio_tower.layers.3.fc1.weight')).toBe('audio');
    expect(tower('mtp.layers.0.mlp.experts.0.up_proj.weight')).toBe('mtp');
    expect(tower('model.language_model.layers.0.mlp.gate.weight')).toBe('text');
  });

  it('reads experts behind any prefix', () => {
    const prefix = fc
      .array(fc.constantFrom('model', 'language_model', 'base_model', 'module', 'x_1', '_orig_mod'), { maxLength: 4 })
      .map((parts) => parts.map((part) => `${part}.`).join(''));
    const tail = fc.constantFrom(...ROWS.filter(([name]) => name.startsWith('model.layers.')).map((row) => row));
    fc.assert(
      fc.property(prefix, tail, fc.nat(10_000), (before, [name, role, , expert = null], layer) => {
        const rest = name.replace(/^model\.layers\.\d+\./, '');
        const parsed = parseTensorName(`${before}layers.${String(layer)}.${rest}`);
        expect(parsed).toMatchObject({ role, layer, expert, stem: before });
      }),
    );
  });

  it('numbers any expert', () => {
    fc.assert(
      fc.property(fc.nat(100_000), fc.nat(1000), (expert, layer) => {
        const parsed = parseTensorName(`model.layers.${String(layer)}.mlp.experts.${String(expert)}.up_proj.weight`);
        expect([parsed.layer, parsed.expert]).toEqual([layer, expert]);
      }),
    );
  });

  it('takes any text without failing, and always says something sane', () => {
    const words = fc.constantFrom(
      ...new Set(ROWS.flatMap(([name]) => name.split('.'))),
      '',
      '__proto__',
      '1e9',
      '-1',
      '.',
    );
    const names = fc.oneof(
      fc.string({ maxLength: 60, unit: 'binary' }),
      fc.array(words, { maxLength: 12 }).map((w) => w.join('.')),
    );
    fc.assert(
      fc.property(names, (name) => {
        const parsed = parseTensorName(name);
        if (parsed.layer !== null) expect(Number.isSafeInteger(parsed.layer)).toBe(true);
        // An expert index comes with the role and only with it, and a packed tensor with its dimension.
        expect(parsed.expert !== null).toBe(parsed.role === 'expert');
        expect(parsed.style !== null).toBe(parsed.role === 'expert');
        expect(parsed.expertsDim).toBe(parsed.expert === 'packed' ? 0 : null);
      }),
      { numRuns: 500 },
    );
  });

  it('does not spend time on a name of megabytes', () => {
    const start = performance.now();
    expect(parseTensorName(`layers.0.${'experts.'.repeat(1_000_000)}`).role).toBe('other');
    expect(performance.now() - start).toBeLessThan(4000);
  });
});
