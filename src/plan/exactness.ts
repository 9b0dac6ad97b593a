/** How exactly the planned MoE computes the dense model's function, and why: upcycling.md §1 and §3. */
import type { Recipe, SharedPlan } from '../recipe/types.ts';
import type { Exactness, ExactnessClass } from './types.ts';

/** What decides the class, gathered by the planner. */
export interface ExactnessFacts {
  readonly recipe: Recipe;
  readonly shared: SharedPlan;
  /** Replicas E = experts / granularity. */
  readonly replicas: number;
  /** Other dense parents stand as experts, or the rest is averaged. */
  readonly hasOtherParents: boolean;
  /** Some stored value is rounded on the way (dtype narrowing, dequantising to 16 bits, folding into 16 bits). */
  readonly rounding: string | null;
  /** Constants of the dense forward pass are folded into weights (gemma). */
  readonly folded: boolean;
  /** The factor put on up × down (1: none), and whether it is lossless. */
  readonly factor: number;
  readonly factorLossless: boolean;
  /** Megatron's cube root on gate, up and down. */
  readonly cubeRoot: boolean;
}

const ORDER: readonly ExactnessClass[] = ['bit-exact', 'exact', 'approximate', 'not-preserving'];

function isPowerOfTwo(n: number): boolean {
  return n >= 1 && Number.isInteger(Math.log2(n));
}

/** The class and its reason. Several reasons at once give the worst class and name them all. */
export function judgeExactness(facts: ExactnessFacts): Exactness {
  const { recipe, shared, replicas } = facts;
  const { top_k: topK, experts } = recipe;
  const findings: { class: ExactnessClass; reason: string }[] = [];
  const add = (level: ExactnessClass, reason: string): void => {
    findings.push({ class: level, reason });
  };
  const routedSilent = shared === 'c';
  const softmaxFirst = recipe.router.order === 'softmax-topk';

  if (facts.hasOtherParents) {
    add('not-preserving', 'parents: experts come from different dense models, so no single dense function is kept');
  }
  switch (recipe.expert_init.method) {
    case 'noise':
      if (!routedSilent)
        add('approximate', `expert_init noise: N(0, ${String(recipe.expert_init.std)}) is added to expert weights`);
      break;
    case 'drop':
      if (!routedSilent)
        add('approximate', `expert_init drop: ${String(recipe.expert_init.ratio * 100)} % of the neurons are re-drawn`);
      break;
    case 'svd':
      if (!routedSilent) add('approximate', 'expert_init svd: weights outside the kept singular directions get noise');
      break;
    case 'permute':
      add('exact', 'expert_init permute: the order of summation inside each expert changes');
      break;
    default:
  }
  if (facts.folded) {
    add(
      'exact',
      'gemma is folded (1 + w into the norms, √hidden into the embedding): equal in float32, near in 16 bits',
    );
  }
  if (facts.rounding !== null) add('approximate', facts.rounding);

  if (!routedSilent) {
    if (softmaxFirst && topK < experts) {
      judgeSoftmaxFirst(facts, add);
    } else {
      judgeNormalised(facts, add);
    }
  }
  if (shared === 'b') add('exact', 'shared_expert b: half from the routed experts, half from the shared one');

  const worst = findings.reduce<ExactnessClass>(
    (level, finding) => (ORDER.indexOf(finding.class) > ORDER.indexOf(level) ? finding.class : level),
    'bit-exact',
  );
  const reasons = findings.filter((finding) => finding.class === worst).map((finding) => finding.reason);
  if (worst === 'bit-exact') {
    const why = routedSilent
      ? 'shared_expert c: the dense FFN stays as the shared expert, 2 × sigmoid(0) = 1, and routed experts are silent'
      : topK === 1 && !softmaxFirst
        ? 'top_k 1: the one expert has weight 1 and is a copy of the dense FFN'
        : softmaxFirst
          ? 'router zero: every probability is 1/experts, and the power-of-two scale undoes their sum exactly'
          : `router zero: all ${String(topK)} weights are 1/${String(topK)}, a power of two, and every expert is a copy`;
    return { class: worst, reason: `${why}; equal in every dtype` };
  }
  const lead =
    worst === 'exact' && replicas > 0
      ? 'Exact algebra (relative difference below 2e-6 in float32; bf16 differs by its rounding): '
      : '';
  return { class: worst, reason: lead + reasons.join('; ') };
}

type Add = (level: ExactnessClass, reason: string) => void;

function judgeScale(facts: ExactnessFacts, add: Add): boolean {
  if (facts.cubeRoot && facts.factor !== 1) {
    add(
      'approximate',
      'scale megatron: the published cube root on gate, up and down is not exact for SwiGLU (silu(s·g) ≠ s·silu(g))',
    );
    return false;
  }
  return true;
}

function judgeSoftmaxFirst(facts: ExactnessFacts, add: Add): void {
  const { recipe } = facts;
  const { top_k: topK, granularity, experts } = recipe;
  if (topK % granularity !== 0) {
    add(
      'not-preserving',
      `top_k ${String(topK)} is not a multiple of granularity ${String(granularity)}: some slices of the FFN are missing`,
    );
    return;
  }
  const needed = (experts * granularity) / topK;
  if (recipe.scale === 'none' && needed !== 1) {
    add(
      'not-preserving',
      `scale none with softmax-topk: the output is multiplied by the sum of the top-k probabilities (${String(topK)}/${String(experts)} when balanced)`,
    );
    return;
  }
  if (!judgeScale(facts, add)) return;
  if (recipe.router.init !== 'zero') {
    add(
      'approximate',
      'router.order softmax-topk: the top-k probabilities do not sum to a constant, so the factor fits only on average; exact only with router.init zero',
    );
    return;
  }
  judgeSummation(facts, add, 'router zero: every probability is 1/experts, and the scale undoes their sum');
}

function judgeNormalised(facts: ExactnessFacts, add: Add): void {
  const { recipe } = facts;
  const { top_k: topK, granularity } = recipe;
  if (topK % granularity !== 0) {
    add(
      'not-preserving',
      `top_k ${String(topK)} is not a multiple of granularity ${String(granularity)}: some slices of the FFN are missing`,
    );
    return;
  }
  if (recipe.scale === 'none' && granularity > 1) {
    add(
      'not-preserving',
      `scale none with granularity ${String(granularity)}: the output is the dense one divided by ${String(granularity)}`,
    );
    return;
  }
  if (!judgeScale(facts, add)) return;
  judgeSummation(
    facts,
    add,
    'the weights of the selected experts sum to 1 and every expert is a copy of the dense FFN',
  );
}

/** Same algebra; is it the same floating-point sum too? */
function judgeSummation(facts: ExactnessFacts, add: Add, algebra: string): void {
  const { recipe } = facts;
  const { top_k: topK, granularity } = recipe;
  if (!facts.factorLossless) {
    add(
      'exact',
      `${algebra}; the factor ${String(facts.factor)} is no power of two, so √ is put on up and down and rounds`,
    );
  }
  if (granularity > 1) {
    add(
      'exact',
      `${algebra}; split into ${String(granularity)} slices with up × down scaled by ${String(facts.factor)}, the order of summation changes`,
    );
    return;
  }
  const zeroExact = recipe.router.init === 'zero' && isPowerOfTwo(topK);
  if (topK > 1 && !zeroExact) {
    add(
      'exact',
      `${algebra}; the router’s weights round when they are summed (router.init zero with a power-of-two top_k would be bit-exact)`,
    );
  }
}
