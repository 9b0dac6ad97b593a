/** The planner: a pure function of headers and a recipe. Nothing is read from or written to disk here. */
import type { Checkpoint } from '../checkpoint/types.ts';
import { MoeError, grouped } from '../common/errors.ts';
import { TARGET_FAMILIES } from '../families/index.ts';
import type { MoeShape, Target } from '../families/targets/types.ts';
import type { Recipe, SharedPlan } from '../recipe/types.ts';
import { targetConfig } from './config.ts';
import { flopsPerToken } from './count.ts';
import { judgeExactness } from './exactness.ts';
import { checkNumbers, checkParents, pickTarget, replicaParents, resolveShared } from './decide.ts';
import { dtypePolicy, roundingReason } from './dtypes.ts';
import type { Draft, MoeContext } from './experts.ts';
import { moeLayer, nativeDtype } from './experts.ts';
import { planHash } from './hash.ts';
import { elementCount } from './infer.ts';
import { layOut } from './layout.ts';
import { sparseLayers } from './layers.ts';
import type { Parent } from './logical.ts';
import { readParent } from './logical.ts';
import { peakMemory } from './memory.ts';
import { describeRest, planRest } from './rest.ts';
import { scalingOf } from './scale.ts';
import { resolveTie } from './tie.ts';
import type { Plan, PlanSource } from './types.ts';
import { PLAN_SCHEMA } from './types.ts';
import { planWarnings } from './warnings.ts';

export interface BuildOptions {
  /** Can the target file system share blocks between files? Only `physicalBytes` depends on it. */
  readonly canClone?: boolean;
  /** Assumption sheet of the preset in use. */
  readonly assumptions?: readonly string[];
}

/**
 * Plans the upcycle of `checkpoints[0]` (the base; then the recipe's parents, in order). Throws MoeError kind `input`
 * (exit 3) when the request is impossible, naming the field or tensor.
 */
export function buildPlan(recipe: Recipe, checkpoints: readonly Checkpoint[], options: BuildOptions = {}): Plan {
  const parents = checkpoints.map((checkpoint, from) => readParent(checkpoint, from));
  const [base] = parents;
  if (base === undefined) throw new MoeError('usage', 'source-missing', 'No source checkpoint was given');
  checkNumbers(recipe);
  checkParents(parents);

  const { spec } = base;
  const sparse = sparseLayers(recipe.layers, spec.layers);
  const target = TARGET_FAMILIES[pickTarget(recipe, base, sparse)];
  if (spec.intermediate % recipe.granularity !== 0) {
    throw new MoeError(
      'input',
      'granularity-width',
      `granularity ${String(recipe.granularity)} does not divide intermediate_size ${grouped(spec.intermediate)}`,
      { field: 'granularity', hint: `Divisors are: ${divisors(spec.intermediate).join(', ')}.` },
    );
  }
  const shared = resolveShared(recipe, target, spec.intermediate);
  const scaling = scalingOf(recipe, shared.plan);
  const width = spec.intermediate / recipe.granularity;
  const moe: MoeShape = {
    experts: recipe.experts,
    topK: recipe.top_k,
    width,
    sparse,
    order: recipe.router.order,
    sharedWidth: target.sharedExpert ? shared.width : null,
  };

  const outputDtype = dtypePolicy(recipe, parents);
  const context: MoeContext = {
    recipe,
    target,
    hidden: spec.hidden,
    intermediate: spec.intermediate,
    width,
    replicaParents: replicaParents(recipe, parents),
    shared,
    scaling,
    outputDtype,
  };
  const tie = resolveTie(recipe, base);
  const drafts = planRest(
    { parents, average: recipe.rest === 'average', sparse, tied: tie.tied, outputDtype },
    (layer) => moeLayer(context, layer),
  );

  const ffnDtype = outputDtype(nativeDtype(base, base.expected.find(({ role }) => role === 'down')?.name ?? ''));
  const { config, warnings: configWarnings } = targetConfig({
    parent: base,
    target,
    moe,
    tied: tie.tied,
    dtype: ffnDtype,
    extra: recipe.config,
  });
  const { files, tensors } = layOut(drafts, recipe.output.shard_size);
  const parameters = countParameters(drafts, recipe, target);
  const denseTotal = base.expected.reduce(
    (sum, { shape, role }) => sum + (role === 'head' && tie.tied ? 0 : elementCount(shape)),
    0,
  );
  const outputIs16Bit = ffnDtype === 'BF16' || ffnDtype === 'F16';
  const restFolding = describeRest(base, outputDtype);
  const exactness = judgeExactness({
    recipe,
    shared: shared.plan,
    replicas: recipe.experts / recipe.granularity,
    hasOtherParents: parents.length > 1,
    rounding:
      restFolding ?? roundingReason(parents, outputDtype, scaling, outputIs16Bit, recipe.output.dtype === 'same'),
    folded: base.family.modelType === 'gemma',
    factor: scaling.factor,
    factorLossless: scaling.lossless,
    cubeRoot: scaling.cubeRoot,
  });
  const bytes = drafts.reduce((sum, draft) => sum + draft.bytes, 0);
  const headerBytes = files.reduce((sum, file) => sum + 8 + file.headerBytes, 0);
  const cloned = files.reduce((sum, file) => sum + (file.cloneOf === undefined ? 0 : file.dataBytes), 0);
  const clones = (options.canClone ?? false) && recipe.output.clone !== false;
  const memory = peakMemory(tensors, (from, name) => {
    const tensor = parents[from]?.physical.get(name);
    if (tensor === undefined) throw new Error(`unknown source tensor ${name}`);
    return tensor;
  });

  const unhashed: Omit<Plan, 'hash'> = {
    schema: PLAN_SCHEMA,
    recipe: filledIn(recipe, target, shared, tie.tied),
    sources: parents.map(planSource),
    target: {
      modelType: target.modelType,
      parameters,
      bytes,
      fileBytes: bytes + headerBytes,
      config,
      configFloats: base.checkpoint.configFloats ?? [],
    },
    source: {
      modelType: spec.modelType,
      parameters: denseTotal,
      bytes: [...base.physical.values()].reduce((sum, tensor) => sum + tensor.bytes, 0),
    },
    layers: sparse.map((isSparse, layer) => ({ layer, kind: isSparse ? 'moe' : 'dense' })),
    preconditions: tie.preconditions,
    files,
    tensors,
    exactness,
    flopsPerToken: flopsPerToken(spec, moe, parameters.active, denseTotal),
    peakMemoryBytes: memory.bytes,
    peakMemoryReason: memory.reason,
    physicalBytes: bytes + headerBytes - (clones ? cloned : 0),
    warnings: [
      ...tie.warnings,
      ...configWarnings,
      ...planWarnings({
        recipe,
        target: target.modelType,
        shared: target.sharedExpert ? shared.plan : 'none',
        sharedParameters: 3 * spec.hidden * shared.width * sparse.filter(Boolean).length,
        parents,
        outputIs16Bit,
        factorLossless: scaling.lossless,
        factor: scaling.factor,
      }),
    ],
    assumptions: [...(options.assumptions ?? []), ...paperNote(denseTotal, recipe, parameters)],
  };
  return { ...unhashed, hash: planHash(unhashed) };
}

