import type { DenseFamily } from '../spec.ts';
import { decoder, llamaLayer } from './parts.ts';

/** Mistral: Llama's tensors, a sliding window in the config. It has no biases, whatever the config says. */
export const mistral: DenseFamily = {
  modelType: 'mistral',
  title: 'Mistral (Llama with a sliding window)',
  tiedByDefault: false,
  tensors: (spec) => decoder(spec, (layer) => llamaLayer(spec, layer, false)),
};
