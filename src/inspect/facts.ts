/** One walk over a checkpoint's tensors: what each layer holds, counted from shapes and never from the config. */
import type { Checkpoint, SourceTensor, StorageDtype } from '../checkpoint/types.ts';
import { parseTensorName } from './expert-names.ts';
import type { ExpertStyle, TensorName } from './expert-names.ts';

const PART_BIT = { gate: 1, up: 2, gate_up: 3, down: 4 } as const;
/** All projections of a gated feed-forward. */
export const ALL_PARTS = 7;

/** What is known of one layer of one tower. */
export interface LayerFacts {
  readonly layer: number;
  readonly stem: string;
  readonly tower: TensorName['tower'];
  /** Elements of everything under the routed experts, biases and scales included. */
  routed: number;
  /** Expert index → which projections were seen (bits of PART_BIT). */
  readonly experts: Map<number, number>;
  /** Stacked expert weights: part → shape, and where that name stands. */
  readonly packed: Map<string, PackedFacts>;
  readonly styles: Set<ExpertStyle>;
  /** Width of a per-expert projection, as the first one shows it. */
  width: number | null;
  /** Shape of the router's weight. */
  router: readonly number[] | null;
  /** Name of the first tensor that makes the layer an MoE layer, for messages. */
  firstExpert: string | null;
  shared: number;
  sharedWidth: number | null;
  sharedGate: boolean;
  /** Has a dense feed-forward of its own, and how wide. */
  dense: boolean;
  denseWidth: number | null;
}

export interface PackedFacts {
  readonly name: string;
  readonly shape: readonly number[];
  readonly style: ExpertStyle;
  readonly quantised: boolean;
}

export interface Facts {
  /** By stem and layer, in order of appearance. */
  readonly layers: ReadonlyMap<string, LayerFacts>;
  /** Elements of all tensors that are parameters, as stored; tied copies are counted as often as they lie there. */
  readonly elements: number;
  readonly bytes: number;
  readonly dtypes: ReadonlyMap<StorageDtype, number>;
  /** Token embedding and output head of the language model. */
  readonly embed: SourceTensor | null;
  readonly head: SourceTensor | null;
  /** Tensors that are recomputed or bookkeeping, not parameters: elements and names. */
  readonly buffers: { readonly elements: number; readonly names: readonly string[] };
  /** Names of the scales, zero points and packed blocks of quantised weights, and of weights stored as integers. */
  readonly quantised: readonly string[];
  /** Experts inside attention (jetmoe), which are counted as always active. */
  readonly attentionExperts: readonly string[];
}

/** Tensors that modules register as buffers: torch's parameter counts leave them out, and so do ours. */
export function isBuffer(name: string, shape: readonly number[]): boolean {
  const leaf = name.slice(name.lastIndexOf('.') + 1);
  if (
    /^(?:inv_freq|original_inv_freq|layer_scalar|masked_bias|position_ids|num_batches_tracked|rotary_emb|cos_cached|sin_cached)$/.test(
      leaf,
    )
  ) {
    return true;
  }
  // The causal mask of gpt2's attention.
  if (leaf === 'bias' && shape.length === 4 && shape[0] === 1 && shape[1] === 1) return true;
  // DeepSeek-type routers keep their balancing bias in a buffer; ernie's moe_statics and afmoe's are parameters.
  if (leaf === 'e_score_correction_bias') return !name.includes('moe_statics');
  if (leaf === 'expert_bias') return name.includes('feed_forward.');
  if (name.startsWith('blk.'))
    return /\.(?:exp_probs_b\.bias|exp_probs_b|attn_rot_embd\.weight|rope_freqs\.weight)$/.test(name);
  return /^rope_(?:freqs|factors_long|factors_short)\.weight$/.test(name);
}

/** Product of a shape; a huge hostile one is a float, never an overflow. */
export function elementsOf(shape: readonly number[]): number {
  let product = 1;
  for (const dim of shape) product *= dim;
  return product;
}

