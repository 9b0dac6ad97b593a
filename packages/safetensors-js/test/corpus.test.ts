/** The shared corpus (huggingface's own test files and others) and the field reports about single files. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openSafetensors, readHeader, readHeaderSync, readIndex } from '../src/index.ts';
import type { SafetensorsErrorCode } from '../src/index.ts';
import { errorOf, rejectionOf, shared } from './helpers.ts';

interface CorpusCase {
  readonly file: string;
  readonly verdict: string;
}

const CODES: Readonly<Record<string, SafetensorsErrorCode>> = {
  hf_metadata_incomplete_buffer: 'trailing-bytes',
  hf_metadata_incomplete_buffer1: 'file-truncated',
  hf_header_too_large: 'header-too-large',
  hf_header_too_small: 'empty-file',
  hf_invalid_header_length: 'invalid-header-length',
  hf_invalid_header_non_utf8: 'invalid-header-utf8',
  hf_invalid_header_not_json: 'invalid-header-json',
  hf_invalid_info: 'tensor-invalid-info',
  hf_validation_overflow: 'validation-overflow',
  hf_validation_overflow1: 'validation-overflow',
  hf_json_attack: 'invalid-offset',
  hf_abuse_attempt_3_small: 'invalid-offset',
  hf_fp4_misaligned: 'misaligned-slice',
  hf_fp4_invalid: 'tensor-invalid-info',
  cozy_gap: 'invalid-offset',
  cozy_unknown_dtype: 'unknown-dtype',
};

const corpus = shared('data/safetensors');

describe.skipIf(corpus === undefined)('corpus', () => {
  const folder = corpus ?? '';
  const cases =
    corpus === undefined ? [] : (JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8')) as CorpusCase[]);

  test('has every case of the table', () => {
    const malformed = cases
      .filter((c) => c.verdict === 'malformed')
      .map((c) => c.file.replace(/^.*\/|\.safetensors$/g, ''));
    expect(malformed.sort()).toEqual(Object.keys(CODES).sort());
    expect(cases.length).toBeGreaterThan(malformed.length);
  });

  test.each(cases)('$file is $verdict', async ({ file, verdict }) => {
    const path = join(folder, file);
    if (verdict === 'valid') {
      const header = readHeaderSync(path);
      expect(await readHeader(path)).toEqual(header);
    } else {
      const error = errorOf(() => readHeaderSync(path));
      expect(error.code).toBe(CODES[file.replace(/^.*\/|\.safetensors$/g, '')]);
      expect(error.file).toBe(path);
      expect(error.byte).toBeTypeOf('number');
      const later = await rejectionOf(readHeader(path));
      expect([later.code, later.message, later.byte]).toEqual([error.code, error.message, error.byte]);
    }
  });
});

const field = shared('field/inputs');

describe.skipIf(field === undefined)('field reports', () => {
  const at = (path: string): string => join(field ?? '', path);

  test('G3-07: extra bytes are not an incomplete download; the tensors stay readable', async () => {
    const error = await rejectionOf(readHeader(at('G3-07/trailing8.safetensors')));
    expect(error.code).toBe('trailing-bytes');
    expect(error.message).toContain('8 bytes after the last tensor; the reference loader refuses this file');
    expect(`${error.message} ${error.hint ?? ''}`).not.toMatch(/incomplete|download|corrupt/i);
    expect(error.hint).toContain('rewrite');
    expect(error.details).toMatchObject({ extra: 8 });
    expect([...(error.header?.tensors.keys() ?? [])]).toEqual(['a.weight', 'b.weight']);
  });

  test('G3-07: a file that is cut off names the number and the tensor', async () => {
    const error = await rejectionOf(readHeader(at('G3-07/short6.safetensors')));
    expect(error.code).toBe('file-truncated');
    expect(error.message).toContain('file is 6 bytes shorter than its header says; first incomplete tensor b.weight');
    expect(error.tensor).toBe('b.weight');
    expect(error.details).toMatchObject({ missing: 6, firstIncompleteTensor: 'b.weight' });
    expect(error.header?.tensors.size).toBe(2);
    expect((await readHeader(at('G3-07/good.safetensors'))).tensors.size).toBe(2);
  });

  test('G3-08: a Git LFS pointer', async () => {
    const error = await rejectionOf(readHeader(at('G3-08/model-00001-of-00002.safetensors')));
    expect(error.code).toBe('lfs-pointer');
    expect(error.message).toBe(
      'model-00001-of-00002.safetensors is a Git LFS pointer (real size 4,976,698,672 bytes); run git lfs pull',
    );
    expect(error.details).toEqual({
      oid: '48168fa99cb7e014e77dbf4af79fc5b2a50caac8e820883ea7326f88bc713ac9',
      size: 4976698672,
    });
    const other = await readHeader(at('G3-08/model-00002-of-00002.safetensors'));
    expect([...other.tensors.keys()]).toEqual(['lm_head.weight']);
  });

  test('G7-07: the index lists two of five tensors', async () => {
    const index = await readIndex(at('G7-07/model.safetensors.index.json'));
    expect(index.weightMap.size).toBe(2);
    expect(index.files).toEqual(['model-00001-of-00002.safetensors']);
    expect(index.totalSize).toBe(72);
    const unlisted = await openSafetensors(at('G7-07/model-00002-of-00002.safetensors'));
    expect([...unlisted.header.tensors.keys()].sort()).toEqual([
      'model.layers.0.mlp.experts.2.up_proj.weight',
      'model.layers.0.mlp.experts.3.up_proj.weight',
      'model.norm.weight',
    ]);
  });

  test('G8-05: every file of a failed save gets its own state', async () => {
    await readHeader(at('G8-05/model-00001-of-00004.safetensors'));
    const empty = await rejectionOf(readHeader(at('G8-05/model-00002-of-00004.safetensors')));
    expect([empty.code, empty.message]).toEqual(['empty-file', 'model-00002-of-00004.safetensors is empty (0 bytes)']);
    const partial = await rejectionOf(readHeader(at('G8-05/model-00003-of-00004.safetensors.tmp')));
    expect([partial.code, partial.details?.['missing']]).toEqual(['file-truncated', 4]);
    const short = await rejectionOf(readHeader(at('G8-05/model-00004-of-00004.safetensors')));
    expect([short.code, short.details?.['missing']]).toEqual(['file-truncated', 7]);
  });
});
