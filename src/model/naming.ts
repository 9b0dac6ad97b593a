/**
 * Which tensor on disk holds which weight: Hugging Face names of every family and of every expert layout in use (one tensor
 * per expert, transformers 5's packed stacks, granitemoe's fused stacks). Fused and packed weights are addressed in place.
 */
import { MoeError } from '../common/errors.ts';
import { whole } from './weights.ts';
import type { WeightRef, WeightSource } from './weights.ts';
import type { LatentAttention, LayerSpec, MoeFfn, TransformerSpec } from './spec.ts';

export interface FfnWeights {
  readonly gate: WeightRef;
  readonly up: WeightRef;
  readonly down: WeightRef;
  readonly bias: { readonly gate: WeightRef; readonly up: WeightRef; readonly down: WeightRef } | null;
}

/** An expert's part of stacks of matrices [in, out]. */
export interface TransposedFfnWeights {
  readonly width: number;
  /** [hidden, 2 · width]: gate and up side by side, or their columns in turns. */
  readonly gateUp: WeightRef;
  readonly inTurns: boolean;
  readonly down: WeightRef;
  readonly bias: { readonly gateUp: WeightRef; readonly down: WeightRef } | null;
}

export interface MoeWeights {
  readonly router: WeightRef;
  readonly routerBias: WeightRef | null;
  /** Added to scores for the choice; [E] or [1, E]. */
  readonly choiceBias: WeightRef | null;
  readonly expert: (index: number) => FfnWeights | TransposedFfnWeights;
  readonly shared: { readonly ffn: FfnWeights; readonly gate: WeightRef | null } | null;
}

export interface AttentionWeights {
  readonly q: WeightRef;
  readonly k: WeightRef;
  readonly v: WeightRef;
  readonly o: WeightRef;
  readonly bias: {
    readonly q: WeightRef | null;
    readonly k: WeightRef | null;
    readonly v: WeightRef | null;
    readonly o: WeightRef | null;
  };
  readonly qNorm: WeightRef | null;
  readonly kNorm: WeightRef | null;
}

/** Matrices of multi-head latent attention. */
export interface LatentWeights {
  /** One matrix, or a narrow one, its norm and a wide one. */
  readonly query:
    { readonly full: WeightRef } | { readonly down: WeightRef; readonly norm: WeightRef; readonly up: WeightRef };
  readonly queryBias: WeightRef | null;
  readonly keyValueDown: WeightRef;
  readonly keyValueBias: WeightRef | null;
  readonly keyValueNorm: WeightRef;
  readonly keyValueUp: WeightRef;
  readonly o: WeightRef;
  readonly oBias: WeightRef | null;
}

export interface LayerNorms {
  readonly beforeAttention: WeightRef | null;
  readonly afterAttention: WeightRef | null;
  readonly beforeFfn: WeightRef | null;
  readonly afterFfn: WeightRef | null;
}

/** Finds weights by role in one checkpoint. */
export class WeightNames {
  readonly #prefix: string;

  constructor(
    private readonly spec: TransformerSpec,
    private readonly source: WeightSource,
  ) {
    this.#prefix = modelPrefix(source);
  }

  embedding(): WeightRef {
    return whole(`${this.#prefix}embed_tokens.weight`, [this.spec.vocabSize, this.spec.hiddenSize]);
  }

  finalNorm(): WeightRef {
    return whole(`${this.#prefix}norm.weight`, [this.spec.hiddenSize]);
  }

  /** The output matrix: the embedding where they are tied. */
  head(): WeightRef {
    if (this.spec.tied) return this.embedding();
    const shape = [this.spec.vocabSize, this.spec.hiddenSize];
    const name = ['lm_head.weight', `${this.#prefix.replace(/model\.$/, '')}lm_head.weight`].find(
      (candidate) => this.source.get(candidate) !== undefined,
    );
    return whole(name ?? 'lm_head.weight', shape);
  }

  /** Bias of the output matrix; null where the family has none. */
  headBias(): WeightRef | null {
    return this.spec.headBias ? whole('lm_head.bias', [this.spec.vocabSize]) : null;
  }

