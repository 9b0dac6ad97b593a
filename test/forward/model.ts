/**
 * Config + tensors → the parts that the forward needs. As strict as `from_pretrained` with its loading report: a missing tensor, a
 * tensor that no part of the model uses, and a wrong shape all throw.
 */
import type { TestConfig } from './config.ts';
import { resolveConfig } from './config.ts';
import type { JsonObject, TestTensor } from './reader.ts';
import { readConfig, readTensors } from './reader.ts';

/** y = weight · x + bias, weight [rows, cols]. */
export interface Linear {
  readonly rows: number;
  readonly cols: number;
  readonly weight: Float64Array;
  readonly bias: Float64Array | null;
}

export interface GatedFfn {
  readonly gate: Linear;
  readonly up: Linear;
  readonly down: Linear;
}

export interface MoeBlock {
  readonly router: Linear;
  readonly experts: readonly GatedFfn[];
  readonly shared: { readonly ffn: GatedFfn; readonly gate: Linear } | null;
}

export interface TestLayer {
  /** Norm before attention; null where the family norms afterwards only. */
  readonly attentionNorm: Float64Array | null;
  readonly ffnNorm: Float64Array | null;
  readonly postAttentionNorm: Float64Array | null;
  readonly postFfnNorm: Float64Array | null;
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  readonly output: Linear;
  readonly queryNorm: Float64Array | null;
  readonly keyNorm: Float64Array | null;
  readonly ffn: GatedFfn | MoeBlock;
}

export interface TestModel {
  readonly config: TestConfig;
  /** Every tensor of the files, widened to float64, by name. */
  readonly tensors: ReadonlyMap<string, TestTensor>;
  readonly embedding: Float64Array;
  readonly layers: readonly TestLayer[];
  readonly norm: Float64Array;
  readonly head: Float64Array;
}

class TensorBag {
  private readonly unused: Set<string>;
  constructor(private readonly tensors: ReadonlyMap<string, TestTensor>) {
    this.unused = new Set(tensors.keys());
  }

  has(name: string): boolean {
    return this.tensors.has(name);
  }

  take(name: string, ...shape: number[]): Float64Array {
    const tensor = this.tensors.get(name);
    if (tensor === undefined) throw new Error(`missing tensor ${name}`);
    if (tensor.shape.join() !== shape.join())
      throw new Error(`${name} has shape [${tensor.shape}], the model wants [${shape}]`);
    this.unused.delete(name);
    return tensor.data;
  }

  linear(prefix: string, rows: number, cols: number, bias: boolean): Linear {
    const weight = this.take(`${prefix}.weight`, rows, cols);
    return { rows, cols, weight, bias: bias ? this.take(`${prefix}.bias`, rows) : null };
  }

  refuseRest(): void {
    // Old Llama files carry the rope frequencies, which transformers computes itself and ignores on loading.
    const rest = [...this.unused].filter((name) => !name.endsWith('.rotary_emb.inv_freq'));
    if (rest.length > 0) throw new Error(`unexpected tensors: ${rest.sort().join(', ')}`);
  }
}

/** Rows [begin, begin + rows) of a [?, cols] matrix. */
function rowsOf(matrix: Float64Array, begin: number, rows: number, cols: number): Linear {
  return { rows, cols, weight: matrix.subarray(begin * cols, (begin + rows) * cols), bias: null };
}

function denseFfn(bag: TensorBag, prefix: string, hidden: number, width: number, bias: boolean): GatedFfn {
  return {
    gate: bag.linear(`${prefix}.gate_proj`, width, hidden, bias),
    up: bag.linear(`${prefix}.up_proj`, width, hidden, bias),
    down: bag.linear(`${prefix}.down_proj`, hidden, width, bias),
  };
}

/** Experts in two stacked tensors: [N, 2·width, H] (gate rows first) and [N, H, width]. */
function stackedExperts(
  gateUp: Float64Array,
  down: Float64Array,
  experts: number,
  hidden: number,
  width: number,
): GatedFfn[] {
  return Array.from({ length: experts }, (_, e) => ({
    gate: rowsOf(gateUp, 2 * e * width, width, hidden),
    up: rowsOf(gateUp, (2 * e + 1) * width, width, hidden),
    down: rowsOf(down, e * hidden, hidden, width),
  }));
}

function moeBlock(bag: TensorBag, config: TestConfig, prefix: string): MoeBlock {
  const { hidden, moe, modelType } = config;
  if (moe === null) throw new Error(`${modelType} has no experts`);
  const { experts, width } = moe;
  const sparse = `${prefix}.block_sparse_moe`;
  const mlp = `${prefix}.mlp`;
  if (modelType === 'granitemoe') {
    return {
      router: bag.linear(`${sparse}.router.layer`, experts, hidden, false),
      experts: stackedExperts(
        bag.take(`${sparse}.input_linear.weight`, experts, 2 * width, hidden),
        bag.take(`${sparse}.output_linear.weight`, experts, hidden, width),
        experts,
        hidden,
        width,
      ),
      shared: null,
    };
  }
  const shared =
    moe.sharedWidth === null
      ? null
      : {
          ffn: denseFfn(bag, `${mlp}.shared_expert`, hidden, moe.sharedWidth, false),
          gate: bag.linear(`${mlp}.shared_expert_gate`, 1, hidden, false),
        };
  if (bag.has(`${mlp}.experts.gate_up_proj`)) {
    const gateUp = bag.take(`${mlp}.experts.gate_up_proj`, experts, 2 * width, hidden);
    const down = bag.take(`${mlp}.experts.down_proj`, experts, hidden, width);
    const router = bag.linear(`${mlp}.gate`, experts, hidden, false);
    return { router, experts: stackedExperts(gateUp, down, experts, hidden, width), shared };
  }
  if (modelType === 'mixtral') {
    return {
      router: bag.linear(`${sparse}.gate`, experts, hidden, false),
      experts: Array.from({ length: experts }, (_, e) => ({
        gate: bag.linear(`${sparse}.experts.${e}.w1`, width, hidden, false),
        up: bag.linear(`${sparse}.experts.${e}.w3`, width, hidden, false),
        down: bag.linear(`${sparse}.experts.${e}.w2`, hidden, width, false),
      })),
      shared: null,
    };
  }
  return {
    router: bag.linear(`${mlp}.gate`, experts, hidden, false),
    experts: Array.from({ length: experts }, (_, e) => denseFfn(bag, `${mlp}.experts.${e}`, hidden, width, false)),
    shared,
  };
}

