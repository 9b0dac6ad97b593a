/**
 * mergekit-moe configurations as recipes. What cannot be kept is refused by name; what is kept differently is said.
 * Schema: mergekit/moe/config.py (base_model, experts, gate_mode, dtype, experts_per_token, shared_experts, architecture).
 */
import { nearestName } from './nearest.ts';
import type { RecipeProblem } from './problems.ts';
import { treeOf, treeValue } from './tree.ts';
import type { MapTree, Source, Tree } from './tree.ts';
import type { JsonValue } from '../common/json.ts';
import type { ExpertPrompts, PromptInit } from './types.ts';

export type RecipeKind = 'moe-workbench' | 'mergekit-moe' | 'mergekit-merge';

/** What kind of recipe a mapping is, by its keys. */
export function recipeKind(map: MapTree): RecipeKind {
  const experts = map.entries.get('experts');
  if (experts?.kind === 'seq') return 'mergekit-moe';
  if (
    map.entries.has('merge_method') ||
    map.entries.get('slices')?.kind === 'seq' ||
    map.entries.get('models')?.kind === 'seq'
  )
    return 'mergekit-merge';
  if (map.entries.has('base_model') && experts === undefined) return 'mergekit-moe';
  return 'moe-workbench';
}

/** The one line for a merge recipe given where a MoE recipe is wanted. */
export function mergeRecipeProblem(map: MapTree): RecipeProblem {
  const found = ['slices', 'models', 'merge_method'].flatMap((key) => {
    const node = map.entries.get(key);
    return node === undefined ? [] : [{ key, node, line: (node.keyAt ?? node.at)?.line ?? 1 }];
  });
  const first = [...found].sort((a, b) => a.line - b.line)[0];
  const place = first?.node.keyAt ?? first?.node.at;
  return {
    severity: 'error',
    code: 'recipe-is-mergekit-merge',
    message: `this is a mergekit merge recipe (slices/merge_method), not a MoE recipe: the key "experts" is missing; found ${found.map(({ key, line }) => `"${key}" on line ${line}`).join(', ')}`,
    field: '',
    source: map.source,
    ...(place === undefined ? {} : { at: place }),
    hint: 'run it with mergekit-yaml, or write a *.moe.yaml with base and experts',
  };
}

export interface Mapped {
  readonly tree: MapTree;
  readonly problems: readonly RecipeProblem[];
}

const TOP_KEYS = ['base_model', 'experts', 'gate_mode', 'dtype', 'experts_per_token', 'shared_experts', 'architecture'];
const EXPERT_KEYS = ['source_model', 'positive_prompts', 'negative_prompts', 'noise_scale', 'residual_scale'];
/** mergekit's gate modes that use prompts, and ours: `hidden_last` is another name of `hidden`. */
const PROMPT_GATES: ReadonlyMap<string, PromptInit> = new Map([
  ['hidden', 'hidden'],
  ['hidden_last', 'hidden'],
  ['hidden_avg', 'hidden_avg'],
  ['cheap_embed', 'cheap_embed'],
]);
const DTYPES: readonly string[] = ['bfloat16', 'float16', 'float32'];
/** mergekit's display names in its own order; `architecture` is a prefix of one of them. */
const ARCHITECTURES: readonly (readonly [string, string | null])[] = [
  ['mixtral', 'mixtral'],
  ['deepseek moe', null],
  ['qwen moe', 'qwen2_moe'],
  ['qwen3 moe', 'qwen3_moe'],
];

interface Expert {
  readonly model: string;
  readonly noise: number;
  readonly prompts: ExpertPrompts;
  readonly node: Tree;
}

/** Maps a mergekit-moe configuration. `hiddenSize` of the base is needed for gate_mode uniform_random only. */
export function mapMergekit(map: MapTree, hiddenSize: (base: string) => number | null): Mapped {
  return new Mapper(map, hiddenSize).run();
}

class Mapper {
  private readonly problems: RecipeProblem[] = [];
  private readonly out = new Map<string, Tree>();
  constructor(
    private readonly map: MapTree,
    private readonly hiddenSize: (base: string) => number | null,
  ) {}