  norms(layer: LayerSpec): LayerNorms {
    const norm = (name: string): WeightRef => whole(`${this.#layer(layer)}${name}.weight`, [this.spec.hiddenSize]);
    switch (this.spec.placement) {
      case 'pre':
        return {
          beforeAttention: norm('input_layernorm'),
          afterAttention: null,
          beforeFfn: norm('post_attention_layernorm'),
          afterFfn: null,
        };
      case 'post':
        return {
          beforeAttention: null,
          afterAttention: norm('post_attention_layernorm'),
          beforeFfn: null,
          afterFfn: norm('post_feedforward_layernorm'),
        };
      case 'both':
        return {
          beforeAttention: norm('input_layernorm'),
          afterAttention: norm('post_attention_layernorm'),
          beforeFfn: norm('pre_feedforward_layernorm'),
          afterFfn: norm('post_feedforward_layernorm'),
        };
    }
  }

  attention(layer: LayerSpec): AttentionWeights {
    const { hiddenSize, heads, kvHeads, headDim, attention } = this.spec;
    const base = `${this.#layer(layer)}self_attn.`;
    const [qRows, kvRows] = [heads * headDim, kvHeads * headDim];
    const rows = { q: qRows, k: kvRows, v: kvRows };
    const fused = attention.fusedQkv ? splitRows(`${base}qkv_proj.weight`, [qRows, kvRows, kvRows], hiddenSize) : null;
    const matrix = (role: 'q' | 'k' | 'v', at: number): WeightRef =>
      fused?.[at] ?? whole(`${base}${role}_proj.weight`, [rows[role], hiddenSize]);
    const bias = (role: 'q' | 'k' | 'v'): WeightRef | null =>
      attention.bias.qkv ? whole(`${base}${role}_proj.bias`, [rows[role]]) : null;
    const qk = (role: 'q' | 'k'): WeightRef | null =>
      attention.qkNorm === 'none' || attention.qkNorm === 'rotated'
        ? null
        : whole(`${base}${role}_norm.weight`, [attention.qkNorm === 'head' ? headDim : rows[role]]);
    return {
      q: matrix('q', 0),
      k: matrix('k', 1),
      v: matrix('v', 2),
      o: whole(`${base}o_proj.weight`, [hiddenSize, qRows]),
      bias: {
        q: bias('q'),
        k: bias('k'),
        v: bias('v'),
        o: attention.bias.o ? whole(`${base}o_proj.bias`, [hiddenSize]) : null,
      },
      qNorm: qk('q'),
      kNorm: qk('k'),
    };
  }

  /** Scores that take a share of each head's attention. */
  sinks(layer: LayerSpec): WeightRef {
    return whole(`${this.#layer(layer)}self_attn.sinks`, [this.spec.heads]);
  }

  latent(layer: LayerSpec, { queryRank, keyValueRank, plainDim }: LatentAttention): LatentWeights {
    const { hiddenSize, heads, headDim, valueDim, rope, attention } = this.spec;
    const base = `${this.#layer(layer)}self_attn.`;
    const bias = (on: boolean, name: string, rows: number): WeightRef | null =>
      on ? whole(`${base}${name}.bias`, [rows]) : null;
    const queryRows = heads * headDim;
    const keyValueRows = keyValueRank + rope.dim;
    return {
      query:
        queryRank === null
          ? { full: whole(`${base}q_proj.weight`, [queryRows, hiddenSize]) }
          : {
              down: whole(`${base}q_a_proj.weight`, [queryRank, hiddenSize]),
              norm: whole(`${base}q_a_layernorm.weight`, [queryRank]),
              up: whole(`${base}q_b_proj.weight`, [queryRows, queryRank]),
            },
      queryBias: queryRank === null ? null : bias(attention.bias.qkv, 'q_a_proj', queryRank),
      keyValueDown: whole(`${base}kv_a_proj_with_mqa.weight`, [keyValueRows, hiddenSize]),
      keyValueBias: bias(attention.bias.qkv, 'kv_a_proj_with_mqa', keyValueRows),
      keyValueNorm: whole(`${base}kv_a_layernorm.weight`, [keyValueRank]),
      keyValueUp: whole(`${base}kv_b_proj.weight`, [heads * (plainDim + valueDim), keyValueRank]),
      o: whole(`${base}o_proj.weight`, [hiddenSize, heads * valueDim]),
      oBias: bias(attention.bias.o, 'o_proj', hiddenSize),
    };
  }

