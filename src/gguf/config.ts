/**
 * A Hugging Face config.json from GGUF metadata. What a GGUF does not store is filled with the value that its readers take, and
 * said in a note: nothing is guessed in silence.
 */
import { MoeError, grouped } from '../common/errors.ts';
import type { GgufArch } from './arch.ts';
import { familyFields } from './config-families.ts';
import type { ConfigFields, FamilyContext } from './config-families.ts';
import type { Metadata } from './metadata.ts';
import { shortestFloat32 } from './metadata.ts';
import { archOf } from './names.ts';
import { ropeOf } from './rope.ts';
import type { RopeSettings } from './rope.ts';
import type { GgufHeader, GgufNote } from './types.ts';
import { counted } from '../common/words.ts';

export interface GgufConfig {
  /** Plain JSON: the content of config.json. */
  readonly config: ConfigFields;
  readonly modelType: string;
  readonly kind: 'dense' | 'moe';
  /** dtype that the weights are worth: that of the file, or bfloat16 for a quantised one. */
  readonly dtype: 'float32' | 'float16' | 'bfloat16';
  /** Whether any weight is quantised, so that its values are approximations of the original's. */
  readonly quantised: boolean;
  readonly notes: readonly GgufNote[];
}

/**
 * Rebuilds config.json.
 * @throws MoeError `input` for an unsupported architecture, missing or contradictory metadata, or rotary settings that no config expresses
 */
export function configFromGguf(header: GgufHeader): GgufConfig {
  const { arch, metadata } = archOf(header);
  const notes: GgufNote[] = [];
  const sizes = sizesOf(header, arch, metadata, notes);
  const rope = ropeOf({ header, metadata, headDim: sizes.rotaryDim, contextLength: sizes.contextLength, notes });
  const { dtype, quantised } = dtypeOf(header, notes);
  const context: FamilyContext = { header, metadata, notes, ...sizes };
  const has = (name: string): boolean => header.tensors.has(name);
  const tied = !has('output.weight');
  const config: ConfigFields = {
    architectures: [arch.architecture],
    model_type: arch.modelType,
    vocab_size: sizes.vocabSize,
    hidden_size: sizes.hidden,
    intermediate_size: sizes.intermediate,
    num_hidden_layers: sizes.layers,
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.kvHeads,
    hidden_act: 'silu',
    max_position_embeddings: sizes.contextLength,
    initializer_range: 0.02,
    rms_norm_eps: epsilonOf(header, metadata),
    use_cache: true,
    attention_dropout: 0,
    rope_theta: rope.theta,
    ...(rope.scaling === undefined ? {} : { rope_scaling: legacyScaling(rope.scaling) }),
    rope_parameters: { rope_theta: rope.theta, ...(rope.scaling ?? { rope_type: 'default' }) },
    tie_word_embeddings: tied,
    ...tokenIds(metadata, sizes.vocabSize, notes),
    dtype,
    ...familyFields(arch, context),
  };
  notes.push({
    severity: 'info',
    code: 'gguf-default',
    field: 'attention_dropout',
    message: 'attention_dropout 0 and initializer_range 0.02 are not stored in a GGUF; they concern training only',
  });
  const ignored = metadata.unusedKeys();
  if (ignored.length > 0) {
    notes.push({
      severity: 'warning',
      code: 'gguf-keys-unused',
      message: `${counted(ignored.length, 'setting of the architecture has', 'settings of the architecture have')} no place in this config: ${ignored.slice(0, 12).join(', ')}`,
      hint: 'Compare with the original config.json if the model behaves differently.',
    });
  }
  return { config, modelType: arch.modelType, kind: arch.kind, dtype, quantised, notes };
}

/** `rope_scaling` as transformers 4 reads it: its Phi-3 wants exactly `type` and the two factor lists. */
function legacyScaling(scaling: RopeSettings): RopeSettings {
  if (scaling['rope_type'] !== 'longrope') return scaling;
  const { rope_type: type, ...rest } = scaling;
  return { type: type ?? 'longrope', ...rest };
}

/** Sizes that the config needs, checked against the tensors. */
export interface Sizes {
  readonly vocabSize: number;
  readonly hidden: number;
  readonly intermediate: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Dimensions of a head that are rotated. */
  readonly rotaryDim: number;
  readonly contextLength: number;
}

