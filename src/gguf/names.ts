/**
 * GGUF tensors as Hugging Face tensors: names, shapes, and which stored rows make up each. A Hugging Face tensor is a
 * concatenation of row ranges of stored tensors, so that stacked experts (one stored tensor, many names), fused q/k/v and
 * split gate/up all take the same form.
 */
import { MoeError, grouped } from '../common/errors.ts';
import { SUPPORTED_ARCHS, findArch } from './arch.ts';
import type { GgufArch } from './arch.ts';
import { Metadata } from './metadata.ts';
import type { GgufTransform } from './transform.ts';
import type { GgufHeader, GgufTensor } from './types.ts';

/** Rows `begin` to `end` of a stored tensor (elements, for a vector); the transform acts within that range. */
export interface GgufPiece {
  readonly tensor: GgufTensor;
  readonly begin: number;
  readonly end: number;
  readonly transform: GgufTransform;
}

/** One Hugging Face tensor. */
export interface GgufSource {
  readonly name: string;
  readonly shape: readonly number[];
  /** In order; their rows are the tensor's rows. */
  readonly pieces: readonly GgufPiece[];
}

export interface GgufMapping {
  readonly arch: GgufArch;
  readonly sources: ReadonlyMap<string, GgufSource>;
  /** Stored tensors whose meaning goes into the config (rotary factors) or that hold nothing (cached tables). */
  readonly consumed: readonly string[];
  /** Stored tensors that this architecture should not have. */
  readonly unknown: readonly string[];
  /** Tensors that it should have and has not, by GGUF name. */
  readonly missing: readonly string[];
}

const TOP: Readonly<Record<string, string>> = {
  'token_embd.weight': 'model.embed_tokens.weight',
  'output_norm.weight': 'model.norm.weight',
  'output.weight': 'lm_head.weight',
  'output.bias': 'lm_head.bias',
};
const CONSUMED =
  /^(rope_freqs|rope_factors_long|rope_factors_short)\.weight$|^blk\.\d+\.(attn_rot_embd|rope_freqs|rope_factors_long|rope_factors_short)(\.weight)?$/;
const LAYER = /^blk\.(\d{1,6})\.([a-z0-9_]+)(?:\.(\d{1,5}))?\.(weight|bias)$/;
/** Counts from the metadata that tensors must agree with. */
interface Counts {
  readonly q: number;
  readonly kv: number;
  readonly experts: number;
}

/**
 * The architecture of a file.
 * @throws MoeError `gguf-unsupported-arch` for one that cannot be read whole, naming those that can
 */
export function archOf(header: Pick<GgufHeader, 'path' | 'metadata' | 'metadataTypes'>): {
  arch: GgufArch;
  metadata: Metadata;
} {
  const name = new Metadata(header, '').text('general.architecture');
  if (name === undefined) {
    throw new MoeError(
      'input',
      'gguf-metadata',
      `${header.path}: has no "general.architecture"; it is no language model`,
      {
        file: header.path,
        field: 'general.architecture',
      },
    );
  }
  const metadata = new Metadata(header, name);
  const arch = findArch(name, metadata.integer('{arch}.expert_count') ?? 0);
  if (arch !== undefined) return { arch, metadata };
  throw new MoeError(
    'input',
    'gguf-unsupported-arch',
    `${header.path}: architecture "${name}" is not supported as a source; supported are ${SUPPORTED_ARCHS.join(', ')}`,
    {
      file: header.path,
      field: 'general.architecture',
      hint: 'Use the Hugging Face folder of the model.',
    },
  );
}