  dense(layer: LayerSpec, width: number): FfnWeights {
    const base = this.#block(this.#layer(layer), ['mlp.', 'feed_forward.']);
    const hidden = this.spec.hiddenSize;
    if (!this.spec.mlp.fusedGateUp)
      return this.#ffn(base, ['gate_proj', 'up_proj', 'down_proj'], width, this.spec.mlp.bias);
    const [gate, up] = splitRows(`${base}gate_up_proj.weight`, [width, width], hidden);
    if (gate === undefined || up === undefined) throw new Error('a fused matrix has two parts');
    return { gate, up, down: whole(`${base}down_proj.weight`, [hidden, width]), bias: null };
  }

  /** Router, experts and shared expert of a layer, in whichever layout the checkpoint has. */
  moe(layer: LayerSpec, ffn: MoeFfn): MoeWeights {
    const prefix = this.#layer(layer);
    const layout = this.#layout(prefix);
    const routerShape = [ffn.experts, this.spec.hiddenSize];
    const routerNames = [
      `${prefix}mlp.gate.weight`,
      `${prefix}block_sparse_moe.gate.weight`,
      `${prefix}block_sparse_moe.router.layer.weight`,
      `${prefix}block_sparse_moe.router.weight`,
      `${prefix}mlp.router.weight`,
      `${prefix}feed_forward.router.weight`,
    ];
    const router = whole(this.#present(routerNames), routerShape);
    return {
      router,
      routerBias: ffn.router.bias ? whole(router.tensor.replace(/weight$/, 'bias'), [ffn.experts]) : null,
      choiceBias: ffn.router.choiceBias ? this.#choiceBias(prefix, ffn) : null,
      expert: (index) => this.#expert(layout, ffn, index),
      shared: this.#shared(prefix, ffn),
    };
  }

  #choiceBias(prefix: string, ffn: MoeFfn): WeightRef {
    const tensor = this.#present([
      `${prefix}mlp.gate.e_score_correction_bias`,
      `${prefix}mlp.moe_statics.e_score_correction_bias`,
    ]);
    const rows = this.source.get(tensor)?.shape.length === 2;
    return whole(tensor, rows ? [1, ffn.experts] : [ffn.experts]);
  }

  #expert(layout: ExpertLayout, ffn: MoeFfn, index: number): FfnWeights | TransposedFfnWeights {
    const [hidden, width] = [this.spec.hiddenSize, ffn.width];
    const part = (tensor: string, shape: readonly number[]): WeightRef => ({
      tensor,
      tensorShape: [ffn.experts, ...shape],
      shape,
      start: index * shape.reduce((a, b) => a * b, 1),
    });
    if (layout.kind === 'transposed')
      return {
        width,
        gateUp: part(layout.gateUp, [hidden, 2 * width]),
        inTurns: layout.biased,
        down: part(layout.down, [width, hidden]),
        bias: layout.biased
          ? { gateUp: part(`${layout.gateUp}_bias`, [2 * width]), down: part(`${layout.down}_bias`, [hidden]) }
          : null,
      };
    if (layout.kind === 'each') return this.#ffn(`${layout.base}${index}.`, layout.names, width, false);
    const stack = [ffn.experts, 2 * width, hidden];
    const start = index * 2 * width * hidden;
    return {
      gate: { tensor: layout.gateUp, tensorShape: stack, shape: [width, hidden], start },
      up: { tensor: layout.gateUp, tensorShape: stack, shape: [width, hidden], start: start + width * hidden },
      down: {
        tensor: layout.down,
        tensorShape: [ffn.experts, hidden, width],
        shape: [hidden, width],
        start: index * hidden * width,
      },
      bias: null,
    };
  }

  #shared(prefix: string, ffn: MoeFfn): MoeWeights['shared'] {
    if (ffn.shared === null) return null;
    const gate = ffn.shared.gated ? whole(`${prefix}mlp.shared_expert_gate.weight`, [1, this.spec.hiddenSize]) : null;
    const names = ['gate_proj', 'up_proj', 'down_proj'] as const;
    const base = this.#block(prefix, ['mlp.shared_expert.', 'mlp.shared_experts.', 'feed_forward.shared_expert.']);
    return { ffn: this.#ffn(base, names, ffn.shared.width, this.spec.mlp.bias), gate };
  }

  #ffn(base: string, names: readonly [string, string, string], width: number, bias: boolean): FfnWeights {
    const hidden = this.spec.hiddenSize;
    const [gate, up, down] = names;
    return {
      gate: whole(`${base}${gate}.weight`, [width, hidden]),
      up: whole(`${base}${up}.weight`, [width, hidden]),
      down: whole(`${base}${down}.weight`, [hidden, width]),
      bias: bias
        ? {
            gate: whole(`${base}${gate}.bias`, [width]),
            up: whole(`${base}${up}.bias`, [width]),
            down: whole(`${base}${down}.bias`, [hidden]),
          }
        : null,
    };
  }

  #layout(prefix: string): ExpertLayout {
    for (const block of ['block_sparse_moe', 'mlp', 'feed_forward']) {
      const base = `${prefix}${block}.experts.`;
      for (const names of [
        ['w1', 'w3', 'w2'],
        ['gate_proj', 'up_proj', 'down_proj'],
      ] as const) {
        if (this.source.get(`${base}0.${names[0]}.weight`) !== undefined) return { kind: 'each', base, names };
      }
      const [gateUp, down] = [`${base}gate_up_proj`, `${base}down_proj`];
      if (this.source.get(gateUp) !== undefined) {
        // gpt-oss and Llama 4 store matrices the other way round; shapes cannot tell where the widths are equal.
        if (this.spec.clampedGlu !== null) return { kind: 'transposed', gateUp, down, biased: true };
        if (block === 'feed_forward') return { kind: 'transposed', gateUp, down, biased: false };
        return { kind: 'stacked', gateUp, down };
      }
      if (this.source.get(`${gateUp}_blocks`) !== undefined)
        throw new MoeError(
          'input',
          'dtype-not-runnable',
          `${gateUp} is stored as MXFP4 (${gateUp}_blocks and _scales), which cannot be run directly.`,
          {
            tensor: `${gateUp}_blocks`,
            hint: 'Dequantise the checkpoint first: load it with transformers, dequantised, and save it.',
          },
        );
    }
    const fused = `${prefix}block_sparse_moe.`;
    if (this.source.get(`${fused}input_linear.weight`) !== undefined)
      return { kind: 'stacked', gateUp: `${fused}input_linear.weight`, down: `${fused}output_linear.weight` };
    throw new MoeError('input', 'experts-not-found', `The checkpoint has no expert weights under ${prefix}.`, {
      hint: `Looked for one tensor per expert (experts.0.w1 or experts.0.gate_proj) and for packed experts (experts.gate_up_proj, input_linear).`,
      details: { prefix },
    });
  }

  /** The feed-forward block that is there, of those that families call differently. */
  #block(prefix: string, names: readonly [string, ...string[]]): string {
    const found = names.find((name) => this.source.get(`${prefix}${name}down_proj.weight`) !== undefined);
    return `${prefix}${found ?? names[0]}`;
  }

  #present(names: readonly string[]): string {
    const [first] = names;
    const found = names.find((name) => this.source.get(name) !== undefined) ?? first;
    if (found === undefined) throw new Error('no names to look for');
    return found;
  }

  #layer(layer: LayerSpec): string {
    return `${this.#prefix}layers.${layer.index}.`;
  }
}

type ExpertLayout =
  | { readonly kind: 'each'; readonly base: string; readonly names: readonly [string, string, string] }
  | { readonly kind: 'stacked'; readonly gateUp: string; readonly down: string }
  | { readonly kind: 'transposed'; readonly gateUp: string; readonly down: string; readonly biased: boolean };

/** Consecutive row blocks of one matrix. */
function splitRows(tensor: string, rows: readonly number[], columns: number): readonly WeightRef[] {
  const total = rows.reduce((a, b) => a + b, 0);
  let start = 0;
  return rows.map((count) => {
    const ref = { tensor, tensorShape: [total, columns], shape: [count, columns], start: start * columns };
    start += count;
    return ref;
  });
}

/** `model.` as a rule; whatever stands before `embed_tokens.weight` in this checkpoint. */
function modelPrefix(source: WeightSource): string {
  if (source.get('model.embed_tokens.weight') !== undefined) return 'model.';
  for (const name of source.names())
    if (name.endsWith('embed_tokens.weight')) return name.slice(0, -'embed_tokens.weight'.length);
  return 'model.';
}
