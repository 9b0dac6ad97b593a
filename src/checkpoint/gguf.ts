/** Opening a GGUF file: physical tensors as they lie, the Hugging Face names that they stand for, config and tokenizer. */
import { stat } from 'node:fs/promises';
import { realpathSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { MoeError } from '../common/errors.ts';
import type { JsonObject, JsonValue } from '../common/json.ts';
import { modelCardFromGguf } from '../gguf/card.ts';
import { configFromGguf } from '../gguf/config.ts';
import { scanGgufHeader } from '../gguf/header.ts';
import type { GgufScan } from '../gguf/header.ts';
import { mapTensors } from '../gguf/names.ts';
import type { GgufSource } from '../gguf/names.ts';
import { openGgufModel, partCount } from '../gguf/split.ts';
import { tokenizerFromGguf } from '../gguf/tokenizer.ts';
import type { GgufNote } from '../gguf/types.ts';
import { isDtype } from 'safetensors-js';
import { parseConfig } from './json-file.ts';
import { MAX_NAMES, listed, namesDetail, problemOf, throwIfAborted } from './errors.ts';
import type {
  Checkpoint,
  CheckpointFile,
  GgmlDtype,
  GgufAlias,
  Problem,
  Sidecar,
  SourceTensor,
  StorageDtype,
} from './types.ts';
import { counted } from '../common/words.ts';
import { append } from '../common/lists.ts';

const GGML_NAMES: ReadonlySet<string> = new Set<GgmlDtype>([
  'Q4_0',
  'Q4_1',
  'Q5_0',
  'Q5_1',
  'Q8_0',
  'Q8_1',
  'Q2_K',
  'Q3_K',
  'Q4_K',
  'Q5_K',
  'Q6_K',
  'Q8_K',
  'IQ1_S',
  'IQ1_M',
  'IQ2_XXS',
  'IQ2_XS',
  'IQ2_S',
  'IQ3_XXS',
  'IQ3_S',
  'IQ4_NL',
  'IQ4_XS',
  'TQ1_0',
  'TQ2_0',
  'MXFP4',
  'NVFP4',
  'Q1_0',
]);

function isStorageDtype(name: string): name is StorageDtype {
  return isDtype(name) || GGML_NAMES.has(name);
}

/** Opens the file. `path` is what the user named. A broken file is thrown (unless lenient: then listed as far as it goes). */
export async function openGguf(
  file: string,
  path: string,
  options: { readonly signal?: AbortSignal | undefined; readonly lenient?: boolean },
): Promise<Checkpoint> {
  throwIfAborted(options.signal);
  const name = basename(file);
  const opened = scanGgufHeader(file);
  if (opened.error !== undefined && options.lenient !== true) throw withTensors(opened.error, opened);
  const problems: Problem[] = [];
  const scan = wholeModel(file, opened, options.lenient === true, problems);
  append(
    problems,
    scan.notes.map((note) => problemOfNote(note, name)),
  );
  if (opened.error !== undefined) problems.push(problemOf(opened.error, name));
  const tensors = new Map<string, SourceTensor>();
  for (const tensor of scan.tensors.values()) {
    const dtype = tensor.ggmlType.name;
    if (!isStorageDtype(dtype)) continue;
    const { shape, offset, bytes } = tensor;
    tensors.set(tensor.name, { name: tensor.name, dtype, shape, file: basename(tensor.file), begin: offset, bytes });
  }
  const mapped = mapNames(scan, problems);
  const { config, sidecars } = rebuild(scan, problems);
  const state = opened.error === undefined ? 'ok' : 'unreadable';
  const files: CheckpointFile[] = [];
  for (const part of scan.files)
    files.push({ name: basename(part), path: realpathSync(part), bytes: (await stat(part)).size, state });
  return {
    path,
    root: dirname(file),
    format: 'gguf',
    config,
    tensors,
    aliases: new Map(),
    gguf: mapped,
    files,
    index: null,
    sidecars,
    problems,
    planOnly: false,
  };
}

/** A scan with the files that it stands for: all parts of a model that was cut, whichever was opened. */
function wholeModel(
  file: string,
  opened: GgufScan,
  lenient: boolean,
  problems: Problem[],
): GgufScan & { readonly files: readonly string[] } {
  const alone = { ...opened, files: [file] };
  if (opened.error !== undefined || partCount(opened) === 1) return alone;
  try {
    const { parts, ...model } = openGgufModel(file);
    return { ...model, declared: opened.declared, files: parts.map(({ path }) => path) };
  } catch (error) {
    if (!(error instanceof MoeError) || !lenient) throw error;
    problems.push(problemOf(error, basename(file)));
    return alone;
  }
}

/** What was parsed before the fault is kept in the error. */
function withTensors(error: MoeError, scan: GgufScan): MoeError {
  const names = [...scan.tensors.keys()];
  return new MoeError(
    error.kind,
    error.code,
    error.message,
    {
      ...error.place,
      file: basename(scan.path),
      details: { ...error.place.details, tensors: names.slice(0, MAX_NAMES), tensorCount: names.length },
    },
    { cause: error },
  );
}

/** Hugging Face names; a file of an unknown architecture has none, and says so. */
function mapNames(scan: GgufScan, problems: Problem[]): Map<string, GgufAlias> {
  const aliases = new Map<string, GgufAlias>();
  const file = basename(scan.path);
  let mapping;
  try {
    mapping = mapTensors(scan);
  } catch (error) {
    if (!(error instanceof MoeError)) throw error;
    problems.push({ ...problemOf(error, file), severity: 'warning' });
    return aliases;
  }
  const composite: string[] = [];
  for (const source of mapping.sources.values()) {
    const alias = aliasOf(source);
    if (alias === null) composite.push(source.name);
    else aliases.set(source.name, alias);
  }
  if (composite.length > 0) {
    problems.push({
      severity: 'info',
      code: 'gguf-composite',
      file,
      message: `${counted(composite.length, 'Hugging Face tensor is a part', 'Hugging Face tensors are parts')} of larger stored ones (stacked experts, fused q/k/v): ${listed(composite)}`,
      details: namesDetail(composite),
    });
  }
  const report = (severity: Problem['severity'], code: string, what: string, names: readonly string[]): void => {
    if (names.length === 0) return;
    const message = `${counted(names.length, 'tensor is', 'tensors are')} ${what} ${mapping.arch.name}: ${listed(names)}`;
    problems.push({ severity, code, file, tensor: names[0] ?? '', message, details: namesDetail(names) });
  };
  report('warning', 'gguf-unknown-tensor', 'not of the architecture', mapping.unknown);
  report('error', 'missing-tensors', 'missing for the architecture', mapping.missing);
  return aliases;
}

/** A source that is one whole stored tensor; null for parts and joins, which an alias cannot express. */
function aliasOf({ pieces, shape }: GgufSource): GgufAlias | null {
  const [piece] = pieces;
  if (piece === undefined || pieces.length !== 1) return null;
  const elements = shape.reduce((a, b) => a * b, 1);
  if (piece.begin !== 0 || elements !== piece.tensor.elements) return null;
  const { transform } = piece;
  return {
    tensor: piece.tensor.name,
    transform: transform.kind === 'subtractOne' ? { kind: 'subtract-one' } : transform,
  };
}

interface Rebuilt {
  readonly config: JsonObject;
  readonly sidecars: readonly Sidecar[];
}

/** config.json, the tokenizer's files and the head of a model card; a file that cannot be rebuilt is said and left out. */
function rebuild(scan: GgufScan, problems: Problem[]): Rebuilt {
  const file = basename(scan.path);
  const sidecars: Sidecar[] = [];
  const add = (name: string, text: string): void => {
    sidecars.push({ name, text, bytes: Buffer.byteLength(text) });
  };
  let config: JsonObject;
  try {
    const rebuilt = configFromGguf(scan);
    const text = `${JSON.stringify(rebuilt.config, null, 2)}\n`;
    ({ config } = parseConfig(Buffer.from(text), 'config.json'));
    append(
      problems,
      rebuilt.notes.map((note) => problemOfNote(note, file)),
    );
    add('config.json', text);
  } catch (error) {
    if (!(error instanceof MoeError)) throw error;
    // An unsupported architecture was reported with the names.
    if (error.code !== 'gguf-unsupported-arch') problems.push({ ...problemOf(error, file), severity: 'warning' });
    config = bareConfig(scan);
  }
  try {
    const { files, notes } = tokenizerFromGguf(scan);
    for (const [name, text] of files) add(name, text);
    append(
      problems,
      notes.map((note) => problemOfNote(note, file)),
    );
  } catch (error) {
    if (!(error instanceof MoeError)) throw error;
    problems.push({ ...problemOf(error, file), severity: 'warning' });
  }
  try {
    const card = modelCardFromGguf(scan);
    if (card !== undefined) add('README.md', card);
  } catch (error) {
    if (!(error instanceof MoeError)) throw error;
    problems.push({ ...problemOf(error, file), severity: 'warning' });
  }
  return { config, sidecars };
}

function problemOfNote({ severity, code, message, tensor, hint }: GgufNote, file: string): Problem {
  return {
    severity,
    code,
    message,
    file,
    ...(tensor === undefined ? {} : { tensor }),
    ...(hint === undefined ? {} : { hint }),
  };
}

/** The sizes that every architecture writes, under Hugging Face's names: enough to inspect a file of any architecture. */
function bareConfig(scan: GgufScan): JsonObject {
  const arch = scan.metadata.get('general.architecture');
  if (typeof arch !== 'string') return {};
  const fields: readonly (readonly [string, string])[] = [
    ['num_hidden_layers', 'block_count'],
    ['hidden_size', 'embedding_length'],
    ['intermediate_size', 'feed_forward_length'],
    ['num_attention_heads', 'attention.head_count'],
    ['num_key_value_heads', 'attention.head_count_kv'],
    ['num_local_experts', 'expert_count'],
    ['num_experts_per_tok', 'expert_used_count'],
    ['moe_intermediate_size', 'expert_feed_forward_length'],
    ['n_shared_experts', 'expert_shared_count'],
    ['shared_expert_intermediate_size', 'expert_shared_feed_forward_length'],
    ['vocab_size', 'vocab_size'],
  ];
  const config: Record<string, JsonValue> = { model_type: arch };
  for (const [field, key] of fields) {
    const value = scan.metadata.get(`${arch}.${key}`);
    if (typeof value === 'number' && Number.isFinite(value) && value > 0) config[field] = value;
  }
  return config;
}
