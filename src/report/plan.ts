/** A plan as text: what becomes of what, how large, how exact, what to know. */
import type { Plan } from '../plan/types.ts';
import { layersText } from '../recipe/units.ts';
import { routerInWords } from '../recipe/types.ts';
import type { Recipe } from '../recipe/types.ts';
import { howText, patternRows } from './patterns.ts';
import type { PatternRow } from './patterns.ts';
import {
  bullets,
  bytesText,
  countText,
  fields,
  plural,
  rangesText,
  shortBytes,
  shortCount,
  table,
  visible,
} from './text.ts';
import type { Style } from './text.ts';

export { howText };

/** The whole plan. `physicalKnown`: an output folder was named, so that sharing of blocks is judged for its file system. */
export function planText(plan: Plan, style: Style, physicalKnown: boolean): string {
  const parts = [
    style.bold(`${plan.source.modelType} → ${plan.target.modelType}: ${headline(plan.recipe)}`),
    totals(plan, physicalKnown),
    table(
      [
        { title: 'layers', max: 24 },
        { title: 'source', max: 44 },
        { title: '' },
        { title: 'target', max: 44 },
        { title: 'how', max: 64 },
        { title: 'tensors', right: true },
        { title: 'bytes', right: true },
      ],
      patternRows(plan).map(rowCells),
      style,
    ),
    exactnessText(plan, style),
    section(
      'Warnings',
      plan.warnings.map((warning) => `${visible(warning.message)} [${warning.code}]`),
      style,
    ),
    section('Assumptions', plan.assumptions, style),
    recipeLine(plan.recipe, style),
    style.dim(`plan ${plan.hash}`),
  ];
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}

function headline(recipe: Recipe): string {
  const slices =
    recipe.granularity === 1
      ? ''
      : ` (${recipe.experts / recipe.granularity} replicas of ${recipe.granularity} slices)`;
  return `${plural(recipe.experts, 'expert')}${slices}, top-${recipe.top_k}`;
}

function totals(plan: Plan, physicalKnown: boolean): string {
  const { source, target, flopsPerToken: flops } = plan;
  const moe = plan.layers.filter((note) => note.kind === 'moe').map((note) => note.layer);
  const cloned = target.fileBytes - plan.physicalBytes;
  return fields([
    ['dense', `${countText(source.parameters)} parameters, ${bytesText(source.bytes)}`],
    ['MoE', `${countText(target.parameters.total)} total, ${countText(target.parameters.active)} active per token`],
    [
      'layers',
      `${moe.length} of ${plan.layers.length} become MoE${moe.length === plan.layers.length ? '' : ` (${rangesText(moe)})`}`,
    ],
    [
      'size',
      `${bytesText(target.bytes)} in ${plural(plan.tensors.length, 'tensor')}, ${plural(plan.files.length, 'file')}`,
    ],
    [
      'on disk',
      physicalKnown
        ? `${bytesText(plan.physicalBytes)}${cloned > 0 ? `: ${shortBytes(cloned)} are shared by cloning` : ''}`
        : `${bytesText(plan.physicalBytes)} at most (name the output with --out to see what cloning saves there)`,
    ],
    ['memory', `${bytesText(plan.peakMemoryBytes)} at most while writing: ${plan.peakMemoryReason}`],
    [
      'FLOPs/token',
      `${shortCount(flops.trainingLinear)} training (dense ${shortCount(flops.dense.trainingLinear)}, × ${(flops.trainingLinear / flops.dense.trainingLinear).toFixed(2)}), ${shortCount(flops.trainingCausal)} with attention at ${flops.sequence} tokens, ${shortCount(flops.forward2N)} forward (2N)`,
    ],
  ]);
}

function rowCells(row: PatternRow): string[] {
  return [
    row.layers === null ? '' : rangesText(row.layers),
    row.source,
    '→',
    row.experts === null ? row.target : `experts ${rangesText(row.experts)} ${row.target}`,
    row.how,
    String(row.tensors),
    shortBytes(row.bytes),
  ];
}

function exactnessText(plan: Plan, style: Style): string {
  const { class: level, reason } = plan.exactness;
  const paint = level === 'bit-exact' || level === 'exact' ? style.green : style.yellow;
  return `${paint(level)}\n${bullets([reason], '  ')}`;
}

function section(title: string, items: readonly string[], style: Style): string {
  return items.length === 0 ? '' : `${style.bold(title)}\n${bullets(items)}`;
}

/** The settings in one line each, `auto` resolved, so that a reader sees what was chosen for them. */
function recipeLine(recipe: Recipe, style: Style): string {
  const init = Object.entries(recipe.expert_init)
    .map(([key, value]) => (key === 'method' ? String(value) : `${key} ${String(value)}`))
    .join(', ');
  const shared =
    typeof recipe.shared_expert === 'string'
      ? recipe.shared_expert
      : `${recipe.shared_expert.plan}, width ${recipe.shared_expert.width}`;
  return `${style.bold('Recipe')}${recipe.preset === undefined ? '' : ` (preset ${recipe.preset})`}\n${fields([
    ['  layers', layersText(recipe.layers)],
    ['  expert_init', init],
    ['  router', `${routerInWords(recipe)}, ${recipe.router.order}`],
    ['  scale', recipe.scale],
    ['  shared_expert', shared],
    [
      '  parents',
      recipe.parents.length === 0
        ? null
        : recipe.parents.map((parent) => `${visible(parent.path)} × ${parent.experts}`).join(', '),
    ],
    [
      '  output',
      `dtype ${recipe.output.dtype}, shards of ${shortBytes(recipe.output.shard_size)}, clone ${String(recipe.output.clone)}`,
    ],
    ['  config', Object.keys(recipe.config).length === 0 ? null : visible(JSON.stringify(recipe.config))],
    ['  seed', String(recipe.seed)],
  ])}`;
}
