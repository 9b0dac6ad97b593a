/** Relations between recipe fields that need no checkpoint. */
import { at } from './problems.ts';
import type { RecipeProblem } from './problems.ts';
import { nodeAt } from './tree.ts';
import type { MapTree, Tree } from './tree.ts';
import { isPromptInit } from './types.ts';
import type { Recipe } from './types.ts';

type Loose = { readonly [K in keyof Recipe]?: Recipe[K] | undefined };

/** Relations between fields, judged on those that are right by themselves. */
export function relations(tree: MapTree, recipe: Loose, problems: RecipeProblem[]): void {
  const { experts, top_k: topK, granularity, parents, expert_init: init, router } = recipe;
  const place = (...fields: string[]): Tree => {
    for (const field of fields) {
      const { node, found } = nodeAt(tree, field.split('.'));
      if (found) return node;
    }
    return tree;
  };
  const impossible = (field: string, others: string[], code: string, message: string, hint: string): void => {
    problems.push({ ...at(place(field, ...others), field.split('.'), 'error', code, message, hint), impossible: true });
  };
  if (experts !== undefined && topK !== undefined && topK > experts)
    impossible(
      'top_k',
      ['experts'],
      'top-k-exceeds-experts',
      `top_k is ${topK} but there are only ${experts} experts; top_k must be at most experts`,
      `set top_k to ${experts} or less, or experts to ${topK} or more`,
    );
  if (experts !== undefined && granularity !== undefined && experts % granularity !== 0)
    impossible(
      'granularity',
      ['experts'],
      'experts-not-multiple-of-granularity',
      `granularity ${granularity} does not divide experts ${experts}: every replica of the FFN needs all its ${granularity} slices`,
      `use ${Math.floor(experts / granularity) * granularity || granularity} or ${Math.ceil(experts / granularity) * granularity} experts`,
    );
  if (parents !== undefined && parents.length > 0 && experts !== undefined && granularity !== undefined) {
    const sum = parents.reduce((total, parent) => total + parent.experts, 0);
    const replicas = experts / granularity;
    const cut = granularity === 1 ? '' : ` of full width (${experts} at granularity ${granularity})`;
    if (sum > replicas)
      impossible(
        'parents',
        ['experts'],
        'parents-exceed-experts',
        `the parents give ${sum} experts (${parents.map((parent) => parent.experts).join(' + ')}) but there are only ${replicas}${cut}`,
        `set experts to ${sum * granularity}, or let the parents give fewer`,
      );
    else if (sum < replicas && Number.isInteger(replicas))
      problems.push(
        at(
          place('parents'),
          ['parents'],
          'warning',
          'base-fills-experts',
          `the parents give ${sum} of ${replicas} experts${cut}; the base gives the first ${replicas - sum}`,
        ),
      );
  }
  if (parents?.length === 0 && recipe.rest === 'average')
    problems.push(
      at(
        place('rest'),
        ['rest'],
        'warning',
        'rest-without-parents',
        'there are no parents to average; everything comes from the base',
      ),
    );
  if (init?.method === 'split' && granularity === 1)
    problems.push(
      at(
        place('expert_init'),
        ['expert_init'],
        'warning',
        'split-without-granularity',
        'split deals neurons to slices, but granularity is 1: experts are whole copies',
      ),
    );
  const noStd = router !== undefined && (router.init === 'zero' || isPromptInit(router.init));
  if (noStd && nodeAt(tree, ['router', 'std']).found && place('router.std').source.layer !== 'preset')
    problems.push(
      at(
        place('router.std'),
        ['router', 'std'],
        'warning',
        'router-std-unused',
        `router.init is ${router.init}, so router.std has no effect`,
      ),
    );
  if (router !== undefined) promptRelations(router, experts, granularity, place, problems);
}

/** Prompt gates and their prompts: one entry per expert of full width, none where no prompt is used. */
function promptRelations(
  { init, prompts = [] }: Recipe['router'],
  experts: number | undefined,
  granularity: number | undefined,
  place: (...fields: string[]) => Tree,
  problems: RecipeProblem[],
): void {
  const node = place('router.prompts', 'router.init', 'router');
  const say = (severity: 'error' | 'warning', code: string, message: string, hint?: string): void => {
    problems.push(at(node, ['router', 'prompts'], severity, code, message, hint));
  };
  if (!isPromptInit(init)) {
    if (prompts.length > 0) say('warning', 'prompts-unused', `router.init ${init} uses no prompts`);
    return;
  }
  const replicas = (experts ?? NaN) / (granularity ?? NaN);
  if (Number.isInteger(replicas) && prompts.length !== replicas)
    say(
      'error',
      'prompts-not-per-expert',
      `router.init ${init} needs prompts for each of the ${replicas} experts${granularity === 1 ? '' : ' of full width'}, got ${prompts.length}`,
      'list one {positive_prompts: […]} per expert under router.prompts',
    );
  const first = new Map<string, number>();
  prompts.forEach((entry, i) => {
    const key = JSON.stringify([entry.positive_prompts, entry.negative_prompts]);
    const same = first.get(key);
    if (same === undefined) first.set(key, i);
    else
      say(
        'warning',
        'prompts-equal',
        `experts ${same} and ${i} have the same prompts: their router rows are equal and every token ties between them`,
      );
  });
}
