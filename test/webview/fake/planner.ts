/** A host for the plan editor: edits change the made-up recipe and its plan. */
import type { JobView, LogitCheck } from '../../../src/protocol/jobs.ts';
import type { PlanRow, PlanSummary, RecipeField, WireRecipeProblem } from '../../../src/protocol/planning.ts';
import {
  plannerCancel,
  plannerChanged,
  plannerCommand,
  plannerCopy,
  plannerEdit,
  plannerFault,
  plannerJob,
  plannerPick,
  plannerReady,
  plannerReveal,
  plannerRow,
  plannerRun,
  plannerText,
} from '../../../src/protocol/planner.ts';
import type { PlannerState } from '../../../src/protocol/planner.ts';
import type { JsonValue } from '../../../src/common/json.ts';
import { MoeError } from '../../../src/common/errors.ts';
import { FIELD_TEXTS } from '../../../src/recipe/fields.ts';
import { plannerLab } from '../../../src/protocol/lab.ts';
import { HOSTILE } from './hostile.ts';
import { installHost, later, record, scenario } from './page-host.ts';

const kind = scenario();
const host = installHost('planner');

const values = new Map<string, JsonValue>([
  ['base', './SmolLM2-135M'],
  ['experts', 8],
  ['expert_init.method', 'drop'],
  ['output.shard_size', '500MB'],
]);
if (kind === 'parents')
  values.set('parents', [
    { path: './math', experts: 2 },
    { path: HOSTILE, experts: 2 },
  ]);
if (kind === 'prompts') {
  values.set('router.init', 'hidden');
  values.set('experts', 2);
  values.set('router.prompts', [{ positive_prompts: ['a story', HOSTILE] }]);
}
const defaults = new Map<string, JsonValue | null>([
  ['parents', []],
  ['rest', 'base'],
  ['target', 'auto'],
  ['top_k', 2],
  ['granularity', 1],
  ['layers', 'all'],
  ['expert_init.ratio', 0.5],
  ['router.init', 'normal'],
  ['router.std', 0.02],
  ['router.order', 'topk-softmax'],
  ['scale', 'auto'],
  ['shared_expert', 'auto'],
  ['tie', 'auto'],
  ['output.dtype', 'same'],
  ['output.clone', 'auto'],
  ['config', { router_aux_loss_coef: 0.01 }],
  ['seed', 0],
  ['preset', null],
]);

const CHOICES: Readonly<Record<string, readonly string[]>> = {
  rest: ['base', 'average'],
  target: ['auto', 'mixtral', 'qwen2_moe', 'qwen3_moe', 'flex_olmo', 'granitemoe'],
  'expert_init.method': ['copy', 'noise', 'permute', 'drop', 'split', 'svd'],
  'router.init': ['normal', 'uniform', 'zero', 'orthogonal', 'hidden'],
  'router.order': ['topk-softmax', 'softmax-topk'],
  scale: ['auto', 'none', 'exact', 'megatron'],
  shared_expert: ['auto', 'none', 'a', 'b', 'c'],
  tie: ['auto', 'true', 'false'],
  'output.dtype': ['same', 'float32', 'bfloat16', 'float16'],
  'output.clone': ['auto', 'true', 'false'],
};
const CONTROLS: Readonly<Record<string, RecipeField['control']>> = {
  base: 'path',
  parents: 'parents',
  'router.prompts': 'prompts',
  experts: 'number',
  top_k: 'number',
  granularity: 'number',
  layers: 'layers',
  'expert_init.ratio': 'number',
  'router.std': 'number',
  'output.shard_size': 'size',
  config: 'json',
  seed: 'number',
  preset: 'text',
};
const RESOLVED: Readonly<Record<string, JsonValue>> = { target: 'mixtral', tie: true, shared_expert: 'none' };

function problemsOf(field: string): WireRecipeProblem[] {
  const topK = values.get('top_k') ?? 2;
  const experts = values.get('experts') ?? 8;
  if (field !== 'top_k' || typeof topK !== 'number' || typeof experts !== 'number' || topK <= experts) return [];
  return [
    {
      severity: 'error',
      code: 'top-k-exceeds-experts',
      message: `top_k ${String(topK)} exceeds experts ${String(experts)}`,
      field: 'top_k',
      from: 'smol.moe.yaml',
      at: { line: 4, column: 8, endLine: 4, endColumn: 10 },
      hint: 'Choose at most as many as there are experts.',
    },
  ];
}

