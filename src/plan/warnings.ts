/** What a plan says beside its numbers: advice, consequences of defaults, things left out. Nothing here blocks. */
import { grouped } from '../common/errors.ts';
import type { TargetType } from '../recipe/types.ts';
import type { Recipe, SharedPlan } from '../recipe/types.ts';
import type { Parent } from './logical.ts';
import type { PlanWarning } from './types.ts';

export interface WarningFacts {
  readonly recipe: Recipe;
  readonly target: TargetType;
  readonly shared: SharedPlan;
  /** Parameters of one shared expert over all MoE layers. */
  readonly sharedParameters: number;
  readonly parents: readonly Parent[];
  readonly outputIs16Bit: boolean;
  readonly factorLossless: boolean;
  readonly factor: number;
}

/** All warnings that follow from the recipe and the sources' headers. */
export function planWarnings(facts: WarningFacts): PlanWarning[] {
  const { recipe, parents } = facts;
  const list: PlanWarning[] = [];
  const warn = (code: string, message: string): void => {
    list.push({ code, message });
  };
  const { experts, top_k: topK, granularity } = recipe;

  if (recipe.router.init === 'zero') {
    warn(
      'router-zero',
      'router.init zero: right for verification, wrong for training. Every token ties, so the same experts (lowest indices) get all tokens.',
    );
  }
  if (granularity > 1 && facts.outputIs16Bit && recipe.router.init !== 'zero') {
    warn(
      'router-ties',
      `Router rows are equal inside a replica. With 16-bit router logits two replicas can tie and top-k mixes them (0.1 to 0.4 % of tokens lose a slice); compute router logits in float32.`,
    );
  }
  if (topK % granularity !== 0) {
    warn(
      'top-k-granularity',
      `top_k ${String(topK)} is not a multiple of granularity ${String(granularity)}: the MoE cannot compute the dense function.`,
    );
  }
  if (!Number.isInteger(Math.log2(experts))) {
    warn(
      'experts-not-power-of-two',
      `${String(experts)} experts is fine. (Only GPU builds of llama.cpp from before April 2024 needed a power of two; models with 60 experts have been supported since.)`,
    );
  }
  if (!facts.factorLossless && facts.outputIs16Bit) {
    warn(
      'scale-rounds',
      `The factor ${String(facts.factor)} is no power of two: √ on up and down rounds to 16 bits. A power-of-two granularity is lossless and can be reverted.`,
    );
  }
  const ffn = parents[0]?.spec;
  if (recipe.expert_init.method === 'svd' && ffn !== undefined) {
    const full = Math.min(ffn.hidden, ffn.intermediate);
    if (recipe.expert_init.rank >= full) {
      warn(
        'svd-rank-full',
        `expert_init svd, rank ${String(recipe.expert_init.rank)}: the FFN matrices have only ${String(full)} singular directions, so nothing lies outside them and the experts begin as copies. Give a rank below ${String(full)}.`,
      );
    }
  }
  if (recipe.scale === 'megatron') {
    warn(
      'scale-megatron',
      'scale megatron is the published cube root; for SwiGLU it is off by about 18 % (relative, tiny random models). scale: exact keeps the function.',
    );
  }
  if (facts.target === 'qwen2_moe' && facts.shared !== 'none') {
    warn(
      'shared-expert',
      `qwen2_moe always has a shared expert; plan ${facts.shared} adds ${grouped(facts.sharedParameters)} parameters that are active for every token` +
        (facts.shared === 'a'
          ? ' and start silent (down = 0). shared_expert: {plan: a, width: W} makes it smaller.'
          : '.'),
    );
  }
  const spec = parents[0]?.spec;
  if (facts.target === 'granitemoe' && spec !== undefined && spec.headDim * spec.heads !== spec.hidden) {
    warn(
      'head-dim-new-only',
      `head_dim ${String(spec.headDim)} is not hidden_size / heads: transformers 5 loads this granitemoe, transformers 4 ignores head_dim and fails.`,
    );
  }
  for (const parent of parents) {
    const which = parents.length > 1 ? ` (parent ${String(parent.from)})` : '';
    if (parent.quantised) {
      const types = [...new Set([...parent.physical.values()].map((tensor) => tensor.dtype))].sort().join(', ');
      warn(
        'gguf-dequantised',
        `The GGUF${which} is quantised (${types}); its values are dequantised` +
          (recipe.output.dtype === 'same'
            ? ' and rounded to bfloat16 (output.dtype same means bfloat16 here). output.dtype: float32 keeps every bit.'
            : ` and written as ${recipe.output.dtype}.`),
      );
    }
    if (parent.dropped.length > 0) {
      warn(
        'tensors-dropped',
        `Left out${which}, no weights: ${parent.dropped.slice(0, 5).join(', ')}${parent.dropped.length > 5 ? ` and ${grouped(parent.dropped.length - 5)} more` : ''}.`,
      );
    }
    const names = parent.checkpoint.sidecars.map((sidecar) => sidecar.name.toLowerCase());
    if (parent.from === 0) {
      if (!names.some((name) => name.startsWith('license') || name.startsWith('licence')) && !cardMayLicense(parent)) {
        warn(
          'licence-unknown',
          `The source ${parent.checkpoint.format === 'gguf' ? 'file states no licence' : 'folder has no LICENSE and no README that states one'}: the output says that its licence is unknown. Check it before you publish.`,
        );
      }
      if (!names.some((name) => name.startsWith('tokenizer'))) {
        warn('tokenizer-missing', 'The source folder has no tokenizer files; the output will have none either.');
      }
    }
    if (parent.checkpoint.planOnly) {
      warn(
        'plan-only',
        `Only config and index are at hand${which}: shapes come from config.json, byte offsets are unknown, and the plan cannot be written.`,
      );
    }
  }
  vocabularyWarnings(parents, warn);
  return list;
}

/** A card on disk is not read for a plan and may name a licence; one at hand as text (made from a GGUF) is looked at. */
function cardMayLicense(parent: Parent): boolean {
  const card = parent.checkpoint.sidecars.find(({ name }) => name.toLowerCase() === 'readme.md');
  return card !== undefined && (card.text === undefined || /^license(?:_name)?:/m.test(card.text));
}

/** Parents with other vocabularies than the base's (mergekit#139). */
function vocabularyWarnings(parents: readonly Parent[], warn: (code: string, message: string) => void): void {
  const [base, ...others] = parents;
  if (base === undefined || others.length === 0) return;
  warn('embeddings-from-base', 'Embeddings, lm_head, config and tokenizer come from the base.');
  for (const other of others) {
    const difference = base.spec.vocab - other.spec.vocab;
    if (difference > 0) {
      warn(
        'vocabulary-unseen',
        `Parent ${String(other.from)} (${other.checkpoint.path}) was trained without ids ${String(other.spec.vocab)}..${String(base.spec.vocab - 1)}: its FFNs never saw those ${grouped(difference)} tokens.`,
      );
    } else if (difference < 0) {
      warn(
        'vocabulary-lost',
        `${grouped(-difference)} tokens of parent ${String(other.from)} (${other.checkpoint.path}; ids ${String(base.spec.vocab)}..${String(other.spec.vocab - 1)}) are lost: the base has only ${grouped(base.spec.vocab)} rows.`,
      );
    }
  }
}
