/** A checkpoint without weights: config.json, perhaps with an index. Shapes come from the config's family. */
import { join } from 'node:path';
import { DTYPE_BITS, tensorBytes } from 'safetensors-js';
import type { Dtype, SafetensorsIndex } from 'safetensors-js';
import { grouped } from '../common/errors.ts';
import type { JsonObject } from '../common/json.ts';
import { wantedTensors } from '../inspect/wanted.ts';
import { textSection } from '../inspect/moe-config.ts';
import { listed, namesDetail } from './errors.ts';
import type { CheckpointFile, Problem, SourceTensor } from './types.ts';
import { counted } from '../common/words.ts';

const TORCH_DTYPES: ReadonlyMap<string, Dtype> = new Map([
  ['float32', 'F32'],
  ['float', 'F32'],
  ['bfloat16', 'BF16'],
  ['float16', 'F16'],
  ['half', 'F16'],
  ['float64', 'F64'],
  ['float8_e4m3fn', 'F8_E4M3'],
  ['float8_e5m2', 'F8_E5M2'],
]);

export interface PlanOnly {
  readonly tensors: Map<string, SourceTensor>;
  readonly files: readonly CheckpointFile[];
  readonly problems: readonly Problem[];
}

/** The tensors that would be there, with `begin` −1. `index` null: all in one file, model.safetensors. */
export function planOnlyTensors(
  folder: string,
  config: JsonObject,
  index: { readonly name: string; readonly parsed: SafetensorsIndex } | null,
): PlanOnly {
  const problems: Problem[] = [
    {
      severity: 'info',
      code: 'plan-only',
      message: `There are no weights here, only config.json${index === null ? '' : ` and ${index.name}`}: this can be planned, not written`,
      hint: 'Fetch the weight files to go on.',
    },
  ];
  const names = index === null ? ['model.safetensors'] : [...index.parsed.files];
  const files = names.map((name): CheckpointFile => ({ name, path: join(folder, name), bytes: 0, state: 'missing' }));
  const wanted = wantedTensors(config);
  if (wanted.problem !== undefined) problems.push(wanted.problem);
  const tensors = new Map<string, SourceTensor>();
  if (wanted.tensors === null) {
    if (wanted.problem === undefined) problems.push(unknownFamily(index));
    return { tensors, files, problems };
  }
  const weightMap = index?.parsed.weightMap ?? null;
  const elements = wanted.tensors.reduce((sum, tensor) => sum + tensor.shape.reduce((a, b) => a * b, 1), 0);
  const dtype = dtypeOf(config, index?.parsed.totalSize ?? null, elements, problems);
  const absent: string[] = [];
  const known = new Set<string>();
  for (const { name, shape } of wanted.tensors) {
    known.add(name);
    const file = weightMap === null ? 'model.safetensors' : weightMap.get(name);
    if (file === undefined) absent.push(name);
    else {
      const bytes = bytesOf(dtype, shape);
      if (bytes === null) return { tensors: new Map(), files, problems: [...problems, impossibleSize(name, shape)] };
      tensors.set(name, { name, dtype, shape, file, begin: -1, bytes });
    }
  }
  const unknown = weightMap === null ? [] : [...weightMap.keys()].filter((name) => !known.has(name));
  if (unknown.length > 0) {
    problems.push({
      severity: 'info',
      code: 'index-tensor-unknown',
      ...(index === null ? {} : { file: index.name }),
      message: `${counted(unknown.length, 'tensor of the index has', 'tensors of the index have')} no shape by the config and ${unknown.length === 1 ? 'is' : 'are'} left out: ${listed(unknown)}`,
      details: namesDetail(unknown),
    });
  }
  if (absent.length > 0) {
    problems.push({
      severity: 'error',
      code: 'missing-tensors',
      ...(index === null ? {} : { file: index.name }),
      tensor: absent[0] ?? '',
      message: `${counted(absent.length, 'tensor that config.json asks for is', 'tensors that config.json asks for are')} not in the index: ${listed(absent)}`,
      hint: 'Check that config.json and the index are of the same model.',
      details: namesDetail(absent),
    });
  }
  return { tensors, files, problems };
}

function bytesOf(dtype: Dtype, shape: readonly number[]): number | null {
  try {
    return tensorBytes(dtype, shape);
  } catch {
    return null;
  }
}

function impossibleSize(name: string, shape: readonly number[]): Problem {
  return {
    severity: 'error',
    code: 'config-too-large',
    file: 'config.json',
    tensor: name,
    message: `By config.json, ${name} would have the shape [${shape.join(', ')}], which no file can hold`,
    hint: 'Correct config.json.',
  };
}

function unknownFamily(index: { readonly parsed: SafetensorsIndex } | null): Problem {
  const count = index === null ? '' : ` of the ${grouped(index.parsed.weightMap.size)} tensors in the index`;
  return {
    severity: 'warning',
    code: 'shapes-unknown',
    file: 'config.json',
    message: `The family in config.json is not known tensor by tensor, so the shapes${count} cannot be told without the weights`,
    hint: 'Fetch the weight files.',
  };
}

/** From the config; else from total_size where it fits a whole number of bytes per element; else BF16, and said. */
function dtypeOf(config: JsonObject, totalSize: number | null, elements: number, problems: Problem[]): Dtype {
  for (const place of [config, textSection(config).section]) {
    for (const field of ['dtype', 'torch_dtype']) {
      const value = place[field];
      const dtype = typeof value === 'string' ? TORCH_DTYPES.get(value.replace(/^torch\./, '')) : undefined;
      if (dtype !== undefined) return dtype;
    }
  }
  const perElement = totalSize === null || elements === 0 ? 0 : totalSize / elements;
  const guess: Dtype = perElement === 4 ? 'F32' : 'BF16';
  problems.push({
    severity: 'info',
    code: 'dtype-assumed',
    file: 'config.json',
    message: `config.json names no dtype; ${guess} (${String(DTYPE_BITS[guess] / 8)} bytes per element) is assumed`,
  });
  return guess;
}
