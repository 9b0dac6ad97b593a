/** One parent as the planner sees it: Hugging Face tensor names, each an expression over what lies on disk. */
import { isDtype } from 'safetensors-js';
import type { Checkpoint, SourceTensor } from '../checkpoint/types.ts';
import type { JsonObject } from '../common/json.ts';
import { MoeError, grouped } from '../common/errors.ts';
import { readDense } from '../families/index.ts';
import type { DenseFamily, DenseSpec, ExpectedTensor } from '../families/index.ts';
import type { Expr } from './expr.ts';
import { counted } from '../common/words.ts';

/** Buffers that old code saved and that hold no weights. */
const DROPPABLE = /(^|\.)(rotary_emb\.inv_freq|masked_bias|rope_freqs\.weight|rope_factors_(long|short)\.weight)$/;

export interface Parent {
  readonly from: number;
  readonly checkpoint: Checkpoint;
  readonly family: DenseFamily;
  readonly spec: DenseSpec;
  readonly expected: readonly ExpectedTensor[];
  /** Physical tensors by name; for a checkpoint without weights, synthesised from its config and index. */
  readonly physical: ReadonlyMap<string, SourceTensor>;
  /** True when some tensor is block-quantised. */
  readonly quantised: boolean;
  /** Names that were left out, and why that is harmless. */
  readonly dropped: readonly string[];
  /** lm_head.weight is stored although the config says tied. */
  readonly storedHeadOfTied: boolean;
  /** Stored lm_head.weight of any kind. */
  readonly hasHead: boolean;
  /** The tensor of this Hugging Face name: dequantised and in Hugging Face order, in its own dtype. */
  tensor(name: string): Expr;
}

const DTYPE_NAMES: Readonly<Record<string, SourceTensor['dtype']>> = {
  float32: 'F32',
  bfloat16: 'BF16',
  float16: 'F16',
  float64: 'F64',
};

/** dtype field of a config ("bfloat16", "torch.bfloat16"), as safetensors names it; null where absent or unknown. */
export function configDtype(config: JsonObject): SourceTensor['dtype'] | null {
  const value = config['dtype'] ?? config['torch_dtype'];
  return typeof value === 'string' ? (DTYPE_NAMES[value.replace(/^torch\./, '')] ?? null) : null;
}

function synthesise(
  checkpoint: Checkpoint,
  expected: readonly ExpectedTensor[],
  config: JsonObject,
): Map<string, SourceTensor> {
  const dtype = configDtype(config) ?? 'F32';
  const width = dtype === 'F32' ? 4 : dtype === 'F64' ? 8 : 2;
  const weightMap = checkpoint.index?.weightMap;
  const tensors = new Map<string, SourceTensor>();
  for (const { name, shape } of expected) {
    if (weightMap !== undefined && !weightMap.has(name)) continue;
    const bytes = shape.reduce((product, size) => product * size, width);
    tensors.set(name, { name, dtype, shape, file: weightMap?.get(name) ?? 'model.safetensors', begin: -1, bytes });
  }
  return tensors;
}

function describe(names: readonly string[]): string {
  const shown = names.slice(0, 8).join(', ');
  return names.length > 8 ? `${shown} and ${grouped(names.length - 8)} more` : shown;
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, dim) => size === b[dim]);
}

/** A damaged file may list whole tensors for viewing; nothing is built from it. */
function refuseDamaged(
  checkpoint: Checkpoint,
  expected: readonly ExpectedTensor[],
  physicalName: (name: string) => string | undefined,
  physical: ReadonlyMap<string, SourceTensor>,
): void {
  // Where only config and index are at hand no file is there, and a plan is all that can be made.
  if (checkpoint.planOnly) return;
  const damaged = new Map(
    checkpoint.files.filter((file) => file.state !== 'ok').map((file) => [file.name, file] as const),
  );
  if (damaged.size === 0) return;
  for (const { name } of expected) {
    const found = physicalName(name);
    const file = found === undefined ? undefined : damaged.get(physical.get(found)?.file ?? '');
    if (file === undefined) continue;
    const problem = checkpoint.problems.find(
      (candidate) => candidate.file === file.name && candidate.severity === 'error',
    );
    throw new MoeError(
      'input',
      problem?.code ?? 'source-damaged',
      problem?.message ?? `${file.name} is ${file.state}; nothing is built from it`,
      { file: file.name, tensor: name, hint: problem?.hint ?? 'Fetch the file again; `doctor` tells more.' },
    );
  }
}

/**
 * Reads a checkpoint as a dense parent and checks that it has every tensor that its config promises, in that shape.
 * Throws MoeError (exit 3): `tensors-missing`, `tensor-shape`, `tensors-unexpected`, or what `readDense` throws.
 */
