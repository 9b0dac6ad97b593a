/** Building blocks of the dense families' tensor lists: names as transformers writes them, shapes [out, in]. */
import type { DenseSpec, ExpectedTensor, Role } from '../spec.ts';

/** A tensor of one layer: `suffix` follows `model.layers.N.`. */
export function layerTensor(layer: number, suffix: string, shape: readonly number[], role: Role): ExpectedTensor {
  return { name: `model.layers.${String(layer)}.${suffix}`, shape, role, layer };
}

/** q, k, v, o projections; biases on q/k/v and, unless `outputBias` is false, on o. */
export function attention(spec: DenseSpec, layer: number, bias: boolean, outputBias = bias): ExpectedTensor[] {
  const q = spec.heads * spec.headDim;
  const kv = spec.kvHeads * spec.headDim;
  const rows: [string, number, number, boolean][] = [
    ['q_proj', q, spec.hidden, bias],
    ['k_proj', kv, spec.hidden, bias],
    ['v_proj', kv, spec.hidden, bias],
    ['o_proj', spec.hidden, q, outputBias],
  ];
  return rows.flatMap(([name, out, input, biased]) => [
    layerTensor(layer, `self_attn.${name}.weight`, [out, input], 'attention'),
    ...(biased ? [layerTensor(layer, `self_attn.${name}.bias`, [out], 'attention')] : []),
  ]);
}

/** gate, up, down projections of a SwiGLU FFN, with biases where the config has `mlp_bias`. */
export function swiglu(spec: DenseSpec, layer: number): ExpectedTensor[] {
  const { hidden, intermediate } = spec;
  const rows: [string, Role, number, number][] = [
    ['gate_proj', 'gate', intermediate, hidden],
    ['up_proj', 'up', intermediate, hidden],
    ['down_proj', 'down', hidden, intermediate],
  ];
  return rows.flatMap(([name, role, out, input]) => [
    layerTensor(layer, `mlp.${name}.weight`, [out, input], role),
    ...(spec.mlpBias ? [layerTensor(layer, `mlp.${name}.bias`, [out], role)] : []),
  ]);
}

/** A norm weight of `size` elements (hidden by default). */
export function norm(spec: DenseSpec, layer: number, name: string, size = spec.hidden): ExpectedTensor {
  return layerTensor(layer, `${name}.weight`, [size], 'norm');
}

/** Embedding, the layers, the final norm and, unless tied, the head. */
export function decoder(spec: DenseSpec, layerTensors: (layer: number) => ExpectedTensor[]): ExpectedTensor[] {
  const list: ExpectedTensor[] = [
    { name: 'model.embed_tokens.weight', shape: [spec.vocab, spec.hidden], role: 'embed', layer: null },
  ];
  for (let layer = 0; layer < spec.layers; layer += 1) for (const tensor of layerTensors(layer)) list.push(tensor);
  list.push({ name: 'model.norm.weight', shape: [spec.hidden], role: 'norm', layer: null });
  if (!spec.tied) list.push({ name: 'lm_head.weight', shape: [spec.vocab, spec.hidden], role: 'head', layer: null });
  return list;
}

/** A layer of the Llama shape: pre-norms, attention, SwiGLU. */
export function llamaLayer(spec: DenseSpec, layer: number, bias: boolean, outputBias = bias): ExpectedTensor[] {
  return [
    norm(spec, layer, 'input_layernorm'),
    ...attention(spec, layer, bias, outputBias),
    norm(spec, layer, 'post_attention_layernorm'),
    ...swiglu(spec, layer),
  ];
}