function sizesOf(header: GgufHeader, arch: GgufArch, metadata: Metadata, notes: GgufNote[]): Sizes {
  const hidden = metadata.requireInteger('{arch}.embedding_length');
  const layers = metadata.requireInteger('{arch}.block_count');
  const heads = positive(header, '{arch}.attention.head_count', metadata);
  const kvHeads = metadata.uniformInteger('{arch}.attention.head_count_kv') ?? heads;
  if (kvHeads === 0 || heads % kvHeads !== 0) {
    throw contradiction(
      header,
      '{arch}.attention.head_count_kv',
      metadata,
      `${kvHeads} key-value heads for ${heads} heads`,
    );
  }
  const keyLength = metadata.integer('{arch}.attention.key_length');
  const valueLength = metadata.integer('{arch}.attention.value_length');
  const headDim = keyLength ?? hidden / heads;
  if (!Number.isInteger(headDim) || headDim === 0 || (valueLength !== undefined && valueLength !== headDim)) {
    throw contradiction(
      header,
      '{arch}.attention.key_length',
      metadata,
      `heads of ${headDim} for keys and ${valueLength ?? headDim} for values`,
    );
  }
  const rotaryDim = metadata.integer('{arch}.rope.dimension_count') ?? headDim;
  if (rotaryDim > headDim || rotaryDim % 2 !== 0 || (rotaryDim !== headDim && arch.modelType !== 'phi3')) {
    throw contradiction(
      header,
      '{arch}.rope.dimension_count',
      metadata,
      `${rotaryDim} rotated dimensions of ${headDim}, which a ${arch.modelType} config cannot say`,
    );
  }
  const intermediate = positive(header, '{arch}.feed_forward_length', metadata);
  const rows = header.tensors.get('token_embd.weight')?.shape[0];
  const storedVocab = metadata.integer('{arch}.vocab_size');
  if (storedVocab !== undefined && rows !== undefined && storedVocab !== rows) {
    notes.push({
      severity: 'warning',
      code: 'gguf-vocab-size',
      field: 'vocab_size',
      message: `"${metadata.arch}.vocab_size" is ${grouped(storedVocab)}, but token_embd.weight has ${grouped(rows)} rows; ${grouped(rows)} is used`,
    });
  }
  const vocabSize = rows ?? storedVocab ?? metadata.strings('tokenizer.ggml.tokens')?.length;
  if (vocabSize === undefined)
    throw contradiction(header, '{arch}.vocab_size', metadata, 'the vocabulary size is stored nowhere');
  checkShape(header, 'token_embd.weight', [vocabSize, hidden]);
  checkShape(header, 'blk.0.attn_q.weight', [heads * headDim, hidden]);
  checkShape(header, 'blk.0.attn_k.weight', [kvHeads * headDim, hidden]);
  if (arch.modelType !== 'phi3') checkShape(header, 'blk.0.ffn_up.weight', [intermediate, hidden]);
  const contextLength = positive(header, '{arch}.context_length', metadata);
  return { vocabSize, hidden, intermediate, layers, heads, kvHeads, headDim, rotaryDim, contextLength };
}

function positive(header: GgufHeader, key: string, metadata: Metadata): number {
  const value = metadata.uniformInteger(key);
  if (value !== undefined && value > 0) return value;
  throw contradiction(header, key, metadata, value === undefined ? 'is missing' : 'is 0');
}

function contradiction(header: GgufHeader, key: string, metadata: Metadata, what: string): MoeError {
  const field = key.replace('{arch}', metadata.arch);
  return new MoeError('input', 'gguf-metadata', `${header.path}: "${field}": ${what}`, { file: header.path, field });
}

function checkShape(header: GgufHeader, name: string, expected: readonly number[]): void {
  const tensor = header.tensors.get(name);
  if (tensor === undefined || tensor.shape.join() === expected.join()) return;
  throw new MoeError(
    'input',
    'gguf-shape',
    `${header.path}: tensor "${name}" has shape [${tensor.shape.join(', ')}]; the metadata says [${expected.join(', ')}]`,
    {
      file: header.path,
      tensor: name,
    },
  );
}

function epsilonOf(header: GgufHeader, metadata: Metadata): number {
  const value = metadata.number('{arch}.attention.layer_norm_rms_epsilon');
  if (value === undefined)
    throw contradiction(header, '{arch}.attention.layer_norm_rms_epsilon', metadata, 'is missing');
  return shortestFloat32(value);
}

/** Special token ids, as far as stored. Absent ids are `null`: some classes have defaults beyond a small vocabulary. */
function tokenIds(metadata: Metadata, vocabSize: number, notes: GgufNote[]): ConfigFields {
  const ids: Record<string, number | null> = {};
  for (const [key, field] of [
    ['tokenizer.ggml.bos_token_id', 'bos_token_id'],
    ['tokenizer.ggml.eos_token_id', 'eos_token_id'],
    ['tokenizer.ggml.padding_token_id', 'pad_token_id'],
    ['tokenizer.ggml.unknown_token_id', 'unk_token_id'],
  ] as const) {
    const id = metadata.integer(key);
    if (id !== undefined && id >= vocabSize) {
      notes.push({
        severity: 'warning',
        code: 'gguf-token-id',
        field,
        message: `"${key}" is ${grouped(id)}, beyond the ${grouped(vocabSize)} rows of the embedding; it is left out`,
      });
      ids[field] = null;
    } else if (id !== undefined) ids[field] = id;
    else if (field !== 'unk_token_id') ids[field] = null;
  }
  return ids;
}

/** The dtype of most weight matrices, by bytes of elements; bfloat16 stands for quantised ones. */
function dtypeOf(header: GgufHeader, notes: GgufNote[]): Pick<GgufConfig, 'dtype' | 'quantised'> {
  const elements = new Map<string, number>();
  const types = new Set<string>();
  for (const tensor of header.tensors.values()) {
    if (tensor.shape.length < 2) continue;
    const { name, quantised } = tensor.ggmlType;
    if (quantised) types.add(name);
    const dtype = quantised ? 'quantised' : name;
    elements.set(dtype, (elements.get(dtype) ?? 0) + tensor.elements);
  }
  const [largest] = [...elements].sort((a, b) => b[1] - a[1]).map(([dtype]) => dtype);
  const quantised = types.size > 0;
  if (quantised) {
    notes.push({
      severity: 'warning',
      code: 'gguf-quantised',
      field: 'dtype',
      message: `weights are quantised (${[...types].sort().join(', ')}): their values approximate the original's, and dtype "same" means bfloat16`,
      hint: 'Use the original Hugging Face folder, or a BF16 or F16 GGUF, to keep full precision.',
    });
  }
  const byName: Readonly<Record<string, GgufConfig['dtype']>> = { F32: 'float32', F16: 'float16' };
  return { dtype: byName[largest ?? ''] ?? 'bfloat16', quantised };
}