function countParameters(drafts: readonly Draft[], recipe: Recipe, target: Target): { total: number; active: number } {
  let total = 0;
  let active = 0;
  for (const draft of drafts) {
    const elements = elementCount(draft.shape);
    total += elements;
    const stacked = target.experts.layout === 'stacked' && draft.shape.length === 3;
    if (draft.expert === null && !stacked) active += elements;
    else if (stacked) active += (elements / recipe.experts) * recipe.top_k;
    // The first top_k experts stand for any that a token selects: all have the same size.
    else if (draft.expert !== null && draft.expert < recipe.top_k) active += elements;
  }
  return { total, active };
}

function filledIn(recipe: Recipe, target: Target, shared: { plan: SharedPlan; width: number }, tied: boolean): Recipe {
  return {
    ...recipe,
    target: target.modelType,
    scale: recipe.scale === 'auto' ? 'exact' : recipe.scale,
    shared_expert: target.sharedExpert ? shared : 'none',
    tie: tied,
  };
}

function planSource(parent: Parent): PlanSource {
  const { path, format } = parent.checkpoint;
  return { path, format, modelType: parent.spec.modelType, tensors: parent.physical };
}

function divisors(n: number): number[] {
  const list: number[] = [];
  for (let d = 1; d <= Math.min(n, 256); d += 1) if (n % d === 0) list.push(d);
  return list;
}

/** The seed paper prints other counts for this very model; both are shown (upcycling.md §6.2). */
function paperNote(denseTotal: number, recipe: Recipe, parameters: { total: number; active: number }): string[] {
  if (
    denseTotal !== 8_030_261_248 ||
    recipe.experts !== 8 ||
    recipe.top_k !== 2 ||
    recipe.granularity !== 1 ||
    recipe.layers !== 'all'
  )
    return [];
  return [
    `The seed paper (arXiv 2412.09952, Table 1) prints 34.4B total / 11.8B active for this model; the true counts are ${grouped(parameters.total)} / ${grouped(parameters.active)}. ` +
      'The printed figures appear when each extra expert counts only two of the three SwiGLU matrices; the paper’s own FLOPs fit three.',
  ];
}