/** Walks over all tensors (and the pieces of DCP shards, which count by what is stored). */
export function gatherFacts(cp: Checkpoint): Facts {
  const layers = new Map<string, LayerFacts>();
  const dtypes = new Map<StorageDtype, number>();
  const buffers: string[] = [];
  const quantised: string[] = [];
  const attentionExperts: string[] = [];
  let bufferElements = 0;
  let elements = 0;
  let bytes = 0;
  let embed: SourceTensor | null = null;
  let head: SourceTensor | null = null;
  const take = (tensor: SourceTensor): void => {
    const { name, shape } = tensor;
    dtypes.set(tensor.dtype, (dtypes.get(tensor.dtype) ?? 0) + 1);
    bytes += tensor.bytes;
    const count = elementsOf(shape);
    if (isBuffer(name, shape)) {
      buffers.push(name);
      bufferElements += count;
      return;
    }
    elements += count;
    const parsed = parseTensorName(name);
    const stored = isQuantisedStorage(tensor, parsed);
    if (stored) quantised.push(name);
    if (parsed.role === 'attention' && name.includes('.experts.')) attentionExperts.push(name);
    if (parsed.tower === 'text' && parsed.layer === null && parsed.suffix === 'weight' && shape.length >= 2) {
      if (parsed.role === 'embed' && (embed === null || rank(name) < rank(embed.name))) embed = tensor;
      else if (parsed.role === 'head' && head === null) head = tensor;
    }
    if (parsed.layer !== null) addToLayer(layerOf(layers, parsed, parsed.layer), tensor, parsed, count, stored);
  };
  for (const tensor of cp.tensors.values()) take(tensor);
  for (const [name, pieces] of cp.pieces ?? []) for (const piece of pieces) take({ ...piece, name });
  return {
    layers,
    elements,
    bytes,
    dtypes,
    embed,
    head,
    buffers: { elements: bufferElements, names: buffers },
    quantised,
    attentionExperts,
  };
}

/** Position embeddings have the role of an embedding too; the token table wins. */
function rank(name: string): number {
  return /embed_positions|wpe|position/.test(name) ? 1 : 0;
}

const INTEGERS: ReadonlySet<StorageDtype> = new Set(['U8', 'I8', 'I16', 'U16', 'I32', 'U32', 'I64', 'U64', 'F4']);

function isQuantisedStorage(tensor: SourceTensor, parsed: TensorName): boolean {
  return parsed.suffix === 'quantisation' || (parsed.role !== 'other' && INTEGERS.has(tensor.dtype));
}

function layerOf(layers: Map<string, LayerFacts>, parsed: TensorName, layer: number): LayerFacts {
  const key = `${parsed.stem}/${String(layer)}`;
  const known = layers.get(key);
  if (known !== undefined) return known;
  const fresh: LayerFacts = {
    layer,
    stem: parsed.stem,
    tower: parsed.tower,
    routed: 0,
    experts: new Map(),
    packed: new Map(),
    styles: new Set(),
    width: null,
    router: null,
    firstExpert: null,
    shared: 0,
    sharedWidth: null,
    sharedGate: false,
    dense: false,
    denseWidth: null,
  };
  layers.set(key, fresh);
  return fresh;
}

function addToLayer(
  facts: LayerFacts,
  tensor: SourceTensor,
  parsed: TensorName,
  count: number,
  quantised: boolean,
): void {
  const { shape, name } = tensor;
  switch (parsed.role) {
    case 'expert':
      facts.routed += count;
      facts.firstExpert ??= name;
      if (parsed.style !== null) facts.styles.add(parsed.style);
      if (typeof parsed.expert === 'number') {
        const bits = parsed.part === null || parsed.suffix === 'bias' ? 0 : PART_BIT[parsed.part];
        facts.experts.set(parsed.expert, (facts.experts.get(parsed.expert) ?? 0) | bits);
        if (parsed.suffix === 'weight' && !quantised) facts.width ??= ffnWidth(shape, parsed.part);
      } else if (parsed.part !== null && parsed.style !== null && parsed.suffix !== 'bias') {
        const known = facts.packed.get(parsed.part);
        // The blocks of a quantised weight say more than its scales.
        if (known === undefined || (known.quantised && !quantised) || shape.length > known.shape.length) {
          facts.packed.set(parsed.part, { name, shape, style: parsed.style, quantised });
        }
      }
      return;
    case 'router':
      if (parsed.suffix === 'weight' && shape.length === 2) facts.router ??= shape;
      return;
    case 'shared':
      facts.shared += count;
      if (parsed.suffix === 'weight' && !quantised) facts.sharedWidth ??= ffnWidth(shape, parsed.part);
      return;
    case 'shared_gate':
      facts.sharedGate = true;
      facts.shared += count;
      return;
    case 'ffn':
      facts.dense = true;
      if (parsed.suffix === 'weight' && !quantised) facts.denseWidth ??= ffnWidth(shape, parsed.part);
      return;
    default:
  }
}

/** Width of a feed-forward by one `[out, in]` projection of it. */
function ffnWidth(shape: readonly number[], part: TensorName['part']): number | null {
  if (shape.length !== 2) return null;
  const [out, input] = shape;
  if (part === 'down') return input ?? null;
  if (part === 'gate_up') return out === undefined ? null : out / 2;
  return part === null ? null : (out ?? null);
}
