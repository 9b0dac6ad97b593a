import type { DenseFamily } from '../spec.ts';
import { decoder, llamaLayer } from './parts.ts';

/** Gemma 1: RMSNorm multiplies by 1 + w, embeddings are scaled by √hidden, tied. Both are folded into the weights. */
export const gemma: DenseFamily = {
  modelType: 'gemma',
  title: 'Gemma (norms of 1 + w, scaled embeddings, tied)',
  tiedByDefault: true,
  tensors: (spec) => decoder(spec, (layer) => llamaLayer(spec, layer, spec.attentionBias)),
};