function fields(): RecipeField[] {
  const names = [...new Set([...values.keys(), ...defaults.keys()])];
  return names.map((name): RecipeField => {
    const text = FIELD_TEXTS.get(name);
    return {
      path: name.split('.'),
      field: name,
      label: name,
      about: text?.about ?? '',
      expected: text?.expected ?? 'a value',
      control: CONTROLS[name] ?? 'choice',
      choices: (CHOICES[name] ?? []).map((value) => ({ value, label: value, about: null })),
      min: name === 'experts' || name === 'top_k' ? 1 : null,
      max: name === 'experts' ? 65_536 : name === 'router.prompts' ? Number(values.get('experts') ?? 8) : null,
      value: values.get(name) ?? defaults.get(name) ?? null,
      resolved: values.has(name) ? null : (RESOLVED[name] ?? null),
      origin: values.has(name) ? 'smol.moe.yaml line 3' : name === 'router.std' ? 'preset mixtral-8x' : 'default',
      disabled: name === 'rest' ? 'Only with parents: there are none.' : null,
      problems: problemsOf(name),
    };
  });
}

function rows(experts: number): PlanRow[] {
  const all: PlanRow[] = [
    row('embed', '', 'model.embed_tokens.weight', 'model.embed_tokens.weight', '', 'copy', 1, 56_623_104, true),
    row(
      'attn',
      '0–29',
      'self_attn.{q,k,v,o}_proj.weight',
      'self_attn.{q,k,v,o}_proj.weight',
      '',
      'copy',
      120,
      66_355_200,
      true,
    ),
    row(
      'gate',
      '0–29',
      'mlp.gate_proj.weight',
      'block_sparse_moe.experts.N.w1.weight',
      `0–${String(experts - 1)}`,
      'drop 50 % re-drawn',
      30 * experts,
      30 * experts * 1_769_472,
      false,
    ),
    row(
      'up',
      '0–29',
      'mlp.up_proj.weight',
      'block_sparse_moe.experts.N.w3.weight',
      `0–${String(experts - 1)}`,
      'drop 50 % re-drawn',
      30 * experts,
      30 * experts * 1_769_472,
      false,
    ),
    row(
      'down',
      '0–29',
      'mlp.down_proj.weight',
      'block_sparse_moe.experts.N.w2.weight',
      `0–${String(experts - 1)}`,
      'drop 50 % re-drawn',
      30 * experts,
      30 * experts * 1_769_472,
      false,
    ),
    row(
      'router',
      '0–29',
      '(new)',
      'block_sparse_moe.gate.weight',
      '',
      'normal, std 0.02, seed 0',
      30,
      30 * experts * 576 * 2,
      false,
    ),
    row(
      'norm',
      '0–29',
      '{input,post_attention}_layernorm.weight',
      '{input,post_attention}_layernorm.weight',
      '',
      'copy',
      60,
      69_120,
      true,
    ),
    row('odd', '', HOSTILE, HOSTILE, '', 'copy', 1, 12, true),
  ];
  return all;
}

function row(
  id: string,
  layers: string,
  source: string,
  target: string,
  experts: string,
  how: string,
  tensors: number,
  bytes: number,
  copied: boolean,
): PlanRow {
  return { id, layers, source, target, experts, how, tensors, bytes, copied };
}

