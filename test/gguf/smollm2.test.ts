/**
 * The real SmolLM2-135M-Instruct: run `node scripts/fetch-smollm2.mjs` first. Expected values come from the reference `gguf`
 * package, transformers and tokenizers. Skipped, loudly, where the model or the reference values are absent.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { Tokenizer } from '@huggingface/tokenizers';
import { describe, expect, it } from 'vitest';
import { configFromGguf } from '../../src/gguf/config.ts';
import { readGgufHeader } from '../../src/gguf/header.ts';
import { mapTensors, requireComplete } from '../../src/gguf/names.ts';
import { readSource, readStoredTensor } from '../../src/gguf/tensor-data.ts';
import { tokenizerFromGguf } from '../../src/gguf/tokenizer.ts';

const model = fileURLToPath(new URL('../../.cache/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf', import.meta.url));
const goldens = fileURLToPath(new URL('../../../shared/data/goldens/', import.meta.url));
const tensorsFile = `${goldens}smollm2-135m.gguf-tensors.json.gz`;
const tokensFile = `${goldens}smollm2-135m.tokens.json`;
const absent = [model, tensorsFile, tokensFile].filter((path) => !existsSync(path));
if (absent.length > 0) console.warn(`SKIPPED test/gguf/smollm2.test.ts: not there: ${absent.join(', ')}`);

interface TensorGolden {
  readonly gguf: string;
  readonly type: string;
  readonly shape: readonly number[];
  readonly n_bytes: number;
  readonly offset: number;
  readonly f32_sha256_gguf_order: string;
  readonly hf: string;
  readonly f32_sha256_hf: string;
}
interface Goldens {
  readonly kv: readonly {
    readonly key: string;
    readonly types: readonly string[];
    readonly value?: unknown;
    readonly length?: number;
  }[];
  readonly expected_hf_config_keys: Readonly<Record<string, unknown>>;
  readonly tensors: readonly TensorGolden[];
}
interface Tokens {
  readonly items: readonly {
    readonly text: string;
    readonly ids: readonly number[];
    readonly ids_digits_first?: readonly number[];
  }[];
}

function sha256(values: Float32Array): string {
  return createHash('sha256').update(new Uint8Array(values.buffer)).digest('hex');
}

describe.skipIf(absent.length > 0)('SmolLM2-135M-Instruct Q4_1', () => {
  const load = (): Goldens => JSON.parse(gunzipSync(readFileSync(tensorsFile)).toString()) as Goldens;

  it('has the metadata that the reference reader finds', () => {
    const header = readGgufHeader(model);
    const { kv } = load();
    const checked = kv.filter(({ key }) => !key.startsWith('GGUF.'));
    expect(checked).toHaveLength(header.metadata.size);
    for (const { key, types, value, length } of checked) {
      const read = header.metadata.get(key);
      expect([key, header.metadataTypes.get(key)]).toEqual([
        key,
        types.length === 2 ? `ARRAY[${types[1] ?? ''}]` : types[0],
      ]);
      if (typeof read === 'object') expect(read.values).toHaveLength(length ?? (value as unknown[]).length);
      else if (value !== undefined) expect([key, read]).toEqual([key, value]);
    }
  });

  it('has every tensor, bit for bit, in stored and in Hugging Face order', { timeout: 300_000 }, () => {
    const header = readGgufHeader(model);
    const mapping = mapTensors(header);
    requireComplete(header, mapping);
    const { tensors } = load();
    expect([...mapping.sources.keys()].sort()).toEqual(tensors.map((tensor) => tensor.hf).sort());
    for (const golden of tensors) {
      const tensor = header.tensors.get(golden.gguf);
      const source = mapping.sources.get(golden.hf);
      if (tensor === undefined || source === undefined) throw new Error(`no ${golden.gguf}`);
      expect(tensor).toMatchObject({ shape: golden.shape, offset: golden.offset, bytes: golden.n_bytes });
      expect(tensor.ggmlType.name).toBe(golden.type);
      expect([golden.gguf, sha256(readStoredTensor(tensor))]).toEqual([golden.gguf, golden.f32_sha256_gguf_order]);
      expect([golden.hf, sha256(readSource(source))]).toEqual([golden.hf, golden.f32_sha256_hf]);
    }
  });

  it('has the config of the published model', () => {
    const { config, quantised } = configFromGguf(readGgufHeader(model));
    expect(config).toMatchObject(load().expected_hf_config_keys);
    expect(quantised).toBe(true);
  });

  it('has the tokenizer that splits digits first', { timeout: 60_000 }, () => {
    const { files, notes } = tokenizerFromGguf(readGgufHeader(model));
    const parse = (name: string): object => JSON.parse(files.get(name) ?? '') as object;
    const tokenizer = new Tokenizer(parse('tokenizer.json'), parse('tokenizer_config.json'));
    const { items } = JSON.parse(readFileSync(tokensFile, 'utf8')) as Tokens;
    expect(items.length).toBeGreaterThan(100);
    for (const item of items)
      expect([item.text, tokenizer.encode(item.text).ids]).toEqual([item.text, item.ids_digits_first ?? item.ids]);
    expect(notes.filter((note) => note.severity === 'warning')).toEqual([]);
  });
});