/** Maps every tensor of the file; see `requireComplete` for what must be true before anything is written from it. */
export function mapTensors(header: GgufHeader): GgufMapping {
  const { arch, metadata } = archOf(header);
  const q = metadata.uniformInteger('{arch}.attention.head_count') ?? 0;
  const counts: Counts = {
    q,
    kv: metadata.uniformInteger('{arch}.attention.head_count_kv') ?? q,
    experts: metadata.integer('{arch}.expert_count') ?? 0,
  };
  const layers = metadata.requireInteger('{arch}.block_count');
  const sources = new Map<string, GgufSource>();
  const parts = new Map<string, PartedSource>();
  const consumed: string[] = [];
  const unknown: string[] = [];
  for (const tensor of header.tensors.values()) {
    if (CONSUMED.test(tensor.name)) consumed.push(tensor.name);
    else if (!mapOne(tensor, arch, counts, layers, sources, parts)) unknown.push(tensor.name);
  }
  for (const [name, parted] of parts) sources.set(name, joinParts(name, parted));
  return { arch, sources, consumed, unknown, missing: missingTensors(header, arch, layers) };
}

/**
 * Refuses a file with tensors that no name is known for, or without tensors that the architecture needs.
 * @throws MoeError `gguf-unknown-tensor` or `gguf-missing-tensor`, naming the first and counting the rest
 */
export function requireComplete(header: Pick<GgufHeader, 'path'>, mapping: GgufMapping): void {
  const [stranger] = mapping.unknown;
  if (stranger !== undefined) {
    throw new MoeError(
      'input',
      'gguf-unknown-tensor',
      `${header.path}: architecture "${mapping.arch.name}" has no tensor "${stranger}"${more(mapping.unknown)}`,
      {
        file: header.path,
        tensor: stranger,
        hint: 'Leaving it out would change the model: use the Hugging Face folder, or report the converter that wrote the file.',
        details: { unknown: mapping.unknown.slice(0, 100) },
      },
    );
  }
  const [absent] = mapping.missing;
  if (absent !== undefined) {
    throw new MoeError(
      'input',
      'gguf-missing-tensor',
      `${header.path}: tensor "${absent}" is missing${more(mapping.missing)}`,
      {
        file: header.path,
        tensor: absent,
        hint: 'The file may be one part of a split model, or hold a vocabulary only.',
        details: { missing: mapping.missing.slice(0, 100) },
      },
    );
  }
}

function more(names: readonly string[]): string {
  return names.length > 1 ? ` (and ${grouped(names.length - 1)} more)` : '';
}

interface PartedSource {
  gate?: GgufTensor;
  up?: GgufTensor;
}

function mapOne(
  tensor: GgufTensor,
  arch: GgufArch,
  counts: Counts,
  layers: number,
  sources: Map<string, GgufSource>,
  parts: Map<string, PartedSource>,
): boolean {
  const add = (name: string, pieces: readonly GgufPiece[], shape: readonly number[]): true => {
    sources.set(name, { name, shape, pieces });
    return true;
  };
  const whole = (transform: GgufTransform): readonly GgufPiece[] => [
    { tensor, begin: 0, end: rowsOf(tensor), transform },
  ];
  const top = Object.hasOwn(TOP, tensor.name) ? TOP[tensor.name] : undefined;
  if (top !== undefined) return add(top, whole(normTransform(arch, tensor.name)), tensor.shape);

  const match = LAYER.exec(tensor.name);
  const part = match?.[2];
  const kind = match?.[4];
  if (match === null || part === undefined || kind === undefined) return false;
  const layer = Number(match[1]);
  if (layer >= layers) return false;
  const prefix = `model.layers.${layer}.`;
  if (match[3] !== undefined) {
    // Until early 2024 experts were separate tensors: blk.0.ffn_gate.3.weight.
    const template = lookup(arch, `${part}_exps`);
    if (template?.includes('{e}') !== true || kind !== 'weight') return false;
    return add(
      `${prefix}${template.replace('{e}', String(Number(match[3])))}.weight`,
      whole({ kind: 'none' }),
      tensor.shape,
    );
  }
  if (part === 'attn_qkv' && lookup(arch, part) === undefined)
    return mapFusedQkv(tensor, arch, counts, prefix, kind, add);
  const target = lookup(arch, part);
  if (target === undefined || (kind === 'bias' && !arch.biases.flat().includes(part))) return false;
  const name = `${prefix}${target}.${kind}`;
  if (part.endsWith('_exps')) checkStack(tensor, counts.experts);
  if (target.includes('{e}')) return mapExperts(tensor, name, add);
  if (part === 'ffn_gate_exps' || part === 'ffn_up_exps') {
    const parted = parts.get(name) ?? {};
    parted[part === 'ffn_gate_exps' ? 'gate' : 'up'] = tensor;
    parts.set(name, parted);
    return true;
  }
  if (part === 'ffn_gate_inp_shexp' && tensor.shape.length === 1)
    return add(name, whole({ kind: 'none' }), [1, ...tensor.shape]);
  return add(name, whole(layerTransform(arch, part, counts, tensor)), tensor.shape);
}

