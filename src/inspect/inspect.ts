/** The report about a checkpoint: what it is, counted from the files, and what is wrong with it. */
import type { Checkpoint, Problem } from '../checkpoint/types.ts';
import { checkExperts } from './check-experts.ts';
import { checkTensors } from './check-tensors.ts';
import { checkTokenizer } from './check-tokenizer.ts';
import { expertCount, summariseExperts } from './experts.ts';
import type { ExpertSummary } from './experts.ts';
import { gatherFacts } from './facts.ts';
import type { Facts } from './facts.ts';
import { configInteger, modelTypeOf, readMoeConfig } from './moe-config.ts';
import { judgeTie } from './tie.ts';
import { LAYERS } from './wanted.ts';
import { counted } from '../common/words.ts';

/** The contract of `inspect --json`; members may be added, none changes. */
export interface InspectReport {
  readonly format: Checkpoint['format'];
  readonly modelType: string | null;
  /** unknown: neither the config nor the tensors tell. */
  readonly kind: 'dense' | 'moe' | 'unknown';
  readonly tensorCount: number;
  /**
   * Counted from the files; weights that are tied count once; buffers are left out. `active` leaves out the routed experts
   * that a token does not use; null where the top-k is unknown. Both null where nothing is known (a config alone).
   */
  readonly parameters: { readonly total: number | null; readonly active: number | null };
  /** Bytes of the tensors' data, headers not counted. */
  readonly bytes: number;
  /** dtype → number of tensors. */
  readonly dtypes: Readonly<Record<string, number>>;
  /** Weight files. */
  readonly shards: number;
  readonly tied: boolean;
  /** Layers of the language model; null where unknown. */
  readonly layers: number | null;
  readonly experts?: ExpertSummary;
  readonly problems: readonly Problem[];
  /** Config and index only: no data to read. */
  readonly planOnly: boolean;
}

/** Inspects an opened checkpoint. Reads the tokenizer, never tensor data. */
export async function inspectCheckpoint(cp: Checkpoint): Promise<InspectReport> {
  const { config } = cp;
  const facts = gatherFacts(cp);
  const moe = config === null ? null : readMoeConfig(config);
  const experts = summariseExperts(facts, moe, config);
  const tie = judgeTie(cp, facts);
  const kind = kindOf(facts, experts, moe?.experts ?? 0, config !== null);
  const shown = kind === 'moe' ? experts : null;
  const problems: Problem[] = [
    ...cp.problems,
    ...(config === null ? [] : checkTensors(cp, config, facts)),
    ...(shown === null ? [] : checkExperts(cp, config, facts, moe, shown)),
    ...tie.problems,
    ...(await checkTokenizer(cp, facts)),
    ...countNotes(facts, tie.storedTwice),
  ];
  const headTwice = tie.storedTwice && facts.head !== null ? elements(facts.head.shape) : 0;
  const total = facts.elements - headTwice;
  const known = cp.tensors.size > 0 || cp.pieces !== undefined;
  return {
    format: cp.format,
    modelType: modelTypeOf(config),
    kind,
    tensorCount: cp.tensors.size + (cp.pieces?.size ?? 0),
    parameters: { total: known ? total : null, active: known ? activeOf(total, facts, shown) : null },
    bytes: facts.bytes,
    dtypes: Object.fromEntries([...facts.dtypes].sort(([a], [b]) => (a < b ? -1 : 1))),
    shards: cp.files.length,
    tied: tie.tied,
    layers: layerCount(facts, config === null ? null : (configInteger(config, LAYERS)?.value ?? null)),
    ...(shown === null ? {} : { experts: shown }),
    problems,
    planOnly: cp.planOnly,
  };
}

function elements(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

/** Tensors decide; the config only where they are silent. One expert by config alone is a dense model (hunyuan_v1_dense). */
function kindOf(
  facts: Facts,
  experts: ExpertSummary | null,
  byConfig: number,
  hasConfig: boolean,
): InspectReport['kind'] {
  const text = [...facts.layers.values()].filter((layer) => layer.tower === 'text');
  if (experts !== null && text.some((layer) => layer.firstExpert !== null)) return 'moe';
  if (byConfig > 1) return 'moe';
  if (text.some((layer) => layer.dense)) return 'dense';
  return hasConfig ? 'dense' : 'unknown';
}

function activeOf(total: number, facts: Facts, experts: ExpertSummary | null): number | null {
  if (experts === null) return total;
  if (experts.topK === null) return null;
  let idle = 0;
  for (const layer of facts.layers.values()) {
    if (layer.routed === 0) continue;
    const count = expertCount(layer) ?? experts.perLayer;
    const used = Math.min(experts.topK, count);
    if (count > 0) idle += layer.routed - Math.round((layer.routed / count) * used);
  }
  return total - idle;
}

function layerCount(facts: Facts, byConfig: number | null): number | null {
  const seen = new Set<string>();
  for (const [key, layer] of facts.layers) if (layer.tower === 'text') seen.add(key);
  return byConfig ?? (seen.size > 0 ? seen.size : null);
}

/** What the counts leave out or count otherwise than one might think. */
function countNotes(facts: Facts, storedTwice: boolean): Problem[] {
  const problems: Problem[] = [];
  if (facts.buffers.elements > 0) {
    problems.push({
      severity: 'info',
      code: 'buffers-not-counted',
      tensor: facts.buffers.names[0] ?? '',
      message: `${counted(facts.buffers.elements, 'value', 'values')} in ${counted(facts.buffers.names.length, 'tensor', 'tensors')} are buffers (${facts.buffers.names[0] ?? ''}…) and not counted as parameters`,
    });
  }
  if (facts.quantised.length > 0) {
    problems.push({
      severity: 'info',
      code: 'quantised-count',
      tensor: facts.quantised[0] ?? '',
      message: `${counted(facts.quantised.length, 'tensor holds', 'tensors hold')} quantised weights (${facts.quantised[0] ?? ''}…): parameters are counted as stored, not as the weights they stand for, and shapes are not compared with the config`,
    });
  }
  if (facts.attentionExperts.length > 0) {
    problems.push({
      severity: 'warning',
      code: 'attention-experts',
      tensor: facts.attentionExperts[0] ?? '',
      message: `${counted(facts.attentionExperts.length, 'tensor is an expert', 'tensors are experts')} of the attention (${facts.attentionExperts[0] ?? ''}…), counted as always active`,
    });
  }
  if (storedTwice) {
    problems.push({
      severity: 'info',
      code: 'tied-counted-once',
      message: 'The tied embedding is stored twice and counted once',
    });
  }
  return problems;
}