function plan(): PlanSummary {
  const experts = typeof values.get('experts') === 'number' ? Number(values.get('experts')) : 8;
  const method = values.get('expert_init.method') ?? 'copy';
  const total = 54_909_504 + experts * 79_626_240;
  const bytes = total * 2;
  const files = Math.ceil(bytes / 500e6);
  const exact: PlanSummary['exactness'] =
    method === 'copy'
      ? { class: 'bit-exact', reason: 'copies with renormalised top-k weights: the sum is the dense output' }
      : method === 'permute'
        ? { class: 'exact', reason: 'expert_init permute: the order of summation inside each expert changes' }
        : method === 'split'
          ? { class: 'not-preserving', reason: 'slices are fewer than the dense width' }
          : { class: 'approximate', reason: 'expert_init drop: 50 % of the neurons are re-drawn' };
  const one = { trainingLinear: 3.9e8, trainingCausal: 4.1e8, forward2N: 2.7e8 };
  return {
    hash: `sha256-${String(experts)}-${JSON.stringify(method)}-0123456789abcdef`,
    sources: [
      { path: '/models/SmolLM2-135M', format: 'hf', modelType: 'llama', parameters: 134_515_008, bytes: 269_060_552 },
    ],
    targetType: 'mixtral',
    headline: `${String(experts)} experts, top-2`,
    total,
    active: 54_909_504 + 2 * 79_626_240,
    dense: 134_515_008,
    bytes,
    physicalBytes: bytes,
    physicalKnown: kind !== 'parents',
    freeBytes: 41_000_000_000,
    sourceBytes: 269_060_552,
    peakMemoryBytes: 212_000_000,
    peakMemoryReason: 'the largest tensor in float32, twice',
    flops: {
      ...one,
      forward2N: 4.28e8,
      sequence: 2048,
      dense: one,
      definition:
        'Training FLOPs per token, forward + backward: 6 × matrix parameters used per token, plus causal attention.',
    },
    moeLayers: Array.from({ length: 30 }, (_, at) => at),
    layers: 30,
    tensors: 272 + 90 * experts,
    files,
    exactness: exact,
    warnings: [
      { code: 'router-std-large', message: 'router.std 0.02 on a hidden size of 576 gives logits of about 0.5' },
      { code: 'odd-tensor', message: `'${HOSTILE}' is copied as it is: its role is not known` },
    ],
    assumptions: ['Embeddings are tied: the config says so and the file has no lm_head.'],
    rows: rows(experts),
    shards: Array.from({ length: Math.min(files, 200) }, (_, at) => ({
      name: `model-${String(at + 1).padStart(5, '0')}-of-${String(files).padStart(5, '0')}.safetensors`,
      bytes: at === files - 1 ? bytes - 500e6 * (files - 1) : 500e6,
      tensors: 120,
      cloneOf: at === 1 ? 'model-00001' : null,
      parts: [
        { label: 'experts', kind: 'expert', bytes: at === 0 ? 360e6 : 480e6 },
        ...(at === 0 ? [{ label: 'embedding', kind: 'embed' as const, bytes: 56e6 }] : []),
        { label: 'attention', kind: 'attention', bytes: 14e6 },
        { label: 'router', kind: 'router', bytes: 4e6 },
        { label: 'norms', kind: 'norm', bytes: 2e6 },
      ],
    })),
    moreShards: Math.max(0, files - 200),
    planOnly: kind === 'planonly' ? 'Only config and index are here: the plan can be read, not run.' : null,
    config: { architectures: ['MixtralForCausalLM'], num_local_experts: experts, evil: HOSTILE },
    seconds: 0.12,
  };
}

let job: JobView | null = null;
let version = 1;
const restricted = kind === 'restricted';

function state(): PlannerState {
  const all = fields();
  const problems = all.flatMap((field) => field.problems);
  const invalid = problems.some(({ severity }) => severity === 'error');
  const failed = kind === 'failed';
  return {
    version,
    name: 'smol.moe.yaml',
    path: '/work/recipes/smol.moe.yaml',
    text: 'base: ./SmolLM2-135M\nexperts: 8\n',
    recipe: null,
    fields: all,
    problems,
    status: failed ? 'failed' : invalid ? 'invalid' : 'ready',
    error: failed
      ? {
          title: 'The base could not be opened',
          message: '/models/SmolLM2-135M does not exist',
          code: 'not-found',
          kind: 'input',
          file: '/models/SmolLM2-135M',
          tensor: null,
          byte: null,
          field: 'base',
          hint: 'Choose another base.',
          actions: [],
        }
      : null,
    plan: failed || invalid ? null : plan(),
    out: kind === 'parents' ? null : '/models/smol-moe-8x2',
    job,
    restricted,
    dirty: version > 1,
  };
}

