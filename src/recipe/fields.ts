/**
 * Every field of a recipe in words: what it means (shown by editors) and what a value must be (shown in errors). One
 * table, so that the JSON schema, the error messages and the docs say the same.
 */
export interface FieldText {
  /** What the field means. */
  readonly about: string;
  /** "expected …". */
  readonly expected: string;
}

const text = (about: string, expected: string): FieldText => ({ about, expected });

/** Keys are dotted; `parents.[].path` stands for every item. */
export const FIELD_TEXTS: ReadonlyMap<string, FieldText> = new Map([
  [
    'base',
    text(
      'The dense checkpoint: a Hugging Face folder, a .safetensors file, an index or a .gguf. Relative to the recipe file. May be left out when SRC is given on the command line.',
      'a path (text)',
    ),
  ],
  [
    'parents',
    text(
      'Several dense models as different experts (branch-train-mix). What they leave open of `experts` is given by the base, first in order.',
      'a list of {path, experts}',
    ),
  ],
  ['parents.[]', text('One dense parent.', 'a mapping {path: text, experts: whole number}')],
  ['parents.[].path', text('Where this parent lies; relative to the recipe file.', 'a path (text)')],
  [
    'parents.[].experts',
    text(
      'How many experts of full width this parent gives (with granularity, each is cut into that many).',
      'a whole number from 1 to 65536',
    ),
  ],
  [
    'rest',
    text(
      'Where everything that is not an expert comes from when there are parents: the base, or the average of the parents.',
      'base or average',
    ),
  ],
  [
    'target',
    text(
      'MoE architecture to write. auto: llama, mistral, phi3, gemma → mixtral (llama and mistral with a layer subset or softmax-topk → qwen2_moe); qwen2 → qwen2_moe; qwen3 → qwen3_moe; olmo2 → flex_olmo; granite → granitemoe.',
      'auto, mixtral, qwen2_moe, qwen3_moe, flex_olmo or granitemoe',
    ),
  ],
  [
    'experts',
    text(
      'Routed experts written per MoE layer. E8G8T8 of the literature is experts: 64.',
      'a whole number from 1 to 65536',
    ),
  ],
  ['top_k', text('Experts that each token uses.', 'a whole number from 1 to the number of experts')],
  [
    'granularity',
    text(
      'Experts per dense FFN: each expert is 1/granularity of its width. 8 experts at granularity 4 are 2 replicas of 4 slices.',
      'a whole number from 1 to 65536 that divides the number of experts',
    ),
  ],
  [
    'layers',
    text(
      'Layers that become MoE, 0-based, ranges inclusive. every:2 means 1, 3, 5 … (as decoder_sparse_step counts).',
      'all, every:k, a list such as [0, 2, 5] or ranges such as 0-15,24-31',
    ),
  ],
  [
    'expert_init',
    text(
      'How experts begin. A method name alone takes that method’s defaults.',
      'a method (copy, noise, permute, drop, split or svd) or a mapping {method, …}',
    ),
  ],
  [
    'expert_init.method',
    text(
      'copy: exact copies. noise: copies plus noise. permute: copies with neurons in an order of their own. drop: Drop-Upcycling, partial re-initialisation. split: how neurons are dealt to slices. svd: noise outside the top singular directions.',
      'copy, noise, permute, drop, split or svd',
    ),
  ],
  ['expert_init.std', text('noise: standard deviation of what is added.', 'a finite number, 0 or more')],
  [
    'expert_init.ratio',
    text(
      'noise: share of the elements that get noise. drop: share of the neurons that are re-drawn.',
      'a number from 0 to 1',
    ),
  ],
  [
    'expert_init.variant',
    text(
      'drop: paper re-draws one set of neurons in all three matrices; official draws a set of its own for each matrix, as the published code does.',
      'paper or official',
    ),
  ],
  [
    'expert_init.by',
    text(
      'split: how neurons are dealt to the slices (LLaMA-MoE): in order, at random, or by importance (L2 norm).',
      'sequential, random or norm',
    ),
  ],
  [
    'expert_init.rank',
    text('svd: number of top singular directions that stay untouched.', 'a whole number from 1 to 65536'),
  ],
  [
    'expert_init.scale',
    text('svd: size of the noise relative to the residual outside those directions.', 'a finite number, 0 or more'),
  ],
  ['router', text('The router matrices, which no dense model has.', 'a mapping {init, std, order, prompts}')],
  [
    'router.init',
    text(
      'Distribution of the entries. zero is right for verification and wrong for training: every token ties to the same experts. hidden, hidden_avg and cheap_embed are mergekit’s prompt gates: rows of length 1 from router.prompts, by running the base (hidden: last token of each prompt, hidden_avg: mean over its tokens, cheap_embed: token embeddings alone).',
      'normal, uniform, zero, orthogonal, hidden, hidden_avg or cheap_embed',
    ),
  ],
  [
    'router.std',
    text(
      'Standard deviation of the entries (uniform: on ±std·√3; orthogonal: rows scaled so that entries have it).',
      'a finite number, 0 or more',
    ),
  ],
  [
    'router.order',
    text(
      'topk-softmax (Mixtral-type): weights of the chosen experts sum to 1, copies keep the function. softmax-topk (ST-type): sets norm_topk_prob false.',
      'topk-softmax or softmax-topk',
    ),
  ],
  [
    'router.prompts',
    text(
      'For the prompt gates: what each expert shall answer, one entry per expert of full width (experts / granularity), in order.',
      'a list of {positive_prompts, negative_prompts}',
    ),
  ],
  [
    'router.prompts.[]',
    text('The prompts of one expert.', 'a mapping {positive_prompts: texts, negative_prompts: texts}'),
  ],
  [
    'router.prompts.[].positive_prompts',
    text('Texts that this expert shall answer.', 'a list of one or more texts that are not empty'),
  ],
  ['router.prompts.[].positive_prompts.[]', text('One text.', 'a text that is not empty')],
  [
    'router.prompts.[].negative_prompts',
    text('Texts that this expert shall not answer; taken off the row.', 'a list of texts that are not empty'),
  ],
  ['router.prompts.[].negative_prompts.[]', text('One text.', 'a text that is not empty')],
  [
    'scale',
    text(
      'Scaling of split experts. auto = exact: granularity for topk-softmax, E·G²/top_k for softmax-topk, on up·down. megatron: the published cube root on gate, up and down (approximate).',
      'auto, none, exact or megatron',
    ),
  ],
  [
    'shared_expert',
    text(
      'Exact plans for an always-on expert. a: routed copies, shared down = 0. b: routed down halved, shared copy. c: routed down = 0, shared down doubled. auto: a for qwen2_moe, else none.',
      'auto, none, a, b, c or a mapping {plan, width}',
    ),
  ],
  ['shared_expert.plan', text('One of the shared-expert plans.', 'none, a, b or c')],
  ['shared_expert.width', text('Intermediate width of the shared expert.', 'a whole number, 1 or more')],
  [
    'tie',
    text(
      'Whether output and input embeddings are one tensor; needed only where the config’s flag and the file disagree.',
      'auto, true or false',
    ),
  ],
  ['output', text('How the result is put on disk.', 'a mapping {dtype, shard_size, clone}')],
  [
    'output.dtype',
    text(
      'same keeps each tensor’s dtype (new tensors take the FFN’s; a quantised GGUF becomes bfloat16).',
      'same, float32, bfloat16 or float16',
    ),
  ],
  [
    'output.shard_size',
    text(
      'Largest size of one weight file. GB is 10⁹ bytes, GiB 2³⁰.',
      'a size such as 5GB, 500MB or 2GiB, or a whole number of bytes',
    ),
  ],
  [
    'output.clone',
    text('Whether equal experts share disk blocks where the file system can clone.', 'auto, true or false'),
  ],
  [
    'config',
    text(
      'Extra config.json fields, e.g. router_aux_loss_coef or output_router_logits.',
      'a mapping of config.json fields',
    ),
  ],
  ['seed', text('Seed of every random value.', 'a whole number from 0 to 9007199254740991')],
  [
    'preset',
    text('Preset that this recipe starts from; its values come before those written here.', 'the name of a preset'),
  ],
]);