  run(): Mapped {
    for (const [key, node] of this.map.entries)
      if (!TOP_KEYS.includes(key)) this.strange(key, node, TOP_KEYS, 'a mergekit-moe recipe');
    const base = this.model(this.map.entries.get('base_model'), 'base_model', this.map);
    const experts = this.experts();
    if (base !== null) this.put('base', base, this.map.entries.get('base_model'));
    this.parents(base, experts);
    this.noise(experts);
    this.gates(base, experts);
    this.dtype();
    const perToken = this.map.entries.get('experts_per_token');
    this.put('top_k', perToken === undefined ? 2 : treeValue(perToken), perToken);
    this.architecture();
    this.shared(base);
    return { tree: { ...this.map, entries: this.out }, problems: this.problems };
  }

  /** Puts a value of ours that came from `from`, keeping its place. */
  private put(key: string, value: JsonValue, from: Tree | undefined): void {
    const source: Source = from?.source ?? this.map.source;
    const node = treeOf(value, source);
    this.out.set(key, from?.at === undefined ? node : { ...node, at: from.at });
  }

  private say(
    severity: 'error' | 'warning',
    code: string,
    field: string,
    message: string,
    node: Tree | undefined,
    hint?: string,
  ): void {
    const place = node?.at;
    this.problems.push({
      severity,
      code,
      field,
      message,
      source: this.map.source,
      ...(place === undefined ? {} : { at: place }),
      ...(hint === undefined ? {} : { hint }),
    });
  }

  private strange(key: string, node: Tree, known: readonly string[], where: string): void {
    const near = nearestName(key, known);
    const help = near === undefined ? `; its keys: ${known.join(', ')}` : `; did you mean "${near}"?`;
    const place = node.keyAt === undefined ? node : { ...node, at: node.keyAt };
    this.say('error', 'unknown-key', '', `unknown key "${key}" of ${where}${help}`, place);
  }

  /** A model reference: a local path as text. */
  private model(node: Tree | undefined, field: string, parent: Tree): string | null {
    if (node === undefined) {
      this.say('error', 'missing-value', field, 'is missing; expected a path (text)', parent);
      return null;
    }
    const value = treeValue(node);
    if (typeof value !== 'string' || value === '') {
      const what = node.kind === 'map' ? 'a model reference with parts (model, lora, …)' : JSON.stringify(value);
      this.say(
        'error',
        'mergekit-unsupported',
        field,
        `expected the path of a local checkpoint as text, got ${what}`,
        node,
      );
      return null;
    }
    if (value.includes('+')) {
      this.say(
        'error',
        'mergekit-unsupported',
        field,
        `"${value}" names a LoRA adapter (model+lora), which is not supported`,
        node,
        'merge the adapter into its model first',
      );
      return null;
    }
    return value;
  }

  private experts(): Expert[] {
    const node = this.map.entries.get('experts');
    if (node?.kind !== 'seq' || node.items.length === 0) {
      this.say(
        'error',
        'missing-value',
        'experts',
        'is missing; expected a list with one entry per routed expert',
        node ?? this.map,
      );
      return [];
    }
    return node.items.flatMap((item, i) => {
      const expert = this.expert(item, `experts[${i}]`);
      return expert === null ? [] : [expert];
    });
  }

  private expert(item: Tree, field: string): Expert | null {
    if (item.kind !== 'map') {
      this.say(
        'error',
        'bad-value',
        field,
        `expected a mapping with source_model, got ${JSON.stringify(treeValue(item))}`,
        item,
      );
      return null;
    }
    for (const [key, node] of item.entries) if (!EXPERT_KEYS.includes(key)) this.strange(key, node, EXPERT_KEYS, field);
    const model = this.model(item.entries.get('source_model'), `${field}.source_model`, item);
    const residual = item.entries.get('residual_scale');
    if (residual !== undefined && ![null, 1].includes(asNumber(residual)))
      this.say(
        'error',
        'mergekit-unsupported',
        `${field}.residual_scale`,
        `residual_scale ${String(treeValue(residual))} is not supported (only 1: it changes what the expert computes)`,
        residual,
      );
    const noiseNode = item.entries.get('noise_scale');
    const noise = noiseNode === undefined ? 0 : (asNumber(noiseNode) ?? 0);
    if (noiseNode !== undefined && !(Number.isFinite(noise) && noise >= 0))
      this.say(
        'error',
        'bad-value',
        `${field}.noise_scale`,
        `expected a finite number, 0 or more, got ${JSON.stringify(treeValue(noiseNode))}`,
        noiseNode,
      );
    const prompts = {
      positive_prompts: this.prompts(item, 'positive_prompts', field),
      negative_prompts: this.prompts(item, 'negative_prompts', field),
    };
    return model === null ? null : { model, noise, prompts, node: item };
  }

