/** What each tensor is written as, and whether that rounds. */
import type { Dtype } from 'safetensors-js';
import type { Recipe } from '../recipe/types.ts';
import { nativeDtype } from './experts.ts';
import type { Parent } from './logical.ts';
import type { Scaling } from './scale.ts';

const DTYPES: Readonly<Record<Exclude<Recipe['output']['dtype'], 'same'>, Dtype>> = {
  float32: 'F32',
  bfloat16: 'BF16',
  float16: 'F16',
};

/** What a tensor stored as `native` is written as. A quantised GGUF becomes bf16 as a whole, its F32 norms included. */
export function dtypePolicy(recipe: Recipe, parents: readonly Parent[]): (native: Dtype) => Dtype {
  const wish = recipe.output.dtype;
  if (wish !== 'same') return () => DTYPES[wish];
  return parents[0]?.quantised === true ? () => 'BF16' : (native) => native;
}

/** Why stored values are rounded; null where none is. */
export function roundingReason(
  parents: readonly Parent[],
  outputDtype: (native: Dtype) => Dtype,
  scaling: Scaling,
  is16Bit: boolean,
  /** output.dtype is `same`. */
  same: boolean,
): string | null {
  const narrowed = new Set<string>();
  for (const parent of parents) {
    // Nothing is converted where dtypes stay: the common case needs no look at every tensor.
    if (!parent.quantised && same) continue;
    for (const { name, role } of parent.expected) {
      if (role === 'head' && !parent.hasHead) continue;
      const native = nativeDtype(parent, name);
      const output = outputDtype(native);
      if (native !== output && !isLossless(native, output))
        narrowed.add(`${parent.quantised ? 'dequantised ' : ''}${native} → ${output}`);
    }
  }
  if (narrowed.size > 0) return `output.dtype: ${[...narrowed].join(', ')} rounds`;
  if (!scaling.lossless && is16Bit) return `scale: √${String(scaling.factor)} on up and down rounds in 16 bits`;
  return null;
}

function isLossless(from: Dtype, to: Dtype): boolean {
  return (
    from === to ||
    ((from === 'BF16' || from === 'F16') && (to === 'F32' || to === 'F64')) ||
    (from === 'F32' && to === 'F64')
  );
}