/** The text of a field by its path; indices become `[]`. */
export function fieldText(path: readonly (string | number)[]): FieldText | undefined {
  return FIELD_TEXTS.get(path.map((step) => (typeof step === 'number' ? '[]' : step)).join('.'));
}

/** What other tools call our fields. */
export const FIELD_SYNONYMS: ReadonlyMap<string, string> = new Map([
  ['num_experts', 'experts'],
  ['num_local_experts', 'experts'],
  ['n_routed_experts', 'experts'],
  ['topk', 'top_k'],
  ['num_experts_per_tok', 'top_k'],
  ['experts_per_token', 'top_k'],
  ['moe_layers', 'layers'],
  ['init', 'expert_init'],
  ['shared_experts', 'shared_expert'],
  ['tie_word_embeddings', 'tie'],
  ['architecture', 'target'],
  ['model_type', 'target'],
  ['base_model', 'base'],
  ['dtype', 'output.dtype'],
  ['torch_dtype', 'output.dtype'],
  ['shard_size', 'output.shard_size'],
  ['max_shard_size', 'output.shard_size'],
  ['clone', 'output.clone'],
  ['random_seed', 'seed'],
  ['gate_mode', 'router.init'],
  ['router_init', 'router.init'],
  ['router_std', 'router.std'],
]);