  private prompts(item: MapTree, key: 'positive_prompts' | 'negative_prompts', field: string): readonly string[] {
    const node = item.entries.get(key);
    const value = node === undefined ? null : treeValue(node);
    if (node === undefined || value === null) return [];
    const texts = Array.isArray(value) ? value.filter((text) => typeof text === 'string' && /\S/.test(text)) : [];
    if (Array.isArray(value) && texts.length === value.length) return texts.map(String);
    this.say(
      'error',
      'bad-value',
      `${field}.${key}`,
      `expected a list of texts that are not empty, got ${JSON.stringify(value)}`,
      node,
    );
    return [];
  }

  private parents(base: string | null, experts: readonly Expert[]): void {
    if (experts.length === 0) return;
    const node = this.map.entries.get('experts');
    this.put('experts', node?.kind === 'seq' ? node.items.length : experts.length, node);
    if (experts.every((expert) => samePath(expert.model, base))) return;
    this.put(
      'parents',
      experts.map((expert) => ({ path: expert.model, experts: 1 })),
      node,
    );
    this.put('rest', 'base', this.map.entries.get('base_model'));
  }

  private noise(experts: readonly Expert[]): void {
    const first = experts[0];
    if (first === undefined) return;
    const other = experts.find((expert) => expert.noise !== first.noise);
    if (other !== undefined) {
      const list = experts.map((expert) => expert.noise).join(', ');
      this.say(
        'error',
        'mergekit-unsupported',
        'experts',
        `noise_scale differs between experts (${list}); one value for all is supported`,
        other.node,
      );
      return;
    }
    if (first.noise > 0) this.put('expert_init', { method: 'noise', std: first.noise, ratio: 1 }, first.node);
  }

  private gates(base: string | null, experts: readonly Expert[]): void {
    const node = this.map.entries.get('gate_mode');
    const mode = node === undefined ? 'hidden' : String(treeValue(node));
    const prompts = experts.reduce(
      (total, { prompts: own }) => total + own.positive_prompts.length + own.negative_prompts.length,
      0,
    );
    const init = PROMPT_GATES.get(mode);
    if (init !== undefined) {
      this.promptGates(init, mode, experts, node);
      return;
    }
    if (mode === 'random') this.put('router', { init: 'normal', std: 1, order: 'topk-softmax' }, node);
    else if (mode === 'uniform_random') {
      const hidden = base === null ? null : this.hiddenSize(base);
      // U(-1/√H, 1/√H) has standard deviation 1/√(3H).
      const std = hidden === null ? 0.02 : 1 / Math.sqrt(3 * hidden);
      if (hidden === null)
        this.say(
          'warning',
          'uniform-random-unknown-width',
          'gate_mode',
          'uniform_random is U(-1/√H, 1/√H), but the hidden size of base_model cannot be read here; standard deviation 0.02 is used',
          node,
        );
      this.put('router', { init: 'uniform', std, order: 'topk-softmax' }, node);
    } else
      this.say(
        'error',
        'bad-value',
        'gate_mode',
        `expected ${[...PROMPT_GATES.keys(), 'random'].join(', ')} or uniform_random, got ${JSON.stringify(mode)}`,
        node,
      );
    if (prompts > 0)
      this.say(
        'warning',
        'prompts-unused',
        'experts',
        `gate_mode ${mode} uses no prompts; ${prompts} prompts are not used`,
        this.map.entries.get('experts'),
      );
  }

