/** Checkpoints of names alone, for models that never read data. */
import type { Checkpoint, SourceTensor } from '../../src/checkpoint/types.ts';
import type { RowView } from '../../src/view/wire-types.ts';

export type Spec = readonly [name: string, shape?: readonly number[], dtype?: SourceTensor['dtype'], file?: string];

export function checkpointOf(specs: readonly Spec[], more: Partial<Checkpoint> = {}): Checkpoint {
  const tensors = new Map<string, SourceTensor>();
  let begin = 0;
  for (const [name, shape = [4, 8], dtype = 'BF16', file = 'model.safetensors'] of specs) {
    const bytes = shape.reduce((a, b) => a * b, 1) * (dtype === 'F32' ? 4 : 2);
    tensors.set(name, { name, dtype, shape, file, begin, bytes });
    begin += bytes;
  }
  const files = [...new Set([...tensors.values()].map(({ file }) => file))];
  return {
    path: '/models/demo',
    root: '/models/demo',
    format: 'hf',
    config: null,
    tensors,
    aliases: new Map(),
    gguf: null,
    files: files.map((name) => ({ name, path: `/models/demo/${name}`, bytes: begin, state: 'ok' as const })),
    index: null,
    sidecars: [],
    problems: [],
    planOnly: false,
    ...more,
  };
}

export function viewOf(more: Partial<RowView> = {}): RowView {
  return { filter: '', order: 'name', descending: false, shape: 'tree', toggled: [], open: 'default', ...more };
}

/** A small MoE: layer 0 dense, layers 1–3 with two experts each. */
export function smallMoe(): Spec[] {
  const specs: Spec[] = [['model.embed_tokens.weight', [100, 8]]];
  for (let layer = 0; layer < 4; layer++) {
    const at = `model.layers.${String(layer)}`;
    specs.push([`${at}.self_attn.q_proj.weight`, [8, 8]], [`${at}.input_layernorm.weight`, [8], 'F32']);
    if (layer === 0) specs.push([`${at}.mlp.up_proj.weight`, [16, 8]]);
    else {
      specs.push([`${at}.mlp.gate.weight`, [2, 8]]);
      for (let e = 0; e < 2; e++) {
        for (const part of ['gate_proj', 'up_proj']) {
          specs.push([`${at}.mlp.experts.${String(e)}.${part}.weight`, [16, 8], 'BF16', 'b.safetensors']);
        }
      }
    }
  }
  specs.push(['lm_head.weight', [100, 8]]);
  return specs;
}