function attentionParts(
  bag: TensorBag,
  config: TestConfig,
  prefix: string,
): Pick<TestLayer, 'query' | 'key' | 'value' | 'output'> {
  const { hidden, qkvBias } = config;
  const queryRows = config.heads * config.headDim;
  const kvRows = config.kvHeads * config.headDim;
  const output = bag.linear(`${prefix}.o_proj`, hidden, queryRows, config.outputBias);
  if (config.fusedProjections) {
    const fused = bag.take(`${prefix}.qkv_proj.weight`, queryRows + 2 * kvRows, hidden);
    return {
      query: rowsOf(fused, 0, queryRows, hidden),
      key: rowsOf(fused, queryRows, kvRows, hidden),
      value: rowsOf(fused, queryRows + kvRows, kvRows, hidden),
      output,
    };
  }
  return {
    query: bag.linear(`${prefix}.q_proj`, queryRows, hidden, qkvBias),
    key: bag.linear(`${prefix}.k_proj`, kvRows, hidden, qkvBias),
    value: bag.linear(`${prefix}.v_proj`, kvRows, hidden, qkvBias),
    output,
  };
}

function ffnOf(bag: TensorBag, config: TestConfig, prefix: string, layer: number): GatedFfn | MoeBlock {
  const { hidden, denseWidth } = config;
  if (config.moeLayers[layer] === true) return moeBlock(bag, config, prefix);
  if (!config.fusedProjections) return denseFfn(bag, `${prefix}.mlp`, hidden, denseWidth, config.mlpBias);
  const fused = bag.take(`${prefix}.mlp.gate_up_proj.weight`, 2 * denseWidth, hidden);
  return {
    gate: rowsOf(fused, 0, denseWidth, hidden),
    up: rowsOf(fused, denseWidth, denseWidth, hidden),
    down: bag.linear(`${prefix}.mlp.down_proj`, hidden, denseWidth, false),
  };
}

function layerOf(bag: TensorBag, config: TestConfig, layer: number): TestLayer {
  const prefix = `model.layers.${layer}`;
  const { hidden, qkNorm, headDim } = config;
  const norm = (name: string): Float64Array => bag.take(`${prefix}.${name}.weight`, hidden);
  const headNorm = (name: string, heads: number): Float64Array | null =>
    qkNorm === 'none'
      ? null
      : bag.take(`${prefix}.self_attn.${name}.weight`, qkNorm === 'head' ? headDim : heads * headDim);
  const pre = config.norms === 'pre';
  return {
    attentionNorm: pre ? norm('input_layernorm') : null,
    // The same name means "before the FFN" in pre-norm families and "after attention" in post-norm ones.
    ffnNorm: pre ? norm('post_attention_layernorm') : null,
    postAttentionNorm: pre ? null : norm('post_attention_layernorm'),
    postFfnNorm: pre ? null : norm('post_feedforward_layernorm'),
    ...attentionParts(bag, config, `${prefix}.self_attn`),
    queryNorm: headNorm('q_norm', config.heads),
    keyNorm: headNorm('k_norm', config.kvHeads),
    ffn: ffnOf(bag, config, prefix, layer),
  };
}

function headOf(bag: TensorBag, config: TestConfig, embedding: Float64Array): Float64Array {
  if (config.tied && !bag.has('lm_head.weight')) return embedding;
  const head = bag.take('lm_head.weight', config.vocab, config.hidden);
  if (config.tied && head.some((value, i) => value !== embedding[i])) {
    throw new Error('tie_word_embeddings is true, yet lm_head.weight differs from the embedding');
  }
  return head;
}

/** A model from a parsed config.json and its tensors by their names on disk. */
export function buildModel(rawConfig: JsonObject, tensors: ReadonlyMap<string, TestTensor>): TestModel {
  const config = resolveConfig(rawConfig);
  const bag = new TensorBag(tensors);
  const embedding = bag.take('model.embed_tokens.weight', config.vocab, config.hidden);
  const layers = Array.from({ length: config.layers }, (_, i) => layerOf(bag, config, i));
  const norm = bag.take('model.norm.weight', config.hidden);
  const head = headOf(bag, config, embedding);
  bag.refuseRest();
  return { config, tensors, embedding, layers, norm, head };
}

/** Reads a Hugging Face folder (single file or sharded). */
export function loadModel(folder: string): TestModel {
  return buildModel(readConfig(folder), readTensors(folder));
}