  /** `mode` is the configuration's word, `init` ours. */
  private promptGates(init: PromptInit, mode: string, experts: readonly Expert[], node: Tree | undefined): void {
    const bare = experts.filter(({ prompts }) => prompts.positive_prompts.length === 0);
    for (const expert of bare)
      this.say(
        'error',
        'missing-value',
        `experts[${experts.indexOf(expert)}].positive_prompts`,
        `is missing; gate_mode ${mode}${node === undefined ? ' (the default)' : ''} makes each router row from prompts`,
        expert.node,
        'give positive_prompts, or set gate_mode: random',
      );
    if (bare.length > 0) return;
    const prompts = experts.map((expert) => ({
      positive_prompts: [...expert.prompts.positive_prompts],
      negative_prompts: [...expert.prompts.negative_prompts],
    }));
    this.put('router', { init, order: 'topk-softmax', prompts }, node ?? this.map.entries.get('experts'));
    if (init === 'hidden_avg')
      this.say(
        'warning',
        'hidden-avg-pads',
        'gate_mode',
        'mergekit averages over the pads of shorter prompts too; here hidden_avg averages over tokens only, so rows differ from mergekit’s where prompts of one expert have different lengths',
        node ?? this.map,
      );
  }

  private dtype(): void {
    const node = this.map.entries.get('dtype');
    if (node === undefined || treeValue(node) === null) return;
    const dtype = String(treeValue(node));
    if (DTYPES.includes(dtype)) this.put('output', { dtype }, node);
    else
      this.say(
        'error',
        'bad-value',
        'dtype',
        `expected ${DTYPES.join(', ')}, got ${JSON.stringify(treeValue(node))}`,
        node,
      );
  }

  private architecture(): void {
    const node = this.map.entries.get('architecture');
    if (node === undefined || treeValue(node) === null) return;
    const wanted = String(treeValue(node)).toLowerCase();
    const match = ARCHITECTURES.find(([name]) => wanted !== '' && name.startsWith(wanted));
    const target = match?.[1] ?? null;
    if (target !== null) this.put('target', target, node);
    else if (match !== undefined)
      this.say(
        'error',
        'mergekit-unsupported',
        'architecture',
        'DeepSeek MoE is not a target here: its layout needs remote code',
        node,
        'leave architecture out, or use mixtral or qwen',
      );
    else
      this.say(
        'error',
        'bad-value',
        'architecture',
        `expected mixtral, qwen or qwen3, got ${JSON.stringify(treeValue(node))}`,
        node,
      );
  }

  private shared(base: string | null): void {
    const node = this.map.entries.get('shared_experts');
    if (node === undefined || treeValue(node) === null) return;
    if (node.kind !== 'seq' || node.items.length > 1) {
      this.say(
        'error',
        'mergekit-unsupported',
        'shared_experts',
        `expected a list with at most one entry, got ${node.kind === 'seq' ? `${node.items.length} entries` : JSON.stringify(treeValue(node))}`,
        node,
      );
      return;
    }
    const item = node.items[0];
    const shared = item === undefined ? null : this.expert(item, 'shared_experts[0]');
    if (shared === null) return;
    if (!samePath(shared.model, base))
      this.say(
        'error',
        'mergekit-unsupported',
        'shared_experts[0].source_model',
        `the shared expert must come from base_model (${String(base)}), got ${shared.model}`,
        shared.node,
      );
    else if (shared.noise > 0)
      this.say(
        'error',
        'mergekit-unsupported',
        'shared_experts[0].noise_scale',
        'noise on the shared expert is not supported',
        shared.node,
      );
    else {
      this.put('shared_expert', 'b', node);
      this.say(
        'warning',
        'shared-expert-plan-b',
        'shared_experts',
        'mergekit would add a whole shared copy to the routed copies, which changes what the model computes (relative logit error 0.33 measured); plan b (routed down halved, shared copy, shared gate 0) keeps it',
        node,
      );
    }
  }
}

function asNumber(node: Tree): number | null {
  const value = treeValue(node);
  return value === null ? null : typeof value === 'number' ? value : NaN;
}

/** `./base` and `base/` are one place. */
function samePath(a: string, b: string | null): boolean {
  const clean = (path: string): string => path.replace(/^(?:\.\/)+/, '').replace(/\/+$/, '');
  return b !== null && clean(a) === clean(b);
}
