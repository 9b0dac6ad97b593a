/** Everything that is not a routed expert: copied, split (phi3), folded (gemma) or averaged (BTX), in layer order. */
import type { Dtype } from 'safetensors-js';
import type { ExpectedTensor } from '../families/index.ts';
import { layerPrefix } from '../families/targets/types.ts';
import type { Draft } from './experts.ts';
import { castAround, nativeDtype } from './experts.ts';
import type { Expr } from './expr.ts';
import { bytesOf } from './infer.ts';
import type { Parent } from './logical.ts';
import { append } from '../common/lists.ts';

export interface RestContext {
  readonly parents: readonly Parent[];
  /** Average attention and norms over all parents; embeddings and head are the base's in any case. */
  readonly average: boolean;
  readonly sparse: readonly boolean[];
  readonly tied: boolean;
  outputDtype(native: Dtype): Dtype;
}

const FFN_ROLES = new Set(['gate', 'up', 'down', 'gate-up']);

/** 1 + w of gemma's norms; GGUF already stores it so, and the two offsets cancel. */
function foldedNorm(expr: Expr): Expr {
  return expr.op === 'offset' && expr.by === -1 ? expr.of : { op: 'offset', of: expr, by: 1 };
}

/** All output tensors in order; `moe(layer)` gives those of an MoE layer's block. */
export function planRest(context: RestContext, moe: (layer: number) => Draft[]): Draft[] {
  const { parents, tied } = context;
  const [base] = parents;
  const drafts: Draft[] = [];
  if (base === undefined) return drafts;
  const gemma = base.family.modelType === 'gemma';
  const push = (name: string, source: ExpectedTensor, shape: readonly number[], make: (expr: Expr) => Expr): void => {
    const native = nativeDtype(base, source.name);
    const dtype = context.outputDtype(native);
    const averaged = context.average && parents.length > 1 && source.role !== 'embed' && source.role !== 'head';
    const expr = averaged
      ? castAround({ op: 'average', of: parents.map((parent) => parent.tensor(source.name)) }, native, dtype, make)
      : castAround(base.tensor(source.name), native, dtype, make);
    drafts.push({ name, dtype, shape, bytes: bytesOf(dtype, shape), expr, expert: null, layer: source.layer });
  };
  const same = (expr: Expr): Expr => expr;

  let done = -1;
  const finishLayer = (layer: number | null): void => {
    // The MoE block of a layer comes when its own tensors are through.
    if (done >= 0 && layer !== done && context.sparse[done] === true) append(drafts, moe(done));
    done = layer ?? -1;
  };
  const embed = base.expected.find(({ role }) => role === 'embed');
  for (const tensor of base.expected) {
    if (tensor.layer !== done) finishLayer(tensor.layer);
    const { name, shape, role } = tensor;
    if (role === 'head') continue;
    if (FFN_ROLES.has(role)) {
      if (tensor.layer !== null && context.sparse[tensor.layer] === true) continue;
      if (role !== 'gate-up') push(name, tensor, shape, same);
    } else if (role === 'qkv') {
      const { heads, kvHeads, headDim, hidden } = base.spec;
      let row = 0;
      for (const [projection, count] of [
        ['q_proj', heads],
        ['k_proj', kvHeads],
        ['v_proj', kvHeads],
      ] as const) {
        const begin = row;
        const end = row + count * headDim;
        row = end;
        const target = `${layerPrefix(tensor.layer ?? 0)}self_attn.${projection}.weight`;
        push(target, tensor, [end - begin, hidden], (expr) => ({ op: 'slice', of: expr, dim: 0, begin, end }));
      }
    } else if (gemma && role === 'norm') {
      push(name, tensor, shape, foldedNorm);
    } else if (gemma && role === 'embed') {
      push(name, tensor, shape, (expr) => ({ op: 'scale', of: expr, by: Math.sqrt(base.spec.hidden) }));
    } else {
      push(name, tensor, shape, same);
    }
  }
  finishLayer(null);
  if (!tied && embed !== undefined) {
    const head = base.expected.find(({ role }) => role === 'head');
    const stored: ExpectedTensor =
      base.hasHead && !gemma
        ? (head ?? { ...embed, name: 'lm_head.weight', role: 'head' })
        : { ...embed, role: 'head' };
    push('lm_head.weight', stored, embed.shape, same);
  }
  return drafts;
}

/** Why folding rounds (gemma into 16 bits); null where nothing is folded or nothing is lost. */
export function describeRest(base: Parent, outputDtype: (native: Dtype) => Dtype): string | null {
  if (base.family.modelType !== 'gemma') return null;
  const dtype = outputDtype(nativeDtype(base, 'model.norm.weight'));
  return dtype === 'F32' || dtype === 'F64'
    ? null
    : `gemma is folded (1 + w into the norms, √hidden into the embedding), which rounds in ${dtype}; output.dtype float32 is exact`;
}
