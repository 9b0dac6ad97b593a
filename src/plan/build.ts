/** The planner: a pure function of headers and a recipe. Nothing is read from or written to disk here. */
import type { Dtype } from 'safetensors-js';
import type { Checkpoint } from '../checkpoint/types.ts';
import { MoeError, grouped } from '../common/errors.ts';
import { chooseTarget, TARGET_FAMILIES } from '../families/index.ts';
import { flexibleTarget } from '../families/pairs.ts';
import type { MoeShape, Target } from '../families/targets/types.ts';
import type { Recipe, SharedPlan } from '../recipe/types.ts';
import { targetConfig } from './config.ts';
import { flopsPerToken } from './count.ts';
import { judgeExactness } from './exactness.ts';
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
import type { Scaling } from './scale.ts';
import { scalingOf } from './scale.ts';
import type { Plan, PlanSource, PlanWarning, Precondition } from './types.ts';
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
    rounding: restFolding ?? roundingReason(parents, outputDtype, scaling, outputIs16Bit),
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

function checkNumbers(recipe: Recipe): void {
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
function checkParents(parents: readonly Parent[]): void {
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

function pickTarget(recipe: Recipe, base: Parent, sparse: readonly boolean[]): Target['modelType'] {
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

function resolveShared(recipe: Recipe, target: Target, intermediate: number): { plan: SharedPlan; width: number } {
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

const DTYPES: Readonly<Record<Exclude<Recipe['output']['dtype'], 'same'>, Dtype>> = {
  float32: 'F32',
  bfloat16: 'BF16',
  float16: 'F16',
};

/** What a tensor stored as `native` is written as. A quantised GGUF becomes bf16 as a whole, its F32 norms included. */
function dtypePolicy(recipe: Recipe, parents: readonly Parent[]): (native: Dtype) => Dtype {
  const wish = recipe.output.dtype;
  if (wish !== 'same') return () => DTYPES[wish];
  return parents[0]?.quantised === true ? () => 'BF16' : (native) => native;
}

function replicaParents(recipe: Recipe, parents: readonly Parent[]): Parent[] {
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

interface Tie {
  readonly tied: boolean;
  readonly warnings: readonly PlanWarning[];
  readonly preconditions: readonly Precondition[];
}

function resolveTie(recipe: Recipe, base: Parent): Tie {
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

function roundingReason(
  parents: readonly Parent[],
  outputDtype: (native: Dtype) => Dtype,
  scaling: Scaling,
  is16Bit: boolean,
): string | null {
  const narrowed = new Set<string>();
  for (const parent of parents) {
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
  const tensors: Record<string, PlanSource['tensors'][string]> = Object.create(null) as Record<
    string,
    PlanSource['tensors'][string]
  >;
  for (const [name, tensor] of parent.physical) tensors[name] = tensor;
  return { path: parent.checkpoint.path, format: parent.checkpoint.format, modelType: parent.spec.modelType, tensors };
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
