import type { DenseFamily } from '../spec.ts';
import { decoder, llamaLayer } from './parts.ts';

/** Qwen2 and 2.5: biases on q, k and v (never on o), fixed in the code and not in the config. */
export const qwen2: DenseFamily = {
  modelType: 'qwen2',
  title: 'Qwen2 (bias on q, k, v)',
  tiedByDefault: false,
  biasByDefault: true,
  tensors: (spec) => decoder(spec, (layer) => llamaLayer(spec, layer, true, false)),
};
