/** Checkpoints made of nothing but headers, and recipes with the defaults filled in, for planner tests. */
import type { Checkpoint, SourceTensor } from '../../src/checkpoint/types.ts';
import type { JsonObject } from '../../src/common/json.ts';
import { readDense } from '../../src/families/index.ts';
import type { Recipe } from '../../src/recipe/types.ts';

/** A dense config of `modelType`: H 16, I 24, 2 layers, 4 heads, 2 kv heads, vocabulary 32. */
export function denseConfig(modelType: string, extra: JsonObject = {}): JsonObject {
  return {
    model_type: modelType,
    hidden_size: 16,
    intermediate_size: 24,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    vocab_size: 32,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    ...extra,
  };
}

/** A checkpoint with every tensor that its config promises, in one file, in layer order. */
export function fakeCheckpoint(
  config: JsonObject,
  extra: Partial<Checkpoint> = {},
  dtype: 'F32' | 'BF16' = 'F32',
): Checkpoint {
  const { family, spec } = readDense(config);
  const tensors = new Map<string, SourceTensor>();
  let begin = 4096;
  for (const { name, shape } of family.tensors(spec)) {
    const bytes = shape.reduce((product, size) => product * size, dtype === 'F32' ? 4 : 2);
    tensors.set(name, { name, dtype, shape, file: 'model.safetensors', begin, bytes });
    begin += bytes;
  }
  return {
    path: '/somewhere/model',
    root: '/somewhere/model',
    format: 'hf',
    config,
    tensors,
    aliases: new Map(),
    gguf: null,
    files: [{ name: 'model.safetensors', path: '/somewhere/model/model.safetensors', bytes: begin, state: 'ok' }],
    index: null,
    sidecars: [],
    problems: [],
    planOnly: false,
    ...extra,
  };
}

/** Only config and index, as the Llama-3.1-8B of shared/models/configs. */
export function planOnlyCheckpoint(config: JsonObject, weightMap: ReadonlyMap<string, string>): Checkpoint {
  return {
    path: '/somewhere/config-only',
    root: '/somewhere/config-only',
    format: 'hf',
    config,
    tensors: new Map(),
    aliases: new Map(),
    gguf: null,
    // As opening such a folder gives them: named by the index, none of them there.
    files: [...new Set(weightMap.values())].map((name) => ({
      name,
      path: `/somewhere/config-only/${name}`,
      bytes: 0,
      state: 'missing' as const,
    })),
    index: { weightMap, totalSize: null },
    sidecars: [],
    problems: [],
    planOnly: true,
  };
}

/** The defaults of the contract, with changes. */
export function recipe(changes: Partial<Recipe> = {}): Recipe {
  return {
    base: null,
    parents: [],
    rest: 'base',
    target: 'auto',
    experts: 8,
    top_k: 2,
    granularity: 1,
    layers: 'all',
    expert_init: { method: 'copy' },
    router: { init: 'normal', std: 0.02, order: 'topk-softmax' },
    scale: 'auto',
    shared_expert: 'auto',
    tie: 'auto',
    output: { dtype: 'same', shard_size: 5_000_000_000, clone: 'auto' },
    config: {},
    seed: 42,
    ...changes,
  };
}
