import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MoeError } from '../../src/common/errors.ts';
import { configFromGguf } from '../../src/gguf/config.ts';
import { readGgufHeader, scanGgufHeader } from '../../src/gguf/header.ts';
import { shortestFloat32 } from '../../src/gguf/metadata.ts';
import { mapTensors, requireComplete } from '../../src/gguf/names.ts';
import { tokenizerFromGguf } from '../../src/gguf/tokenizer.ts';
import type { GgufHeader } from '../../src/gguf/types.ts';
import { caught, f32, gguf, kv, scratch, tensorInfo } from './build.ts';

const { file } = scratch();

describe('shortestFloat32', () => {
  it('gives back the decimal that was meant', () => {
    // As the SmolLM2 file stores it, and usual settings.
    expect(shortestFloat32(9.999999747378752e-6)).toBe(1e-5);
    for (const meant of [1e-6, 1e-5, 1e-12, 0.22, 0.0078125, 12, 10_000, 500_000, 1_000_000, 1e9, 0.1, 1 / 3]) {
      expect(Math.fround(shortestFloat32(Math.fround(meant)))).toBe(Math.fround(meant));
    }
    expect(shortestFloat32(Math.fround(0.22))).toBe(0.22);
  });

  it('never changes the float32', () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), (value) => {
        expect(Math.fround(shortestFloat32(value)) === value).toBe(true);
      }),
    );
  });

  it('leaves a double alone', () => {
    expect(shortestFloat32(0.1)).toBe(0.1);
  });
});

/** A one-layer llama, hidden 4, heads 2, with chosen changes. */
function llama(
  options: {
    keys?: readonly Buffer[];
    without?: readonly string[];
    extra?: readonly (readonly [string, readonly number[]])[];
    factors?: readonly number[];
  } = {},
): GgufHeader {
  const base: Record<string, Buffer> = {
    'general.architecture': kv.text('general.architecture', 'llama'),
    'llama.block_count': kv.u32('llama.block_count', 1),
    'llama.context_length': kv.u32('llama.context_length', 64),
    'llama.embedding_length': kv.u32('llama.embedding_length', 4),
    'llama.feed_forward_length': kv.u32('llama.feed_forward_length', 6),
    'llama.attention.head_count': kv.u32('llama.attention.head_count', 2),
    'llama.attention.head_count_kv': kv.u32('llama.attention.head_count_kv', 1),
    'llama.attention.layer_norm_rms_epsilon': kv.f32('llama.attention.layer_norm_rms_epsilon', 1e-5),
  };
  const shapes: [string, readonly number[]][] = [
    ['token_embd.weight', [4, 5]],
    ['output_norm.weight', [4]],
    ['blk.0.attn_norm.weight', [4]],
    ['blk.0.attn_q.weight', [4, 4]],
    ['blk.0.attn_k.weight', [4, 2]],
    ['blk.0.attn_v.weight', [4, 2]],
    ['blk.0.attn_output.weight', [4, 4]],
    ['blk.0.ffn_norm.weight', [4]],
    ['blk.0.ffn_gate.weight', [4, 6]],
    ['blk.0.ffn_up.weight', [4, 6]],
    ['blk.0.ffn_down.weight', [6, 4]],
    ...(options.extra ?? []).map(([name, ne]): [string, readonly number[]] => [name, ne]),
    ...(options.factors === undefined ? [] : [['rope_freqs.weight', [options.factors.length]] as [string, number[]]]),
  ];
  const replaced = new Set(
    (options.keys ?? []).map((key) => key.toString('utf8', 8, 8 + Number(key.readBigUInt64LE(0)))),
  );
  const keys = [
    ...Object.entries(base)
      .filter(([key]) => !replaced.has(key) && options.without?.includes(key) !== true)
      .map(([, value]) => value),
    ...(options.keys ?? []),
  ];
  const tensors: Buffer[] = [];
  const data: Buffer[] = [];
  let offset = 0;
  for (const [name, ne] of shapes) {
    if (options.without?.includes(name) === true) continue;
    tensors.push(tensorInfo(name, ne, 0, offset));
    const values =
      name === 'rope_freqs.weight'
        ? Buffer.concat((options.factors ?? []).map(f32))
        : Buffer.alloc(4 * ne.reduce((a, b) => a * b, 1));
    const padded = Buffer.concat([values, Buffer.alloc((32 - (values.length % 32)) % 32)]);
    data.push(padded);
    offset += padded.length;
  }
  return readGgufHeader(file(gguf({ keys, tensors, data: Buffer.concat(data) })));
}

const codeOf = (run: () => unknown): string | undefined => {
  const error = caught(run);
  return error instanceof MoeError ? error.code : String(error);
};

