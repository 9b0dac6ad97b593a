/** Python that reads one tensor, to paste into a notebook. */
import { join } from 'node:path';
import type { Checkpoint, SourceTensor } from '../checkpoint/types.ts';
import { ggmlTypeByName } from '../gguf/ggml-types.ts';

/**
 * Lines that read the tensor with the safetensors or gguf package. Names and paths are quoted: whatever a file calls a tensor
 * stays a string.
 */
export function pythonFor(tensor: SourceTensor, cp: Checkpoint): string {
  const path = cp.files.find((file) => file.name === tensor.file)?.path ?? join(cp.root, tensor.file);
  const shape = `${tensor.dtype} [${tensor.shape.join(', ')}]`;
  if (cp.format === 'gguf') {
    const decode =
      ggmlTypeByName(tensor.dtype)?.quantised === false && tensor.dtype !== 'BF16'
        ? 'values = tensor.data'
        : 'values = dequantize(tensor.data, tensor.tensor_type)  # float32';
    return [
      'from gguf import GGUFReader',
      'from gguf.quants import dequantize',
      '',
      `reader = GGUFReader(${pythonText(path)})`,
      `tensor = next(t for t in reader.tensors if t.name == ${pythonText(tensor.name)})  # ${shape}`,
      decode,
      '',
    ].join('\n');
  }
  return [
    'from safetensors import safe_open',
    '',
    `with safe_open(${pythonText(path)}, framework="pt") as f:`,
    `    tensor = f.get_tensor(${pythonText(tensor.name)})  # ${shape}`,
    '',
  ].join('\n');
}

/** A Python string literal: JSON's escapes are Python's, and what is left are characters that Python takes as they are. */
export function pythonText(text: string): string {
  // Characters that reorder or break lines on screen are escaped: pasted code must read as it runs.
  return JSON.stringify(text).replace(
    /[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
