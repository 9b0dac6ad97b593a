/** The overview of a checkpoint: what an inspection found, with estimates and metadata, as the viewer shows it. */
import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Checkpoint, Problem } from '../checkpoint/types.ts';
import { isJsonObject } from '../common/json.ts';
import { normTopkProb, textSection } from '../inspect/index.ts';
import { configInteger } from '../inspect/moe-config.ts';
import type { InspectReport } from '../inspect/index.ts';
import { rangesText } from '../report/text.ts';
import { MANIFEST_NAME } from '../write/documents.ts';
import { keptProof } from '../write/manifest-proof.ts';
import { bytesLong, countLong, group } from './format.ts';
import { kvCacheOf, weightMemory } from './memory.ts';
import { metadataOf } from './metadata.ts';
import { wireProblem } from './wire-problem.ts';
import type { Overview } from './wire-types.ts';

const MAX_PROBLEMS = 2000;
const SEVERITY_ORDER: Readonly<Record<Problem['severity'], number>> = { error: 0, warning: 1, info: 2 };

/** Fills the overview. Reads headers and the folder, never tensor data; never throws for what lies on disk. */
export async function overviewOf(cp: Checkpoint, report: InspectReport): Promise<Overview> {
  const metadata = await metadataOf(cp);
  const problems = [...report.problems].sort((a, b) => SEVERITY_ORDER[a.severity] - SEVERITY_ORDER[b.severity]);
  const { total, active } = report.parameters;
  const experts = report.experts ?? null;
  return {
    name: basename(cp.format === 'hf' ? cp.root : cp.path),
    path: cp.path,
    format: cp.format,
    kind: report.kind,
    modelType: report.modelType,
    tensorCount: report.tensorCount,
    parameters: { total, active },
    bytes: report.bytes,
    dtypes: Object.entries(report.dtypes)
      .map(([dtype, tensors]) => ({ dtype, tensors }))
      .sort((a, b) => b.tensors - a.tensors),
    shards: report.shards,
    files: cp.files.map(({ name, path, bytes, state }) => ({ name, path, bytes, state })),
    tied: report.tied,
    layers: report.layers,
    experts:
      experts === null
        ? null
        : { ...experts, layerIndices: [...experts.layerIndices], parallelSizes: [...experts.parallelSizes] },
    memory: weightMemory(total, report.kind === 'moe' ? active : null, report.bytes),
    kvCache: kvCacheOf(cp.config),
    problems: problems.slice(0, MAX_PROBLEMS).map(wireProblem),
    moreProblems: Math.max(0, problems.length - MAX_PROBLEMS),
    planOnly: report.planOnly,
    metadata: metadata.entries,
    config: cp.config,
    upcycled: await exists(join(cp.root, MANIFEST_NAME)),
    facts: [...factsOf(cp, report, metadata.note), ...(await proofFact(cp))],
  };
}

type Fact = Overview['facts'][number];

function factsOf(cp: Checkpoint, report: InspectReport, metadataNote: string | null): Fact[] {
  const facts: Fact[] = [];
  const add = (label: string, value: string, exact: string | null = null, note: string | null = null): void => {
    facts.push({ label, value, exact, note });
  };
  const { total, active } = report.parameters;
  const { config } = cp;
  if (total !== null) add('Parameters', countLong(total), String(total), 'counted from the files; tied weights once');
  if (active !== null && active !== total)
    add('Active per token', countLong(active), String(active), 'without the routed experts that a token does not use');
  add('Size of the tensors', bytesLong(report.bytes), String(report.bytes));
  const { experts } = report;
  if (experts !== undefined) {
    add(
      'Experts',
      `${group(experts.perLayer)} per layer${experts.topK === null ? '' : `, top-${group(experts.topK)}`}`,
      String(experts.perLayer),
      experts.topK === null ? 'no config says how many a token uses' : null,
    );
    add(
      'MoE layers',
      experts.layers === report.layers
        ? `all ${group(experts.layers)}`
        : `${group(experts.layers)} (${rangesText(experts.layerIndices)})`,
      String(experts.layers),
    );
    if (experts.shared > 0) add('Shared experts', group(experts.shared), String(experts.shared));
    if (experts.width !== null) add('Expert width', group(experts.width), String(experts.width));
    if (experts.layout !== null) add('Expert layout', experts.layout);
    if (experts.parallelSizes.length > 1)
      add(
        'Expert-parallel sizes',
        experts.parallelSizes.slice(0, 24).join(', '),
        null,
        'group sizes that divide the experts evenly',
      );
  }
  if (config !== null) {
    const { section } = textSection(config);
    const norm = normTopkProb(config);
    if (norm !== null && report.kind === 'moe')
      add(
        'Top-k weights',
        norm.value ? 'normalised to sum 1' : 'not normalised',
        String(norm.value),
        norm.absent ? 'norm_topk_prob is absent: the family’s default' : 'norm_topk_prob',
      );
    const numbers: readonly (readonly [string, readonly string[]])[] = [
      ['Hidden size', ['hidden_size', 'd_model', 'n_embd', 'dim']],
      ['Feed-forward width', ['intermediate_size', 'ffn_hidden_size', 'n_inner']],
      ['Attention heads', ['num_attention_heads', 'n_head']],
      ['Key-value heads', ['num_key_value_heads', 'num_kv_heads']],
      ['Context length', ['max_position_embeddings', 'n_positions', 'n_ctx', 'max_sequence_length']],
      ['Vocabulary', ['vocab_size']],
    ];
    for (const [label, names] of numbers) {
      const found = configInteger(config, names);
      if (found !== null) add(label, group(found.value), String(found.value), `config: ${found.field}`);
    }
    const quantisation = section['quantization_config'] ?? config['quantization_config'];
    if (isJsonObject(quantisation)) add('Quantisation', String(quantisation['quant_method'] ?? 'of an unnamed method'));
  }
  if (cp.index !== null) {
    add('Index', cp.index.name ?? 'model.safetensors.index.json', null, `${group(cp.index.weightMap.size)} tensors`);
  }
  if (metadataNote !== null) add('Metadata', metadataNote);
  return facts;
}

/** What running source and result has shown, where it was done. */
async function proofFact(cp: Checkpoint): Promise<Fact[]> {
  const proof = await keptProof(join(cp.root, MANIFEST_NAME));
  if (proof === null) return [];
  const { ok, limit, bitEqual, relativeNorm, positions, input, at } = proof;
  const found = bitEqual
    ? 'logits equal bit for bit'
    : `logits differ by ${relativeNorm?.toExponential(1) ?? 'no finite number'} (relative norm)`;
  const verdict = limit === null ? found : `${ok ? 'passes' : 'FAILS'}: ${found}, limit ${limit.toExponential(0)}`;
  const note = `source and result on ${input}, ${at.slice(0, 10)}; recorded in ${MANIFEST_NAME}, whose seal Verify checks`;
  return [{ label: 'Proof by running', value: verdict, exact: null, note: positions > 0 ? note : null }];
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    (facts) => facts.isFile(),
    () => false,
  );
}
