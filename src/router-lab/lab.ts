/**
 * The router lab: what routers would do with a user's text, before anything is written. The dense model is run and what its
 * feed-forward networks read is multiplied with the rows that each way of starting the router would write: where experts
 * compute what the dense network does, these are the very logits of the finished MoE.
 */
import type { Checkpoint } from '../checkpoint/types.ts';
import { MoeError } from '../common/errors.ts';
import { ExpertTrace } from '../eval/trace.ts';
import { traceReport } from '../eval/trace-report.ts';
import type { DropReport, LayerReport } from '../eval/trace-report.ts';
import { Evaluator, ResolvedLog } from '../evaluate/index.ts';
import { decodeFloats, requireFloat } from '../evaluate/codec.ts';
import { TARGET_FAMILIES } from '../families/index.ts';
import { resolveGates } from '../gates/resolve.ts';
import type { PromptModel } from '../gates/types.ts';
import { buildPlan } from '../plan/build.ts';
import type { ExactnessClass, Plan } from '../plan/types.ts';
import { isPromptInit } from '../recipe/types.ts';
import type { Recipe, RouterInit } from '../recipe/types.ts';
import { conditionNumber } from './condition.ts';

/** Tokens over which would-be drops are counted. */
export const DROP_WINDOW = 1024;
/** mergekit warns above this condition number: one or more experts will hardly be used. */
export const DEGENERATE = 5;

/** The dense model as the lab runs it. */
export interface LabModel extends PromptModel {
  routerLogits(
    rows: readonly (readonly number[])[],
    layers: readonly number[],
    routers: Float32Array,
    onText: (row: number, logits: Float32Array) => void,
  ): Promise<void>;
}

/** A way to start the router; what is not given is the recipe's. */
export interface Candidate {
  readonly init: RouterInit;
  readonly std?: number | undefined;
}

export interface LabRequest {
  readonly recipe: Recipe;
  /** Base first, then the recipe's parents. */
  readonly checkpoints: readonly Checkpoint[];
  readonly candidates: readonly Candidate[];
  /** Windows of tokens, each run by itself. */
  readonly windows: readonly (readonly number[])[];
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: { readonly done: number; readonly total: number }) => void) | undefined;
}

export interface LabLayer extends Pick<
  LayerReport,
  | 'layer'
  | 'tokens'
  | 'nonFinite'
  | 'counts'
  | 'load'
  | 'importance'
  | 'routerEntropy'
  | 'loadEntropy'
  | 'maxVio'
  | 'dead'
  | 'cold'
  | 'margin'
  | 'bf16TieRate'
> {
  /** Of the rows of full-width experts; null for zeros, `infinite` where rows depend on one another. */
  readonly condition: number | 'infinite' | null;
  /** Of valid tokens (there are no pads), by both capacity conventions. */
  readonly drops: readonly Omit<DropReport, 'base'>[];
}

export interface LabResult {
  readonly init: RouterInit;
  /** Null where it has no effect. */
  readonly std: number | null;
  readonly layers: readonly LabLayer[];
  /** Mean over layers. */
  readonly maxVio: number | null;
  /** What speaks against it, in words. */
  readonly warnings: readonly string[];
}

export interface LabReport {
  readonly experts: number;
  readonly topK: number;
  readonly granularity: number;
  readonly order: Recipe['router']['order'];
  readonly tokens: number;
  readonly dropWindow: number;
  readonly results: readonly LabResult[];
  /** Where the prediction is not what the finished MoE will do. */
  readonly notes: readonly string[];
}

interface Prepared {
  readonly candidate: Candidate;
  readonly plan: Plan;
  /** [experts, hidden] per layer, as they would be stored. */
  readonly routers: readonly Float32Array[];
}