export function readParent(checkpoint: Checkpoint, from: number): Parent {
  const { family, spec } = readDense(checkpoint.config);
  const expected = family.tensors(spec);
  const physical = checkpoint.planOnly ? synthesise(checkpoint, expected, spec.config) : checkpoint.tensors;
  const plain = checkpoint.gguf === null && checkpoint.aliases.size === 0;
  const physicalName = (name: string): string | undefined => {
    if (plain) return physical.has(name) ? name : undefined;
    const alias = checkpoint.gguf === null ? checkpoint.aliases.get(name) : checkpoint.gguf.get(name)?.tensor;
    if (alias !== undefined && physical.has(alias)) return alias;
    return checkpoint.gguf === null && physical.has(name) ? name : undefined;
  };

  const firstProblem = checkpoint.problems.find((problem) => problem.severity === 'error');
  const missing: string[] = [];
  const known = new Set<string>();
  // Names and shapes as the checkpoint already holds them: half a million more of them would be for nothing.
  const kept: ExpectedTensor[] = [];
  for (const wanted of expected) {
    const { name, shape, role, layer } = wanted;
    const found = physicalName(name);
    if (found === undefined) {
      if (role !== 'head') missing.push(name);
      kept.push(wanted);
      continue;
    }
    known.add(found);
    const stored = physical.get(found);
    const actual = stored?.shape ?? [];
    kept.push(stored?.name === name ? { name: stored.name, shape: stored.shape, role, layer } : wanted);
    if (!sameShape(actual, shape)) {
      throw new MoeError(
        'input',
        'tensor-shape',
        `${name} is [${actual.join(', ')}], but config.json asks for [${shape.join(', ')}]`,
        {
          tensor: name,
          file: stored?.file ?? 'config.json',
          hint: 'config.json and the weights are of different models; fetch both from the same place.',
        },
      );
    }
  }
  if (missing.length > 0) {
    throw new MoeError(
      'input',
      'tensors-missing',
      `${counted(missing.length, 'tensor', 'tensors')} that a ${family.modelType} checkpoint must have ${missing.length === 1 ? 'is' : 'are'} not there: ${describe(missing)}`,
      {
        ...(missing[0] === undefined ? {} : { tensor: missing[0] }),
        hint: firstProblem === undefined ? 'Run `doctor` on the checkpoint.' : firstProblem.message,
      },
    );
  }

  refuseDamaged(checkpoint, expected, physicalName, physical);

  const storedHead =
    checkpoint.gguf === null ? physical.has('lm_head.weight') : physicalName('lm_head.weight') !== undefined;
  const headName = physicalName('lm_head.weight');
  const hasHead = headName !== undefined;
  if (headName !== undefined) known.add(headName);
  const dropped: string[] = [];
  const unexpected: string[] = [];
  // Looking every name up again is only worth it where some are left.
  const others = known.size === physical.size ? [] : physical.keys();
  for (const name of others) {
    if (known.has(name)) continue;
    (DROPPABLE.test(name) ? dropped : unexpected).push(name);
  }
  if (unexpected.length > 0) {
    throw new MoeError(
      'input',
      'tensors-unexpected',
      `${counted(unexpected.length, 'tensor is', 'tensors are')} not part of a ${family.modelType} model with this config: ${describe(unexpected)}`,
      {
        ...(unexpected[0] === undefined ? {} : { tensor: unexpected[0] }),
        hint: 'An upcycle leaves nothing out silently. Correct config.json (biases, model_type) or remove these tensors first.',
      },
    );
  }

  const embedName = physicalName('model.embed_tokens.weight');
  let quantised = false;
  for (const tensor of physical.values()) if (!isDtype(tensor.dtype)) quantised = true;
  return {
    from,
    checkpoint,
    family,
    spec,
    expected: kept,
    physical,
    quantised,
    dropped,
    hasHead,
    // A tied model that stores only lm_head.weight has one tensor under two names: nothing to compare.
    storedHeadOfTied: spec.tied && storedHead && headName !== embedName,
    tensor: (name) => {
      const found = physicalName(name);
      const stored = found === undefined ? undefined : physical.get(found);
      if (found === undefined || stored === undefined) {
        throw new MoeError('input', 'tensors-missing', `${name} is not in the checkpoint`, { tensor: name });
      }
      const source: Expr = { op: 'source', from, tensor: found };
      const decoded: Expr = isDtype(stored.dtype) ? source : { op: 'dequantise', of: source };
      const transform = checkpoint.gguf?.get(name)?.transform;
      if (transform?.kind === 'unpermute') {
        return { op: 'take', of: decoded, dim: 0, index: { kind: 'unpermute-rope', heads: transform.heads } };
      }
      return transform?.kind === 'subtract-one' ? { op: 'offset', of: decoded, by: -1 } : decoded;
    },
  };
}
