/** Files written by the reference converter (fixtures/make-models.py) read back as the Hugging Face folders they were made from. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { configFromGguf } from '../../src/gguf/config.ts';
import { readGgufHeader } from '../../src/gguf/header.ts';
import { mapTensors, requireComplete } from '../../src/gguf/names.ts';
import { readSource, rowCount, rowLength } from '../../src/gguf/tensor-data.ts';

interface Expected {
  readonly config: Readonly<Record<string, unknown>>;
  readonly tensors: Readonly<Record<string, readonly [readonly number[], string]>>;
}
const { models } = JSON.parse(
  gunzipSync(readFileSync(new URL('./fixtures/models.json.gz', import.meta.url))).toString(),
) as {
  models: Readonly<Record<string, Expected>>;
};
const names = Object.keys(models);
const pathOf = (name: string): string => fileURLToPath(new URL(`./fixtures/models/${name}.gguf`, import.meta.url));

function expectedOf(name: string): Expected {
  const entry = models[name];
  if (entry === undefined) throw new Error(`no fixture ${name}`);
  return entry;
}

/** Members of the original config.json that a GGUF does not carry, or that say nothing about the model. */
const NOT_STORED = new Set([
  'bos_token_id',
  'eos_token_id',
  'pad_token_id',
  'transformers_version',
  'layer_types',
  'max_window_layers',
  'position_embedding_type',
]);
/** Where the rebuilt value differs by design. */
const DIFFERENT: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  // Mistral is the llama architecture in GGUF, and its window is not stored (said in a note).
  mistral: { architectures: ['LlamaForCausalLM'], model_type: 'llama', sliding_window: undefined },
  // transformers 5 refuses an integer there, and JSON written here has no 0.0: the class's own default is meant.
  mixtral: { head_dim: 4, router_jitter_noise: undefined },
  gemma: { hidden_activation: 'gelu_pytorch_tanh' },
};

describe.each(names)('%s', (name) => {
  const expected = expectedOf(name);
  const header = readGgufHeader(pathOf(name));

  it('has the same tensors, bit for bit', () => {
    const mapping = mapTensors(header);
    requireComplete(header, mapping);
    expect([...mapping.sources.keys()].sort()).toEqual(Object.keys(expected.tensors).sort());
    for (const source of mapping.sources.values()) {
      const values = readSource(source);
      const digest = createHash('sha256').update(new Uint8Array(values.buffer)).digest('hex');
      expect([source.name, source.shape, digest]).toEqual([source.name, ...(expected.tensors[source.name] ?? [])]);
    }
  });

  it('has the same config', () => {
    const { config } = configFromGguf(header);
    const differs = DIFFERENT[name] ?? {};
    for (const [field, value] of Object.entries(expected.config)) {
      if (NOT_STORED.has(field)) continue;
      const wanted = field in differs ? differs[field] : (value ?? undefined);
      expect([field, config[field] ?? undefined]).toEqual([field, wanted]);
    }
    const scaling = expected.config['rope_scaling'] as Record<string, unknown> | null | undefined;
    const { type, ...rest } = scaling ?? { type: 'default' };
    expect(config['rope_parameters']).toEqual({
      rope_theta: expected.config['rope_theta'],
      ...(type === undefined ? {} : { rope_type: type }),
      ...rest,
    });
  });
});

describe('any row range', () => {
  it('equals that part of the whole tensor', () => {
    const sources = ['llama', 'gemma', 'granitemoe', 'mixtral', 'qwen2_moe'].flatMap((name) => [
      ...mapTensors(readGgufHeader(pathOf(name))).sources.values(),
    ]);
    fc.assert(
      fc.property(fc.constantFrom(...sources), fc.nat(100), fc.nat(100), (source, a, b) => {
        const rows = rowCount(source.shape);
        const [begin = 0, end = 0] = [a % (rows + 1), b % (rows + 1)].sort((x, y) => x - y);
        const length = rowLength(source.shape);
        expect(readSource(source, begin, end)).toEqual(readSource(source).slice(begin * length, end * length));
      }),
      { numRuns: 60 },
    );
  });
});

describe('notes', () => {
  it('say what was found from factors and what is not stored', () => {
    const codes = (name: string): string[] =>
      configFromGguf(readGgufHeader(pathOf(name))).notes.map((note) => `${note.code} ${note.field ?? ''}`);
    expect(codes('llama3_rope')).toContain('gguf-rope-llama3 rope_scaling');
    expect(codes('mistral')).toContain('gguf-default model_type');
    expect(codes('gemma')).toContain('gguf-default rope_theta');
    expect(codes('qwen3_moe')).toContain('gguf-default norm_topk_prob');
    expect(codes('llama')).not.toContain('gguf-keys-unused ');
  });
});
