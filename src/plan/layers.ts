/** Which layers become MoE: the recipe's `layers` against the model's depth. */
import { MoeError } from '../common/errors.ts';
import type { Recipe } from '../recipe/types.ts';

/** One flag per layer. Throws MoeError `layers-out-of-range` / `layers-empty` naming the numbers. */
export function sparseLayers(layers: Recipe['layers'], depth: number): boolean[] {
  if (layers === 'all') return new Array<boolean>(depth).fill(true);
  const flags = new Array<boolean>(depth).fill(false);
  if (typeof layers === 'string') {
    const step = Number(layers.slice('every:'.length));
    for (let layer = 0; layer < depth; layer += 1) flags[layer] = (layer + 1) % step === 0;
  } else {
    const outside = layers.filter((layer) => layer >= depth);
    if (outside.length > 0) {
      throw new MoeError(
        'input',
        'layers-out-of-range',
        `layers names ${outside.join(', ')}, but the model has ${String(depth)} layers (0 to ${String(depth - 1)})`,
        { field: 'layers', hint: 'Layers are counted from 0.' },
      );
    }
    for (const layer of layers) flags[layer] = true;
  }
  if (!flags.includes(true)) {
    throw new MoeError(
      'input',
      'layers-empty',
      `layers ${JSON.stringify(layers)} selects none of the ${String(depth)} layers`,
      {
        field: 'layers',
        hint: 'Select at least one layer to become MoE.',
      },
    );
  }
  return flags;
}
