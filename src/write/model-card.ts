/** README.md of an output: what it is, what was done, what that means, and how to check and undo it. */
import { parseDocument, stringify } from 'yaml';
import { grouped } from '../common/errors.ts';
import { routerInWords } from '../recipe/types.ts';
import type { Plan } from '../plan/types.ts';
import { TOOL_NAME, TOOL_VERSION } from './version.ts';
import { counted } from '../common/words.ts';

export interface CardInput {
  readonly plan: Plan;
  /** README.md of the source, if it has one. */
  readonly sourceCard: string | null;
  /** Name of the file under which the source's README is kept beside this one. */
  readonly keptAs: string | null;
  /** Repository ids or folder names of base and parents; never a path. */
  readonly sourceNames: readonly string[];
  /** Licence files that were carried over. */
  readonly licenceFiles: readonly string[];
}

/** Front matter of a model card as plain data; empty where there is none or it is broken. */
export function frontMatter(card: string): ReadonlyMap<string, unknown> {
  const match = /^---\r?\n([\s\S]*?)\r?\n---(?:\r?\n|$)/.exec(card);
  if (match?.[1] === undefined || match[1].length > 1 << 20) return new Map();
  try {
    const data: unknown = parseDocument(match[1]).toJS({ maxAliasCount: 100, mapAsMap: true });
    if (!(data instanceof Map)) return new Map();
    return new Map([...data].filter((entry): entry is [string, unknown] => typeof entry[0] === 'string'));
  } catch {
    return new Map();
  }
}

/** Carried over as they stand: they are as true of the MoE as of its source. */
const CARRIED = ['license', 'license_name', 'license_link', 'language', 'pipeline_tag'];

function initInWords(plan: Plan): string {
  const { recipe } = plan;
  const init = recipe.expert_init;
  switch (init.method) {
    case 'copy':
      return recipe.granularity === 1
        ? 'every expert is a copy of the dense feed-forward network'
        : `every replica of the dense feed-forward network is cut into ${String(recipe.granularity)} experts, in order`;
    case 'split':
      return `the neurons of the dense feed-forward network are dealt to ${String(recipe.granularity)} experts per replica (${init.by})`;
    case 'noise':
      return `copies with normal noise (std ${String(init.std)}) on a share of ${String(init.ratio)} of the weights`;
    case 'permute':
      return 'copies, each with its neurons in an order of its own';
    case 'drop':
      return `Drop-Upcycling (${init.variant}): a share of ${String(init.ratio)} of the neurons re-drawn per expert`;
    case 'svd':
      return `copies with noise outside the top ${String(init.rank)} singular directions (scale ${String(init.scale)})`;
  }
}

function layersInWords(plan: Plan): string {
  const moe = plan.layers.filter(({ kind }) => kind === 'moe').map(({ layer }) => layer);
  return moe.length === plan.layers.length
    ? `all ${String(plan.layers.length)} layers`
    : `${String(moe.length)} of ${String(plan.layers.length)} layers (${moe.join(', ')})`;
}

/** The text of the card. The same plan and source give the same text. */
export function modelCard(input: CardInput): string {
  const { plan, sourceCard, keptAs, sourceNames, licenceFiles } = input;
  const { recipe, target } = plan;
  const source = sourceCard === null ? new Map<string, unknown>() : frontMatter(sourceCard);
  const matter = new Map<string, unknown>();
  for (const field of CARRIED) if (source.has(field)) matter.set(field, source.get(field));
  matter.set('library_name', 'transformers');
  matter.set('base_model', sourceNames.length === 1 ? sourceNames[0] : [...sourceNames]);
  const oldTags: unknown = source.get('tags');
  const kept = Array.isArray(oldTags) ? oldTags.filter((tag): tag is string => typeof tag === 'string') : [];
  matter.set('tags', [...new Set([...kept, 'moe', 'upcycled', target.modelType])]);

  const [base = 'the source'] = sourceNames;
  const others = sourceNames.slice(1);
  const licence = source.has('license')
    ? `As the source: ${String(source.get('license'))}.`
    : licenceFiles.length > 0
      ? `As the source: see ${licenceFiles.join(', ')}.`
      : 'The source states no licence; ask its authors before you pass this on.';
  const lines = [
    '---',
    stringify(matter).trimEnd(),
    '---',
    '',
    `# ${base} as a Mixture of Experts`,
    '',
    `A ${target.modelType} with ${String(recipe.experts)} experts (top-${String(recipe.top_k)}) in ${layersInWords(plan)}, made from the dense checkpoint ${base}${others.length === 0 ? '' : ` and ${others.join(', ')}`} without any training.`,
    '',
    '| | |',
    '|---|---|',
    `| Parameters | ${grouped(target.parameters.total)} total, ${grouped(target.parameters.active)} active per token |`,
    `| Dense source | ${grouped(plan.source.parameters)} parameters (${plan.source.modelType}) |`,
    `| Experts | ${initInWords(plan)} |`,
    `| Granularity | ${counted(recipe.granularity, 'expert', 'experts')} per dense feed-forward network |`,
    `| Router | ${routerInWords(recipe)}, ${recipe.router.order} |`,
    `| Seed | ${String(recipe.seed)} |`,
    `| Function | **${plan.exactness.class}**: ${plan.exactness.reason} |`,
    `| Plan | \`${plan.hash}\` |`,
    '',
    '## Check it, undo it',
    '',
    '`moe-manifest.json` holds the recipe, the plan and a digest of every tensor.',
    '',
    '```',
    'moe verify . --source PATH_OF_THE_DENSE_MODEL',
    'moe revert . PATH_FOR_THE_DENSE_MODEL',
    '```',
    '',
    ...(plan.warnings.length === 0
      ? []
      : ['## Warnings of the planner', '', ...plan.warnings.map(({ message }) => `- ${message}`), '']),
    ...(plan.assumptions.length === 0
      ? []
      : ['## Assumptions', '', ...plan.assumptions.map((assumption) => `- ${assumption}`), '']),
    '## Licence',
    '',
    licence,
    '',
    ...(keptAs === null ? [] : [`The card of the dense model is kept as [${keptAs}](${keptAs}).`, '']),
    `Made with ${TOOL_NAME} ${TOOL_VERSION}.`,
    '',
  ];
  return lines.join('\n');
}