const bad = kind === 'differs';
const LOGITS: LogitCheck = {
  state: bad ? 'failed' : kind === 'unproven' ? 'skipped' : 'passed',
  why: kind === 'unproven' ? `the source has 5.3 GB ${HOSTILE}` : '',
  class: 'exact',
  limit: 1e-5,
  relativeNorm: bad ? 0.042 : 3.2e-7,
  maxAbs: bad ? 1.7 : 4.1e-6,
  meanKl: bad ? 0.011 : 1.2e-13,
  positions: 318,
  argmaxEqual: bad ? 290 : 318,
  nonFinite: 0,
  bitEqual: false,
  input: '318 tokens of the built-in text',
  device: 'cpu',
};

function jobNow(status: JobView['status'], share: number): JobView {
  return {
    id: 'job-1',
    kind: 'upcycle',
    title: 'Upcycle SmolLM2-135M → smol-moe-8x2',
    status,
    params: {
      kind: 'upcycle',
      from: { type: 'recipe', file: '/work/recipes/smol.moe.yaml', text: null, preset: null, sets: [], src: null },
      out: '/models/smol-moe-8x2',
      planHash: null,
      overwrite: false,
      resume: false,
      clone: true,
      verify: true,
      keepPartial: true,
    },
    created: '2026-08-21T10:00:00Z',
    started: '2026-08-21T10:00:01Z',
    ended: null,
    progress:
      status === 'running'
        ? {
            phase: 'write',
            bytesDone: Math.round(share * 1.3e9),
            bytesTotal: 1.3e9,
            tensorsDone: Math.round(share * 992),
            tensorsTotal: 992,
            at: `model-00002-of-00003.safetensors ${HOSTILE}`,
            bytesPerSecond: 412e6,
            etaSeconds: (1 - share) * 3,
          }
        : null,
    usage: null,
    outcome:
      status === 'done' || status === 'checked-bad'
        ? { ok: status === 'done', summary: 'Mixtral, 692M parameters, written in 3.1 s, verified', logits: LOGITS }
        : null,
    resultFile: null,
    error:
      status === 'interrupted'
        ? {
            kind: 'internal',
            code: 'job-vanished',
            message: 'The job process was killed (SIGKILL)',
            place: { hint: 'Resume goes on where it was.' },
          }
        : null,
    cancelling: false,
    mine: true,
    place: null,
    resumable: status === 'interrupted',
    repeats: null,
    logFile: '/tmp/log',
  };
}
if (kind === 'interrupted') job = jobNow('interrupted', 0.4);
if (kind === 'proven' || kind === 'unproven') job = jobNow('done', 1);
if (kind === 'differs') job = jobNow('checked-bad', 1);
if (kind === 'running') job = jobNow('running', 0.4);

