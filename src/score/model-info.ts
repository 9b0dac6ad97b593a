/** What a results file says of the model. */
import { basename } from 'node:path';
import type { Checkpoint } from '../checkpoint/types.ts';
import type { ModelInfo } from '../eval/run-types.ts';
import { fingerprintOf } from './fingerprint.ts';

export function modelInfo(checkpoint: Checkpoint, device: string): ModelInfo {
  const tensors = [...checkpoint.tensors.values()];
  return {
    name: basename(checkpoint.path),
    path: checkpoint.path,
    parameters: tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0),
    dtype: 'float32',
    device,
    engine: 'onnxruntime',
    fingerprint: fingerprintOf(checkpoint),
  };
}