/** Runs the windows through the model once and judges all candidates by them. */
export async function routerLab(model: LabModel, request: LabRequest): Promise<LabReport> {
  const { recipe, checkpoints, windows, signal, onProgress } = request;
  if (request.candidates.length === 0)
    throw new MoeError('usage', 'no-candidates', 'The router lab needs at least one way to start the router.');
  const prepared: Prepared[] = [];
  for (const candidate of request.candidates)
    prepared.push(await prepare(model, recipe, checkpoints, candidate, signal));
  const [first] = prepared;
  const layers = first?.plan.layers.filter(({ kind }) => kind === 'moe').map(({ layer }) => layer) ?? [];
  const { experts, top_k: topK } = recipe;
  const traces = prepared.map(
    () =>
      new ExpertTrace({
        layers,
        experts,
        topK,
        normTopK: recipe.router.order === 'topk-softmax',
        dropWindow: DROP_WINDOW,
        pairs: 'adjacent-rank',
        vocabularyCounters: 0,
      }),
  );
  const total = windows.reduce((sum, window) => sum + window.length, 0);
  let done = 0;
  await model.routerLogits(windows, layers, joined(prepared, layers.length), (row, logits) => {
    const tokens = windows[row]?.length ?? 0;
    traces.forEach((trace, which) => {
      layers.forEach((layer, at) => {
        trace.observe({ layer, tokens, logits: part(logits, at, tokens, experts, which, prepared.length) });
      });
    });
    done += tokens;
    onProgress?.({ done, total });
  });
  return {
    experts,
    topK,
    granularity: recipe.granularity,
    order: recipe.router.order,
    tokens: total,
    dropWindow: DROP_WINDOW,
    results: prepared.map((entry, which) => judged(entry, traces[which], recipe)),
    notes: notesOf(recipe, first?.plan.exactness.class ?? 'exact', total),
  };
}

/** A plan from headers, and from it the router rows exactly as the writer would make them. */
async function prepare(
  model: PromptModel,
  recipe: Recipe,
  checkpoints: readonly Checkpoint[],
  candidate: Candidate,
  signal: AbortSignal | undefined,
): Promise<Prepared> {
  const { init, std = recipe.router.std } = candidate;
  if (isPromptInit(init) && (recipe.router.prompts ?? []).length !== recipe.experts / recipe.granularity)
    throw new MoeError(
      'input',
      'prompts-not-per-expert',
      `router.init ${init} needs prompts for each of the ${recipe.experts / recipe.granularity} experts, got ${recipe.router.prompts?.length ?? 0}`,
      { field: 'router.prompts', hint: 'List them under router.prompts of a recipe.' },
    );
  const plan = buildPlan({ ...recipe, router: { ...recipe.router, init, std } }, checkpoints);
  const resolved = new ResolvedLog();
  await resolveGates(plan, resolved, checkpoints, (_base, use) => use(model), signal);
  const evaluator = new Evaluator(checkpoints, recipe.seed, resolved);
  try {
    const { router } = TARGET_FAMILIES[plan.target.modelType as keyof typeof TARGET_FAMILIES];
    const tensors = new Map(plan.tensors.map((tensor) => [tensor.name, tensor]));
    const routers = plan.layers.flatMap(({ layer, kind }) => {
      const tensor = kind === 'moe' ? tensors.get(router(layer)) : undefined;
      if (tensor === undefined) return [];
      const count = tensor.shape.reduce((a, b) => a * b, 1);
      const values = new Float64Array(count);
      decodeFloats(requireFloat(tensor.dtype, 'router'), evaluator.readBytes(tensor.expr, 0, count), count, values);
      return [Float32Array.from(values)];
    });
    return { candidate, plan, routers };
  } finally {
    evaluator.sources.close();
  }
}

