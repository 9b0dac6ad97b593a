/** Tied embeddings: what flag, file and recipe say, and what must be compared before writing. */
import { MoeError } from '../common/errors.ts';
import type { Recipe } from '../recipe/types.ts';
import type { Parent } from './logical.ts';
import type { PlanWarning, Precondition } from './types.ts';

export interface Tie {
  readonly tied: boolean;
  readonly warnings: readonly PlanWarning[];
  readonly preconditions: readonly Precondition[];
}

/** Is the output tied, and why. Throws `head-missing` or `tie-impossible`. */
export function resolveTie(recipe: Recipe, base: Parent): Tie {
  const gemma = base.family.modelType === 'gemma';
  const { tied } = base.spec;
  // Folding gemma's embedding scale unties: the head keeps the unscaled embedding.
  if (gemma) {
    if (recipe.tie === true) {
      throw new MoeError(
        'input',
        'tie-impossible',
        'tie true: gemma’s embedding is scaled by √hidden on folding, so lm_head must be a tensor of its own',
        { field: 'tie' },
      );
    }
    return {
      tied: false,
      warnings: [
        {
          code: 'untied',
          message: 'gemma → mixtral: the embedding is scaled by √hidden, so lm_head.weight is written out (untied).',
        },
      ],
      preconditions: [],
    };
  }
  if (!tied && !base.hasHead) {
    if (recipe.tie === true) {
      return {
        tied: true,
        warnings: [
          {
            code: 'tied-by-recipe',
            message: 'lm_head.weight is absent and config.json says untied; tie: true uses the embedding as head.',
          },
        ],
        preconditions: [],
      };
    }
    throw new MoeError(
      'input',
      'head-missing',
      'config.json says tie_word_embeddings false, but there is no lm_head.weight',
      {
        tensor: 'lm_head.weight',
        field: 'tie_word_embeddings',
        hint: 'Set tie: true if the embedding is the head, or fetch the missing tensor.',
      },
    );
  }
  if (!base.storedHeadOfTied) {
    if (tied && recipe.tie === false) {
      return {
        tied: false,
        warnings: [{ code: 'untied', message: 'tie false: lm_head.weight is written out as a copy of the embedding.' }],
        preconditions: [],
      };
    }
    if (!tied && recipe.tie === true) {
      return {
        tied: true,
        warnings: [
          {
            code: 'head-dropped',
            message:
              'tie true: lm_head.weight is dropped and the embedding is used as head; logits change unless the two are equal.',
          },
        ],
        preconditions: [equalHeads(base, 'tie true drops lm_head.weight')],
      };
    }
    return { tied, warnings: [], preconditions: [] };
  }
  if (recipe.tie === true) {
    return {
      tied: true,
      warnings: [
        { code: 'head-dropped', message: 'config.json says tied and lm_head.weight is stored; tie: true drops it.' },
      ],
      preconditions: [],
    };
  }
  if (recipe.tie === false) {
    return {
      tied: false,
      warnings: [
        {
          code: 'head-kept',
          message:
            'config.json says tied and lm_head.weight is stored; tie: false keeps it and writes tie_word_embeddings false.',
        },
      ],
      preconditions: [],
    };
  }
  return {
    tied: true,
    warnings: [
      {
        code: 'head-of-tied',
        message:
          'config.json says tied, yet lm_head.weight is stored. If its bytes equal the embedding’s it is dropped; if they differ the write stops until `tie` is set.',
      },
    ],
    preconditions: [equalHeads(base, 'config.json says tied, but lm_head.weight differs from the embedding')],
  };
}

function equalHeads(base: Parent, what: string): Precondition {
  const physical = (name: string): string => base.checkpoint.gguf?.get(name)?.tensor ?? name;
  return {
    kind: 'equal-tensors',
    from: 0,
    a: physical('model.embed_tokens.weight'),
    b: physical('lm_head.weight'),
    message: `${what}. Set tie: true to use the embedding as head, or tie: false to keep lm_head.weight.`,
  };
}
