/**
 * Which tensor on disk holds which weight: Hugging Face names of every family and of every expert layout in use (one tensor
 * per expert, transformers 5's packed stacks, granitemoe's fused stacks). Fused and packed weights are addressed in place.
 */
import { MoeError } from '../common/errors.ts';
import { whole } from './weights.ts';
import type { WeightRef, WeightSource } from './weights.ts';
import type { LayerSpec, MoeFfn, TransformerSpec } from './spec.ts';

export interface FfnWeights {
  readonly gate: WeightRef;
  readonly up: WeightRef;
  readonly down: WeightRef;
  readonly bias: { readonly gate: WeightRef; readonly up: WeightRef; readonly down: WeightRef } | null;
}

export interface MoeWeights {
  readonly router: WeightRef;
  readonly expert: (index: number) => FfnWeights;
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
      attention.qkNorm === 'none'
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

  dense(layer: LayerSpec, width: number): FfnWeights {
    const base = `${this.#layer(layer)}mlp.`;
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
    ];
    const router = whole(this.#present(routerNames), routerShape);
    return { router, expert: (index) => this.#expert(layout, ffn, index), shared: this.#shared(prefix, ffn) };
  }

  #expert(layout: ExpertLayout, ffn: MoeFfn, index: number): FfnWeights {
    const [hidden, width] = [this.spec.hiddenSize, ffn.width];
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
    return {
      ffn: this.#ffn(`${prefix}mlp.shared_expert.`, ['gate_proj', 'up_proj', 'down_proj'], ffn.shared.width, false),
      gate,
    };
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
    for (const block of ['block_sparse_moe', 'mlp']) {
      const base = `${prefix}${block}.experts.`;
      for (const names of [
        ['w1', 'w3', 'w2'],
        ['gate_proj', 'up_proj', 'down_proj'],
      ] as const) {
        if (this.source.get(`${base}0.${names[0]}.weight`) !== undefined) return { kind: 'each', base, names };
      }
      if (this.source.get(`${base}gate_up_proj`) !== undefined)
        return { kind: 'stacked', gateUp: `${base}gate_up_proj`, down: `${base}down_proj` };
    }
    const fused = `${prefix}block_sparse_moe.`;
    if (this.source.get(`${fused}input_linear.weight`) !== undefined)
      return { kind: 'stacked', gateUp: `${fused}input_linear.weight`, down: `${fused}output_linear.weight` };
    throw new MoeError('input', 'experts-not-found', `The checkpoint has no expert weights under ${prefix}.`, {
      hint: `Looked for one tensor per expert (experts.0.w1 or experts.0.gate_proj) and for packed experts (experts.gate_up_proj, input_linear).`,
      details: { prefix },
    });
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
  | { readonly kind: 'stacked'; readonly gateUp: string; readonly down: string };

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
