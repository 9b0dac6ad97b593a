/**
 * Session creation by number of experts and layers (narrow weights in a file: creation depends on nodes, not bytes).
 * Goal: below 5 s for 64 experts. Prints process CPU milliseconds (robust on a busy machine) and wall time.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildForward, FORWARD_DEFAULTS } from '../../src/model/forward.ts';
import type { ForwardOptions } from '../../src/model/forward.ts';
import { specFromConfig } from '../../src/model/spec.ts';
import { FileBinder } from '../../src/model/weights.ts';
import type { WeightEntry, WeightSource } from '../../src/model/weights.ts';
import { GraphBuilder } from '../../src/onnx/builder.ts';
import { Session } from '../../src/runtime/session.ts';
import { gaussian, ms } from './measure.ts';

const folder = mkdtempSync(join(tmpdir(), 'moe-creation-'));
const file = join(folder, 'weights.bin');
writeFileSync(file, new Uint8Array(gaussian(1 << 18, 0.05, 1).buffer));

/** Answers for any tensor name with the shape asked for, all pointing into one small file. */
function sourceFor(config: Readonly<Record<string, number | string>>, dtype: 'F32' | 'BF16'): WeightSource {
  const shapes = new Map<string, readonly number[]>();
  const [D, F, E] = [
    Number(config['hidden_size']),
    Number(config['moe_intermediate_size'] ?? config['intermediate_size']),
    Number(config['num_experts']),
  ];
  const kv = Number(config['num_key_value_heads']) * 8;
  const put = (name: string, ...shape: number[]): void => void shapes.set(name, shape);
  put('model.embed_tokens.weight', Number(config['vocab_size']), D);
  put('lm_head.weight', Number(config['vocab_size']), D);
  put('model.norm.weight', D);
  for (let layer = 0; layer < Number(config['num_hidden_layers']); layer++) {
    const at = `model.layers.${layer}.`;
    put(`${at}input_layernorm.weight`, D);
    put(`${at}post_attention_layernorm.weight`, D);
    put(`${at}self_attn.q_proj.weight`, D, D);
    put(`${at}self_attn.k_proj.weight`, kv, D);
    put(`${at}self_attn.v_proj.weight`, kv, D);
    put(`${at}self_attn.o_proj.weight`, D, D);
    put(`${at}self_attn.q_norm.weight`, 8);
    put(`${at}self_attn.k_norm.weight`, 8);
    put(`${at}mlp.gate.weight`, E, D);
    for (let e = 0; e < E; e++) {
      put(`${at}mlp.experts.${e}.gate_proj.weight`, F, D);
      put(`${at}mlp.experts.${e}.up_proj.weight`, F, D);
      put(`${at}mlp.experts.${e}.down_proj.weight`, D, F);
    }
  }
  const width = dtype === 'F32' ? 4 : 2;
  const entry = (shape: readonly number[]): WeightEntry => ({
    dtype,
    shape,
    data: { kind: 'file', file, offset: 0, bytes: shape.reduce((a, b) => a * b, width) },
  });
  return {
    get: (name) => {
      const shape = shapes.get(name);
      return shape === undefined ? undefined : entry(shape);
    },
    names: () => shapes.keys(),
  };
}

async function measure(
  layers: number,
  experts: number,
  dtype: 'F32' | 'BF16',
  mode: ForwardOptions['experts'],
): Promise<void> {
  const config = {
    model_type: 'qwen3_moe',
    hidden_size: 64,
    intermediate_size: 32,
    moe_intermediate_size: 32,
    num_hidden_layers: layers,
    num_attention_heads: 8,
    num_key_value_heads: 2,
    head_dim: 8,
    vocab_size: 256,
    max_position_embeddings: 64,
    num_experts: experts,
    num_experts_per_tok: Math.min(8, experts),
  };
  const source = sourceFor(config, dtype);
  const started = performance.now();
  const g = new GraphBuilder();
  buildForward(g, specFromConfig(config), source, new FileBinder(g, source, () => 'weights.bin'), {
    ...FORWARD_DEFAULTS,
    experts: mode,
  });
  const size = g.serialize().length;
  const built = performance.now() - started;
  const cpu = process.cpuUsage();
  const start = performance.now();
  const session = await Session.create(g, { folder, weights: 'stored', threads: 1 });
  const used = process.cpuUsage(cpu);
  const wall = performance.now() - start;
  console.log(
    `${layers} layers, E${experts}, ${dtype}, ${mode}: ${g.nodes.length + g.prologue.length} nodes, ${(size / 1e6).toFixed(1)} MB; build ${ms(built)} ms; create ${ms(wall)} ms (cpu ${ms((used.user + used.system) / 1000)})`,
  );
  await session.release();
}

try {
  for (const mode of ['branch', 'flat'] as const) {
    await measure(32, 8, 'BF16', mode);
    await measure(8, 64, 'F32', mode);
    await measure(16, 64, 'F32', mode);
    await measure(16, 64, 'BF16', mode);
    await measure(48, 128, 'BF16', mode);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
