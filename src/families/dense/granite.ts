import type { DenseFamily } from '../spec.ts';
import { decoder, llamaLayer } from './parts.ts';

/** Granite: Llama's tensors, four multipliers in the config. */
export const granite: DenseFamily = {
  modelType: 'granite',
  title: 'Granite (Llama with four multipliers)',
  tiedByDefault: false,
  tensors: (spec) => decoder(spec, (layer) => llamaLayer(spec, layer, spec.attentionBias)),
};