function lookup(arch: GgufArch, part: string): string | undefined {
  return Object.hasOwn(arch.layer, part) ? arch.layer[part] : undefined;
}

/** Rows of a matrix or stack of matrices; elements of a vector. */
function rowsOf(tensor: GgufTensor): number {
  return tensor.shape.length <= 1 ? tensor.elements : tensor.shape.slice(0, -1).reduce((a, b) => a * b, 1);
}

function normTransform(arch: GgufArch, name: string): GgufTransform {
  return arch.normPlusOne && name.endsWith('norm.weight') ? { kind: 'subtractOne' } : { kind: 'none' };
}

function layerTransform(arch: GgufArch, part: string, counts: Counts, tensor: GgufTensor): GgufTransform {
  if (arch.interleavedQk && (part === 'attn_q' || part === 'attn_k')) {
    return unpermute(tensor, part === 'attn_q' ? counts.q : counts.kv, rowsOf(tensor));
  }
  return normTransform(arch, tensor.name);
}

function unpermute(tensor: GgufTensor, heads: number, rows: number): GgufTransform {
  if (heads > 0 && rows % (2 * heads) === 0) return { kind: 'unpermute', heads };
  throw new MoeError(
    'input',
    'gguf-shape',
    `${tensor.file}: tensor "${tensor.name}" has ${grouped(rows)} rows, which ${grouped(heads)} heads of even size cannot give`,
    { file: tensor.file, tensor: tensor.name },
  );
}

type Add = (name: string, pieces: readonly GgufPiece[], shape: readonly number[]) => true;

/** Largest number of experts that is believed; the most in any published model is below 1,000. */
const MAX_EXPERTS = 65_536;

/** Stacked experts must be as many as the metadata says, and not empty: a name is made for each. */
function checkStack(tensor: GgufTensor, experts: number): void {
  const [stacked] = tensor.shape;
  if (tensor.shape.length === 3 && stacked === experts && experts <= MAX_EXPERTS && tensor.elements > 0) return;
  throw new MoeError(
    'input',
    'gguf-shape',
    `${tensor.file}: tensor "${tensor.name}" has shape [${tensor.shape.join(', ')}]; [${grouped(experts)}, rows, columns] is expected for ${grouped(experts)} experts`,
    { file: tensor.file, tensor: tensor.name },
  );
}

/** A stack [experts, rows, columns] gives one tensor [rows, columns] per expert. */
function mapExperts(tensor: GgufTensor, name: string, add: Add): boolean {
  const [experts, rows, columns] = tensor.shape;
  if (tensor.shape.length !== 3 || experts === undefined || rows === undefined || columns === undefined) return false;
  for (let e = 0; e < experts; e++) {
    const piece: GgufPiece = { tensor, begin: e * rows, end: (e + 1) * rows, transform: { kind: 'none' } };
    add(name.replace('{e}', String(e)), [piece], [rows, columns]);
  }
  return true;
}