/** All candidates' rows of a layer, one candidate after another; layer by layer. */
function joined(prepared: readonly Prepared[], layers: number): Float32Array {
  const pieces = Array.from({ length: layers }, (_, at) => prepared.map(({ routers }) => routers[at])).flat();
  const all = new Float32Array(pieces.reduce((sum, piece) => sum + (piece?.length ?? 0), 0));
  let at = 0;
  for (const piece of pieces) {
    if (piece === undefined) continue;
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** One candidate's logits of one layer, [tokens, experts]. */
function part(
  logits: Float32Array,
  layer: number,
  tokens: number,
  experts: number,
  which: number,
  candidates: number,
): Float32Array {
  const rows = experts * candidates;
  const out = new Float32Array(tokens * experts);
  for (let token = 0; token < tokens; token++) {
    const from = (layer * tokens + token) * rows + which * experts;
    out.set(logits.subarray(from, from + experts), token * experts);
  }
  return out;
}

function judged({ candidate, routers }: Prepared, trace: ExpertTrace | undefined, recipe: Recipe): LabResult {
  if (trace === undefined) throw new Error('a candidate without a trace');
  const report = traceReport(trace);
  const { experts, granularity } = recipe;
  const layers = report.layers.map((layer, at): LabLayer => {
    const { tokens, nonFinite, counts, load, importance, routerEntropy, loadEntropy, maxVio } = layer;
    const { dead, cold, margin, bf16TieRate } = layer;
    const matrix = routers[at] ?? new Float32Array();
    const size = matrix.length / experts;
    return {
      layer: layer.layer,
      tokens,
      nonFinite,
      counts,
      load,
      importance,
      routerEntropy,
      loadEntropy,
      maxVio,
      dead,
      cold,
      margin,
      bf16TieRate,
      condition: conditionNumber(everyNth(matrix, size, granularity), experts / granularity, size),
      drops: layer.drops.filter(({ base }) => base === 'valid-tokens').map(({ base: _, ...drop }) => drop),
    };
  });
  const { init, std } = candidate;
  return {
    init,
    std: init === 'zero' || isPromptInit(init) ? null : (std ?? recipe.router.std),
    layers,
    maxVio: report.maxVio,
    warnings: warningsOf(layers),
  };
}

/** With granularity, rows of a replica are equal on purpose: one of each. */
function everyNth(matrix: Float32Array, size: number, n: number): Float32Array {
  if (n === 1) return matrix;
  const rows = matrix.length / size / n;
  const out = new Float32Array(rows * size);
  for (let row = 0; row < rows; row++) out.set(matrix.subarray(row * n * size, (row * n + 1) * size), row * size);
  return out;
}

function warningsOf(layers: readonly LabLayer[]): string[] {
  const warnings: string[] = [];
  const where = (test: (layer: LabLayer) => boolean): string | null => {
    const found = layers.filter(test).map(({ layer }) => layer);
    if (found.length === 0) return null;
    return found.length === layers.length ? 'every layer' : `layer ${found.join(', ')}`;
  };
  const warn = (places: string | null, what: string): void => {
    if (places !== null) warnings.push(`${places}: ${what}`);
  };
  warn(
    where(({ margin }) => margin !== null && margin.mean === 0),
    'all logits are equal, so every token goes to the lowest experts',
  );
  warn(
    where(({ dead }) => dead.length > 0),
    'experts that no token chose',
  );
  warn(
    where(({ condition }) => condition === 'infinite' || (condition ?? 0) > DEGENERATE),
    `condition number of the rows above ${DEGENERATE}: prompts or rows are too alike, some experts will hardly be used`,
  );
  warn(
    where(({ bf16TieRate, margin }) => margin?.mean !== 0 && (bf16TieRate ?? 0) > 0.01),
    'more than 1 % of tokens tie at the top-k border in bfloat16, where the choice is arbitrary',
  );
  warn(
    where(({ nonFinite }) => nonFinite > 0),
    'some logits are not finite numbers',
  );
  return warnings;
}

function notesOf(recipe: Recipe, exactness: ExactnessClass, tokens: number): string[] {
  const notes: string[] = [];
  if (exactness === 'approximate' || exactness === 'not-preserving')
    notes.push(
      `The plan is ${exactness}: layers after the first MoE layer will read something else than they do in the dense model, so their numbers are estimates.`,
    );
  if (recipe.parents.length > 0) notes.push('There are several parents; the text was run through the base.');
  if (tokens < DROP_WINDOW)
    notes.push(`Drops are counted over ${tokens} tokens; more text gives steadier numbers (${DROP_WINDOW} at a time).`);
  return notes;
}