host.handle(plannerReady, () => state());
host.handle(plannerEdit, async ({ version: from, changes }) => {
  await later(5);
  record.calls.push(`edit ${JSON.stringify(changes)}`);
  if (kind === 'conflict') return { applied: false, version: version + 1, reason: 'The document changed meanwhile' };
  if (from !== version) return { applied: false, version, reason: `The document is at ${String(version)}` };
  for (const change of changes) {
    const name = change.path.map(String).join('.');
    if (change.op === 'set') values.set(name, change.value);
    else values.delete(name);
  }
  version++;
  setTimeout(() => {
    host.notify(plannerChanged, { ...state(), status: 'planning' });
    setTimeout(() => {
      host.notify(plannerChanged, state());
    }, 60);
  }, 5);
  return { applied: true, version, reason: null };
});
host.handle(plannerRow, async ({ row: id, start, count }) => {
  await later(10);
  const found = rows(8).find((each) => each.id === id);
  if (found === undefined) throw new MoeError('input', 'no-such-row', `no row ${id}`);
  const total = found.tensors;
  return {
    row: id,
    start,
    total,
    tensors: Array.from({ length: Math.max(0, Math.min(count, total - start)) }, (_, at) => ({
      name: `model.layers.${String(Math.floor((start + at) / 8))}.block_sparse_moe.experts.${String((start + at) % 8)}.w1.weight`,
      dtype: 'BF16',
      shape: [1536, 576],
      bytes: 1_769_472,
      file: 'model-00001-of-00003.safetensors',
      how: found.how,
      sources: [
        {
          source: `model.layers.${String(Math.floor((start + at) / 8))}.mlp.gate_proj.weight`,
          from: 0,
          slice: 'rows 0–767 of 1,536',
          bytes: 884_736,
        },
      ],
    })),
  };
});
host.handle(plannerText, ({ hash }) => ({ text: `llama → mixtral: 8 experts, top-2\n\n${hash}\n${HOSTILE}\n` }));
host.handle(plannerRun, async ({ hash, resume }) => {
  record.calls.push(`run ${hash} ${resume ? 'resume' : 'new'}`);
  job = jobNow('running', 0);
  const step = async (): Promise<void> => {
    for (let done = 1; done <= 10; done++) {
      await later(60);
      if (job?.status !== 'running') return;
      job = jobNow('running', done / 10);
      host.notify(plannerJob, { job });
    }
    job = jobNow('done', 1);
    host.notify(plannerJob, { job });
  };
  void step();
  await later(5);
  return { job };
});
host.handle(plannerCancel, () => {
  job = jobNow('cancelled', 0.5);
  host.notify(plannerJob, { job });
  return { cancelled: true };
});
host.handle(plannerLab, async ({ file, text }, { signal, progress }) => {
  record.calls.push(`lab ${file ?? 'null'} ${text ?? 'null'}`);
  if (file !== null)
    throw new MoeError('input', 'text-unreadable', `The text cannot be read: ${HOSTILE}`, {
      file,
      hint: 'Expected UTF-8.',
    });
  // Slow enough to be cancelled where the text says so.
  for (let done = 0; done < (text === 'slow' ? 200 : 4); done++) {
    progress({ done, total: 200, what: 'Running the text' });
    await later(20);
    if (signal.aborted) throw new MoeError('cancelled', 'cancelled', 'Cancelled.');
  }
  const layers = [0, 1, 2];
  const result = (init: string, std: number | null, dead: readonly number[]) => ({
    init,
    std,
    load: Float32Array.from(
      layers.flatMap((layer) =>
        Array.from({ length: 8 }, (_, e) => (dead.includes(e) ? 0 : (1 + ((e * 7 + layer) % 5)) / 24)),
      ),
    ),
    layers: layers.map((layer) => ({
      layer,
      routerEntropy: init === 'zero' ? 1 : 0.93,
      loadEntropy: 0.9,
      maxVio: init === 'zero' ? 3 : 0.4,
      dead,
      cold: [],
      condition: init === 'zero' ? null : 1.7 + layer,
      dependent: init === 'hidden',
      bf16TieRate: init === 'zero' ? 1 : 0.002,
      marginMean: 0.01,
      drops: [1, 1.25, 2, 4].map((factor) => ({ factor, convention: 'megatron', share: 0.2 / factor })),
    })),
    maxVio: init === 'zero' ? 3 : 0.4,
    warnings: init === 'zero' ? [`every layer: ${HOSTILE}`] : [],
  });
  return {
    hash: 'h',
    experts: 8,
    topK: 2,
    tokens: 745,
    texts: [{ name: HOSTILE, tokens: 745, whole: text !== null }],
    device: 'cpu',
    seconds: 1.25,
    results: [
      result('normal', 0.02, []),
      result('uniform', 0.02, []),
      result('zero', null, [2, 3, 4, 5, 6, 7]),
      result('hidden', null, []),
    ],
    notes: [HOSTILE],
  };
});
host.handle(plannerPick, ({ what }) => {
  record.calls.push(`pick ${what}`);
  return { path: what === 'out' ? '/models/out' : './picked' };
});
host.handle(plannerCopy, ({ text }) => {
  record.copied.push(text);
  return {};
});
host.handle(plannerCommand, ({ command, argument }) => {
  record.commands.push(`${command} ${argument ?? ''}`.trim());
  return { done: true };
});
host.on(plannerFault, ({ message }) => {
  record.faults.push(`page: ${message}`);
});
record.say['reveal'] = (field) => {
  host.notify(plannerReveal, { field: String(field) });
};