describe('configFromGguf', () => {
  it('reads the plain case', () => {
    const { config, kind, dtype } = configFromGguf(llama());
    expect(config).toMatchObject({
      model_type: 'llama',
      hidden_size: 4,
      head_dim: 2,
      vocab_size: 5,
      tie_word_embeddings: true,
      rms_norm_eps: 1e-5,
      rope_theta: 10_000,
    });
    expect([kind, dtype]).toEqual(['dense', 'float32']);
  });

  it('collapses values that are the same for all layers, and refuses those that differ', () => {
    const heads = (values: number[]): GgufHeader => llama({ keys: [kv.ints('llama.attention.head_count_kv', values)] });
    expect(configFromGguf(heads([1, 1])).config['num_key_value_heads']).toBe(1);
    expect(codeOf(() => configFromGguf(heads([1, 2])))).toBe('gguf-per-layer-value');
  });

  it('takes the embedding rows as the vocabulary size, and says so', () => {
    const { config, notes } = configFromGguf(llama({ keys: [kv.u32('llama.vocab_size', 7)] }));
    expect(config['vocab_size']).toBe(5);
    expect(notes.map((note) => note.code)).toContain('gguf-vocab-size');
  });

  it('lists settings that it has no place for', () => {
    const { notes } = configFromGguf(llama({ keys: [kv.f32('llama.attention.clamp_kqv', 8)] }));
    expect(notes.find((note) => note.code === 'gguf-keys-unused')?.message).toContain('llama.attention.clamp_kqv');
  });

  it('drops token ids beyond the embedding, and says so', () => {
    const { config, notes } = configFromGguf(
      llama({ keys: [kv.u32('tokenizer.ggml.bos_token_id', 5), kv.u32('tokenizer.ggml.eos_token_id', 4)] }),
    );
    expect([config['bos_token_id'], config['eos_token_id']]).toEqual([null, 4]);
    expect(notes.map((note) => note.code)).toContain('gguf-token-id');
  });

  it.each<[string, Parameters<typeof llama>[0], string]>([
    ['another architecture', { keys: [kv.text('general.architecture', 'mamba')] }, 'gguf-unsupported-arch'],
    ['no architecture', { without: ['general.architecture'] }, 'gguf-metadata'],
    ['no epsilon', { without: ['llama.attention.layer_norm_rms_epsilon'] }, 'gguf-metadata'],
    ['no layers', { keys: [kv.u32('llama.block_count', 0)] }, 'gguf-metadata'],
    ['a count that is text', { keys: [kv.text('llama.block_count', '1')] }, 'gguf-metadata'],
    ['heads that do not divide', { keys: [kv.u32('llama.attention.head_count_kv', 3)] }, 'gguf-metadata'],
    ['a width that the tensors deny', { keys: [kv.u32('llama.feed_forward_length', 7)] }, 'gguf-shape'],
    ['partial rotary', { keys: [kv.u32('llama.rope.dimension_count', 1)] }, 'gguf-metadata'],
    ['a sliding window', { keys: [kv.u32('llama.attention.sliding_window', 9)] }, 'gguf-metadata'],
    ['an unknown rotary scaling', { keys: [kv.text('llama.rope.scaling.type', 'longrope')] }, 'gguf-rope'],
    ['linear scaling without a factor', { keys: [kv.text('llama.rope.scaling.type', 'linear')] }, 'gguf-rope'],
    ['factors of the wrong number', { factors: [1, 2] }, 'gguf-rope'],
  ])('refuses %s', (_name, options, code) => {
    expect(codeOf(() => configFromGguf(llama(options)))).toBe(code);
  });

  it('refuses, in a damaged file, more factors than a head can have, without making room for them', () => {
    const bytes = gguf({
      keys: [
        kv.text('general.architecture', 'llama'),
        kv.u32('llama.block_count', 1),
        kv.u32('llama.context_length', 64),
        kv.u32('llama.embedding_length', 4),
        kv.u32('llama.feed_forward_length', 6),
        kv.u32('llama.attention.head_count', 2),
      ],
      tensors: [tensorInfo('token_embd.weight', [4, 5], 0, 0), tensorInfo('rope_freqs.weight', [2n ** 40n], 0, 96)],
      data: Buffer.alloc(96),
    });
    const scan = scanGgufHeader(file(bytes));
    expect(scan.error?.code).toBe('gguf-truncated');
    expect(codeOf(() => configFromGguf(scan))).toBe('gguf-rope');
  });

  it('reads equal factors as linear scaling and factors of one as none', () => {
    expect(configFromGguf(llama({ factors: [4] })).config['rope_scaling']).toEqual({ rope_type: 'linear', factor: 4 });
    expect(configFromGguf(llama({ factors: [1] })).config['rope_scaling']).toBeUndefined();
  });

  it('refuses factors that follow no formula', () => {
    const header = llama({
      factors: [1, 3, 2, 5],
      keys: [kv.u32('llama.attention.key_length', 8), kv.u32('llama.attention.value_length', 8)],
      without: ['blk.0.attn_q.weight', 'blk.0.attn_k.weight'],
    });
    expect(codeOf(() => configFromGguf(header))).toBe('gguf-rope');
  });
});

