/** Parameters and FLOPs of the planned model. Definitions: sharding.md §6.1 and §6.5. */
import type { DenseSpec } from '../families/index.ts';
import type { MoeShape } from '../families/targets/types.ts';
import type { FlopsPerToken } from './types.ts';

const DEFINITION =
  'Training FLOPs per token, forward + backward: 6 × matrix parameters used per token (embedding lookup excluded, lm_head ' +
  'included, routers excluded) plus 6·L·q·s for causal attention (Megatron’s definition). forward2N = 2 × active parameters.';

/** Sequence length that FLOPs are quoted at: the seed paper's figures fit 8,192; shorter where the model is. */
export function quotedSequence(spec: DenseSpec): number {
  const limit = spec.config['max_position_embeddings'];
  return typeof limit === 'number' && limit >= 1 ? Math.min(8192, limit) : 8192;
}

/** FLOPs per token of the planned MoE and of its dense source. */
export function flopsPerToken(spec: DenseSpec, moe: MoeShape, active: number, denseTotal: number): FlopsPerToken {
  const { hidden, intermediate, layers, vocab } = spec;
  const q = spec.heads * spec.headDim;
  const kv = spec.kvHeads * spec.headDim;
  const attentionLinear = layers * (hidden * (q + 2 * kv) + q * hidden);
  const denseFfn = 3 * hidden * intermediate;
  const sparseFfn = 3 * hidden * (moe.width * moe.topK + (moe.sharedWidth ?? 0));
  const ffn = moe.sparse.reduce((sum, sparse) => sum + (sparse ? sparseFfn : denseFfn), 0);
  const head = hidden * vocab;
  const sequence = quotedSequence(spec);
  const attentionScores = 6 * layers * q * sequence;
  const linear = 6 * (attentionLinear + ffn + head);
  const denseLinear = 6 * (attentionLinear + layers * denseFfn + head);
  return {
    trainingLinear: linear,
    trainingCausal: linear + attentionScores,
    sequence,
    forward2N: 2 * active,
    dense: {
      trainingLinear: denseLinear,
      trainingCausal: denseLinear + attentionScores,
      forward2N: 2 * denseTotal,
    },
    definition: DEFINITION,
  };
}
