/** What the recipe and the sources decide between them: target family, shared expert, who stands for which replica. */
import { MoeError, grouped } from '../common/errors.ts';
import { chooseTarget, TARGET_FAMILIES } from '../families/index.ts';
import { flexibleTarget } from '../families/pairs.ts';
import type { Target } from '../families/targets/types.ts';
import type { Recipe, SharedPlan } from '../recipe/types.ts';
import type { Parent } from './logical.ts';

/** top_k ≤ experts, whole replicas. */
export function checkNumbers(recipe: Recipe): void {
  const { experts, top_k: topK, granularity } = recipe;
  if (topK > experts) {
    throw new MoeError(
      'input',
      'top-k-exceeds-experts',
      `top_k ${String(topK)} is greater than experts ${String(experts)}; top_k must be at most experts`,
      { field: 'top_k' },
    );
  }
  if (experts % granularity !== 0) {
    throw new MoeError(
      'input',
      'experts-granularity',
      `experts ${String(experts)} is not a multiple of granularity ${String(granularity)}: each replica of the FFN needs all its ${String(granularity)} slices`,
      { field: 'experts' },
    );
  }
}

/** All shapes but the vocabulary must agree. */
export function checkParents(parents: readonly Parent[]): void {
  const [base, ...others] = parents;
  if (base === undefined) return;
  for (const other of others) {
    const fields = [
      'modelType',
      'hidden',
      'intermediate',
      'layers',
      'heads',
      'kvHeads',
      'headDim',
      'attentionBias',
      'mlpBias',
    ] as const;
    const differing = fields.filter((field) => base.spec[field] !== other.spec[field]);
    if (differing.length > 0) {
      const list = differing.map(
        (field) => `${field} ${String(base.spec[field])} against ${String(other.spec[field])}`,
      );
      throw new MoeError(
        'input',
        'parents-differ',
        `Parent ${other.checkpoint.path} does not fit the base: ${list.join('; ')}`,
        {
          field: 'parents',
          file: other.checkpoint.path,
          hint: 'Parents must be fine-tunes of one architecture and size.',
        },
      );
    }
  }
}

/** The target family, refused where it cannot keep dense layers or order the router as asked. */
export function pickTarget(recipe: Recipe, base: Parent, sparse: readonly boolean[]): Target['modelType'] {
  const allLayers = sparse.every(Boolean);
  const order = recipe.router.order;
  const name = chooseTarget(base.spec, { target: recipe.target, allLayers, order });
  const family = TARGET_FAMILIES[name];
  if (!allLayers && !family.keepsDenseLayers) {
    const other = flexibleTarget(base.spec, (candidate) => TARGET_FAMILIES[candidate].keepsDenseLayers);
    throw new MoeError(
      'input',
      'target-not-exact',
      `${name} cannot keep dense layers, and layers ${JSON.stringify(recipe.layers)} leaves some dense`,
      {
        field: 'layers',
        hint: other === undefined ? 'Use layers: all.' : `Use target: ${other}, which can, or layers: all.`,
      },
    );
  }
  if (order === 'softmax-topk' && !family.softmaxFirst) {
    const other = flexibleTarget(base.spec, (candidate) => TARGET_FAMILIES[candidate].softmaxFirst);
    throw new MoeError(
      'input',
      'target-not-exact',
      `${name} always computes top-k before softmax; router.order softmax-topk cannot be expressed`,
      {
        field: 'router.order',
        hint:
          other === undefined
            ? 'Use router.order: topk-softmax.'
            : `Use target: ${other}, or router.order: topk-softmax.`,
      },
    );
  }
  return name;
}

/** Plan and width of the shared expert. */
export function resolveShared(
  recipe: Recipe,
  target: Target,
  intermediate: number,
): { plan: SharedPlan; width: number } {
  const wish = recipe.shared_expert;
  const plan: SharedPlan =
    wish === 'auto' ? (target.sharedExpert ? 'a' : 'none') : typeof wish === 'string' ? wish : wish.plan;
  const width = typeof wish === 'object' ? wish.width : intermediate;
  if (target.sharedExpert && plan === 'none') {
    throw new MoeError(
      'input',
      'shared-expert-required',
      `shared_expert none: a ${target.modelType} layer always has a shared expert`,
      {
        field: 'shared_expert',
        hint: 'Use a (silent at first), b (half each) or c (the dense FFN stays as the shared expert).',
      },
    );
  }
  if (!target.sharedExpert && plan !== 'none') {
    throw new MoeError(
      'input',
      'shared-expert-impossible',
      `shared_expert ${plan}: ${target.modelType} has no shared expert`,
      {
        field: 'shared_expert',
        hint: 'Use target: qwen2_moe, or shared_expert: none.',
      },
    );
  }
  if (plan !== 'a' && plan !== 'none' && width !== intermediate) {
    throw new MoeError(
      'input',
      'shared-expert-width',
      `shared_expert ${plan} needs width ${grouped(intermediate)} (it is the dense FFN), not ${grouped(width)}`,
      { field: 'shared_expert.width' },
    );
  }
  if (width > intermediate) {
    throw new MoeError(
      'input',
      'shared-expert-width',
      `shared_expert.width ${grouped(width)} is greater than intermediate_size ${grouped(intermediate)}`,
      { field: 'shared_expert.width' },
    );
  }
  return { plan, width };
}

/** Whose FFN each full-width replica is a copy of. */
export function replicaParents(recipe: Recipe, parents: readonly Parent[]): Parent[] {
  const [base, ...others] = parents;
  const replicas = recipe.experts / recipe.granularity;
  if (base === undefined) return [];
  const list = others.flatMap((parent, index) => new Array<Parent>(recipe.parents[index]?.experts ?? 0).fill(parent));
  if (list.length > replicas) {
    throw new MoeError(
      'input',
      'parents-experts',
      `parents ask for ${String(list.length)} experts of full width, but experts ${String(recipe.experts)} at granularity ${String(recipe.granularity)} are ${String(replicas)}`,
      { field: 'parents' },
    );
  }
  // What the parents leave open is the base's; base experts come first, as mergekit lists them.
  return [...new Array<Parent>(replicas - list.length).fill(base), ...list];
}
