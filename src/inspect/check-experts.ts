/** Experts against each other, against the router and against config.json. */
import type { Checkpoint, Problem } from '../checkpoint/types.ts';
import { listed } from '../checkpoint/errors.ts';
import { grouped } from '../common/errors.ts';
import type { JsonObject } from '../common/json.ts';
import { parseTensorName } from './expert-names.ts';
import { expertCount, isMoeLayer } from './experts.ts';
import type { ExpertSummary } from './experts.ts';
import { ALL_PARTS } from './facts.ts';
import type { Facts, LayerFacts } from './facts.ts';
import { modelTypeOf, normTopkProb, textSection } from './moe-config.ts';
import type { MoeConfig } from './moe-config.ts';
import { counted } from '../common/words.ts';
import { append } from '../common/lists.ts';

/** All checks that concern experts. `config` may be null (a lone file). */
export function checkExperts(
  cp: Checkpoint,
  config: JsonObject | null,
  facts: Facts,
  moe: MoeConfig | null,
  experts: ExpertSummary,
): Problem[] {
  const layers = [...facts.layers.values()].filter((layer) => layer.tower === 'text' && isMoeLayer(layer));
  return [
    ...checkHoles(layers, moe, cp),
    ...checkCounts(layers, moe, cp),
    ...checkWidth(experts, moe, cp),
    ...checkTopK(experts, moe),
    ...(config === null ? [] : [...checkNorm(config), ...checkUnusedWidth(config, facts, moe)]),
  ];
}

/** Experts, or projections of them, that a layer lacks while its neighbours have them. */
function checkHoles(layers: readonly LayerFacts[], moe: MoeConfig | null, cp: Checkpoint): Problem[] {
  const holes: string[] = [];
  let count = 0;
  const add = (text: string): void => {
    count++;
    if (holes.length < 100) holes.push(text);
  };
  let parts = 0;
  for (const layer of layers) for (const bits of layer.experts.values()) parts |= bits;
  for (const layer of layers) {
    if (layer.experts.size === 0) continue;
    const highest = [...layer.experts.keys()].reduce((a, b) => Math.max(a, b), 0) + 1;
    // Sparse numbering is either a lost expert or a hostile name; a few thousand are looked at.
    const wanted = Math.min(Math.max(moe?.experts ?? 0, highest), layer.experts.size + 1000);
    for (let expert = 0; expert < wanted; expert++) {
      const bits = layer.experts.get(expert);
      if (bits === undefined) add(`layer ${String(layer.layer)} expert ${String(expert)}`);
      else if ((bits & parts) !== parts) {
        add(`layer ${String(layer.layer)} expert ${String(expert)} (no ${partsText(parts & ~bits)})`);
      }
    }
  }
  const problems: Problem[] = [];
  if (count > 0) {
    problems.push({
      severity: 'error',
      code: 'missing-experts',
      message: `${counted(count, 'expert is', 'experts are')} missing or incomplete: ${listed(holes)}`,
      hint: 'Fetch the missing weights.',
      details: { experts: holes, count },
    });
  }
  if (cp.index !== null) append(problems, checkIndexExperts(layers, moe, cp));
  return problems;
}

function partsText(bits: number): string {
  const names = [(bits & 1) > 0 ? 'gate' : '', (bits & 2) > 0 ? 'up' : '', (bits & 4) > 0 ? 'down' : ''];
  return bits === ALL_PARTS ? 'projection' : names.filter((name) => name !== '').join(' and ');
}

/** An index that knows fewer experts than the files hold (field case G7-07). */
function checkIndexExperts(layers: readonly LayerFacts[], moe: MoeConfig | null, cp: Checkpoint): Problem[] {
  // Only worth the walk where the index and the files are known to differ.
  if (!cp.problems.some((problem) => problem.code === 'unlisted-file' || problem.code === 'unlisted-tensors'))
    return [];
  const inIndex = new Set<number>();
  for (const name of cp.index?.weightMap.keys() ?? []) {
    const { expert } = parseTensorName(name);
    if (typeof expert === 'number') inIndex.add(expert);
  }
  const inFiles = layers.reduce((most, layer) => Math.max(most, layer.experts.size), 0);
  if (inIndex.size >= inFiles) return [];
  const config = moe === null ? 'none' : String(moe.experts);
  return [
    {
      severity: 'error',
      code: 'index-experts',
      message: `Experts: index ${String(inIndex.size)}, files ${String(inFiles)}, config ${config}`,
      hint: 'Rebuild the index from the files.',
      details: { index: inIndex.size, files: inFiles, config: moe?.experts ?? null },
    },
  ];
}