describe('requireComplete', () => {
  const check = (options: Parameters<typeof llama>[0]): string | undefined => {
    const header = llama(options);
    return codeOf(() => {
      requireComplete(header, mapTensors(header));
    });
  };

  it('accepts a whole model', () => {
    const header = llama();
    expect(mapTensors(header)).toMatchObject({ unknown: [], missing: [] });
    requireComplete(header, mapTensors(header));
  });

  it('refuses what is missing and what is unknown', () => {
    expect(check({ without: ['blk.0.ffn_up.weight'] })).toBe('gguf-missing-tensor');
    expect(check({ keys: [kv.u32('llama.block_count', 2_000_000_000)] })).toBe('gguf-missing-tensor');
    expect(check({ extra: [['blk.0.ssm_in.weight', [4]]] })).toBe('gguf-unknown-tensor');
    expect(check({ extra: [['blk.7.attn_norm.weight', [4]]] })).toBe('gguf-unknown-tensor');
    expect(check({ extra: [['blk.0.attn_norm.bias', [4]]] })).toBe('gguf-unknown-tensor');
  });

  it('wants all biases of a group or none', () => {
    expect(check({ extra: [['blk.0.attn_q.bias', [4]]] })).toBe('gguf-missing-tensor');
  });

  it('names a rotary factor tensor as consumed, not as a weight', () => {
    expect(mapTensors(llama({ factors: [1] })).consumed).toEqual(['rope_freqs.weight']);
  });

  it('splits q, k and v that the converter fused', () => {
    const header = llama({
      without: ['blk.0.attn_q.weight', 'blk.0.attn_k.weight', 'blk.0.attn_v.weight'],
      extra: [['blk.0.attn_qkv.weight', [4, 8]]],
    });
    const mapping = mapTensors(header);
    requireComplete(header, mapping);
    const ranges = ['q', 'k', 'v'].map((part) => {
      const piece = mapping.sources.get(`model.layers.0.self_attn.${part}_proj.weight`)?.pieces[0];
      return [piece?.begin, piece?.end, piece?.transform.kind];
    });
    expect(ranges).toEqual([
      [0, 4, 'unpermute'],
      [4, 6, 'unpermute'],
      [6, 8, 'none'],
    ]);
  });

  it('takes experts of early 2024, which were separate tensors', () => {
    const experts = [0, 1].flatMap((e) =>
      ['gate', 'up', 'down'].map((part): [string, number[]] => [
        `blk.0.ffn_${part}.${e}.weight`,
        part === 'down' ? [6, 4] : [4, 6],
      ]),
    );
    const header = llama({
      keys: [kv.u32('llama.expert_count', 2), kv.u32('llama.expert_used_count', 1)],
      without: ['blk.0.ffn_gate.weight', 'blk.0.ffn_up.weight', 'blk.0.ffn_down.weight'],
      extra: [['blk.0.ffn_gate_inp.weight', [4, 2]], ...experts],
    });
    const mapping = mapTensors(header);
    requireComplete(header, mapping);
    expect(mapping.sources.get('model.layers.0.block_sparse_moe.experts.1.w2.weight')).toMatchObject({ shape: [4, 6] });
  });

  it('refuses a stack of experts that the metadata does not announce', () => {
    const header = llama({
      keys: [kv.u32('llama.expert_count', 4), kv.u32('llama.expert_used_count', 2)],
      extra: [['blk.0.ffn_up_exps.weight', [4, 6, 3]]],
    });
    expect(codeOf(() => mapTensors(header))).toBe('gguf-shape');
  });
});

describe('hostile headers', () => {
  const seeds = ['mixtral', 'phi3_longrope', 'granitemoe', 'llama3_rope'].map((name) =>
    readFileSync(new URL(`./fixtures/models/${name}.gguf`, import.meta.url)),
  );

  it('give results or a MoeError from names, config and tokenizer', () => {
    const edits = fc.array(fc.tuple(fc.nat(1_400), fc.constantFrom(0, 1, 3, 4, 5, 8, 127, 255)), {
      minLength: 1,
      maxLength: 4,
    });
    fc.assert(
      fc.property(fc.constantFrom(...seeds), edits, (seed, changes) => {
        const bytes = Buffer.from(seed);
        for (const [at, value] of changes) bytes[24 + at] = value;
        const path = file(bytes, 'fuzz.gguf');
        for (const use of [mapTensors, configFromGguf, tokenizerFromGguf]) {
          const error = caught(() => use(scanGgufHeader(path)));
          if (error !== undefined) expect(error).toMatchObject({ name: 'MoeError', kind: 'input' });
        }
      }),
      { numRuns: 100 },
    );
  });
});