/** The converter's --fuse-qkv puts q rows, then k, then v into one tensor, each interleaved as it would be alone. */
function mapFusedQkv(
  tensor: GgufTensor,
  arch: GgufArch,
  counts: Counts,
  prefix: string,
  kind: string,
  add: Add,
): boolean {
  const rows = rowsOf(tensor);
  const unit = rows / (counts.q + 2 * counts.kv);
  if (!Number.isInteger(unit) || unit === 0) return false;
  let begin = 0;
  for (const [part, count] of [
    ['attn_q', counts.q],
    ['attn_k', counts.kv],
    ['attn_v', counts.kv],
  ] as const) {
    const target = lookup(arch, part);
    if (target === undefined) return false;
    const length = count * unit;
    const turned = arch.interleavedQk && part !== 'attn_v';
    const transform: GgufTransform = turned ? unpermute(tensor, count, length) : { kind: 'none' };
    const shape = tensor.shape.length === 1 ? [length] : [length, ...tensor.shape.slice(1)];
    add(`${prefix}${target}.${kind}`, [{ tensor, begin, end: begin + length, transform }], shape);
    begin += length;
  }
  return true;
}

/** Gate and up stacks [experts, width, hidden] as one [experts, 2·width, hidden], expert by expert, gate rows first. */
function joinParts(name: string, { gate, up }: PartedSource): GgufSource {
  const [experts = 0, width = 0, hidden = 0] = gate?.shape ?? up?.shape ?? [];
  const fits =
    gate !== undefined && up !== undefined && gate.shape.length === 3 && gate.shape.join() === up.shape.join();
  if (!fits) {
    const known = gate ?? up;
    throw new MoeError(
      'input',
      'gguf-shape',
      `the gate and up stacks of "${name}" do not have the same three-dimensional shape`,
      {
        ...(known === undefined ? {} : { file: known.file, tensor: known.name }),
      },
    );
  }
  const pieces: GgufPiece[] = [];
  for (let e = 0; e < experts; e++) {
    for (const tensor of [gate, up])
      pieces.push({ tensor, begin: e * width, end: (e + 1) * width, transform: { kind: 'none' } });
  }
  return { name, shape: [experts, 2 * width, hidden], pieces };
}

function missingTensors(header: GgufHeader, arch: GgufArch, layers: number): string[] {
  const missing: string[] = [];
  const want = (name: string, ...instead: string[]): void => {
    if (!header.tensors.has(name) && !instead.some((other) => header.tensors.has(other))) missing.push(name);
  };
  const biased = arch.biases.filter(
    (group, i) => (arch.alwaysBiased && i === 0) || group.some((part) => anyBias(header, part, layers)),
  );
  want('token_embd.weight');
  want('output_norm.weight');
  // More layers than tensors: name the first layers only, so that an absurd block_count costs nothing.
  for (let layer = 0; layer < layers && missing.length < 1000; layer++) {
    const fused = (part: string, kind: string): string[] => (QKV.has(part) ? [`blk.${layer}.attn_qkv.${kind}`] : []);
    for (const part of arch.required) {
      const apart = part.endsWith('_exps') ? [`blk.${layer}.${part.slice(0, -5)}.0.weight`] : [];
      want(`blk.${layer}.${part}.weight`, ...fused(part, 'weight'), ...apart);
    }
    for (const part of biased.flat()) want(`blk.${layer}.${part}.bias`, ...fused(part, 'bias'));
  }
  return missing;
}

const QKV = new Set(['attn_q', 'attn_k', 'attn_v']);

/** Whether any layer has that bias. Only as many layers are looked at as tensors could exist for. */
function anyBias(header: GgufHeader, part: string, layers: number): boolean {
  for (let layer = 0; layer < Math.min(layers, header.tensors.size); layer++) {
    if (header.tensors.has(`blk.${layer}.${part}.bias`)) return true;
    if (QKV.has(part) && header.tensors.has(`blk.${layer}.attn_qkv.bias`)) return true;
  }
  return false;
}