function checkCounts(layers: readonly LayerFacts[], moe: MoeConfig | null, cp: Checkpoint): Problem[] {
  const problems: Problem[] = [];
  const counts = new Map<number, number[]>();
  for (const layer of layers) {
    const experts = expertCount(layer);
    if (experts === null) continue;
    const rows = layer.router?.[0];
    if (rows !== undefined && layer.firstExpert !== null && rows !== experts && !layer.router?.includes(experts)) {
      problems.push({
        severity: 'error',
        code: 'router-mismatch',
        message: `Layer ${String(layer.layer)}: the router has ${grouped(rows)} rows for ${grouped(experts)} experts`,
        hint: 'Router and experts are not of the same model.',
      });
      if (problems.length > 20) break;
    }
    counts.set(experts, [...(counts.get(experts) ?? []), layer.layer]);
  }
  if (counts.size > 1) {
    const text = [...counts]
      .map(([experts, of]) => `${String(experts)} in layer(s) ${listed(of.map(String))}`)
      .join('; ');
    problems.push({
      severity: 'warning',
      code: 'experts-differ',
      message: `The layers have different numbers of experts: ${text}`,
    });
  }
  for (const [experts, of] of counts) {
    // Missing experts of a layer are named one by one by the check for holes.
    if (moe === null || experts === moe.experts || (experts < moe.experts && hasIndexed(layers, of))) continue;
    problems.push({
      severity: 'error',
      code: 'experts-mismatch',
      file: 'config.json',
      message: `config.json has ${moe.fields.experts} ${String(moe.experts)}, the files hold ${String(experts)} experts in ${of.length === 1 ? 'layer' : 'layers'} ${listed(of.map(String))}`,
      hint: `Correct ${moe.fields.experts} in config.json, or fetch the weights that belong to it.`,
      details: { field: moe.fields.experts, config: moe.experts, tensors: experts },
    });
  }
  const none = moe !== null && moe.experts > 1 && !layers.some((layer) => layer.firstExpert !== null);
  if (none && !cp.planOnly && cp.pieces === undefined) {
    problems.push({
      severity: 'error',
      code: 'experts-missing',
      file: 'config.json',
      message: `config.json has ${moe.fields.experts} ${String(moe.experts)}, but no tensor of an expert was found`,
      hint: 'Fetch the missing weights; if they are there, their names are of a layout that is not known here.',
    });
  }
  return problems;
}

function hasIndexed(layers: readonly LayerFacts[], of: readonly number[]): boolean {
  return layers.some((layer) => of.includes(layer.layer) && layer.experts.size > 0);
}

function checkWidth(experts: ExpertSummary, moe: MoeConfig | null, cp: Checkpoint): Problem[] {
  const { width } = experts;
  if (moe === null || moe.width === null || width === null || moe.width === width || cp.planOnly) return [];
  return [
    {
      // Where the family is known tensor by tensor, the shapes are errors of their own.
      severity: 'warning',
      code: 'expert-width-mismatch',
      file: 'config.json',
      message: `config.json has ${moe.fields.width ?? 'an expert width of'} ${String(moe.width)}, but the experts are ${String(width)} wide`,
      hint: 'Correct config.json.',
      details: { field: moe.fields.width, config: moe.width, tensors: width },
    },
  ];
}

function checkTopK(experts: ExpertSummary, moe: MoeConfig | null): Problem[] {
  const { topK, perLayer } = experts;
  if (topK === null) {
    return [
      {
        severity: 'warning',
        code: 'top-k-unknown',
        message:
          moe === null
            ? 'There is no config, so how many experts a token uses is unknown: active parameters cannot be told'
            : 'config.json does not say how many experts a token uses: active parameters cannot be told',
        hint: 'Add num_experts_per_tok to config.json.',
      },
    ];
  }
  if (topK <= perLayer || perLayer === 0) return [];
  return [
    {
      severity: 'error',
      code: 'top-k-exceeds-experts',
      file: 'config.json',
      message: `config.json selects ${String(topK)} experts per token (${moe?.fields.topK ?? 'top-k'}), but there are ${String(perLayer)}`,
      hint: 'Correct config.json.',
    },
  ];
}

function checkNorm(config: JsonObject): Problem[] {
  const norm = normTopkProb(config);
  if (norm?.absent !== true) return [];
  const family = modelTypeOf(textSection(config).section) ?? 'this family';
  return [
    {
      severity: 'warning',
      code: 'norm-topk-prob-absent',
      file: 'config.json',
      message: `norm_topk_prob is absent, which means ${String(norm.value)} for ${family}: the weights of the selected experts do not sum to 1`,
      hint: 'Write it into config.json as the model was trained.',
    },
  ];
}

/** `intermediate_size` beside `moe_intermediate_size` where no layer is dense (field case G2-08). */
function checkUnusedWidth(config: JsonObject, facts: Facts, moe: MoeConfig | null): Problem[] {
  const plain = textSection(config).section['intermediate_size'];
  if (moe === null || moe.fields.width === null || typeof plain !== 'number') return [];
  if (moe.fields.width.endsWith('intermediate_size') && !moe.fields.width.includes('moe')) return [];
  let layers = 0;
  for (const layer of facts.layers.values()) {
    if (layer.tower !== 'text') continue;
    if (layer.dense || !isMoeLayer(layer) || layer.sharedWidth === plain) return [];
    layers++;
  }
  if (layers === 0 || plain === moe.width) return [];
  return [
    {
      severity: 'info',
      code: 'unused-intermediate-size',
      file: 'config.json',
      message: `intermediate_size ${String(plain)} is not used by any layer: all are MoE layers, with experts ${String(moe.width)} wide`,
    },
  ];
}
