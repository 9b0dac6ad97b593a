/** Thousands of damaged headers, judged by this reader and by the Rust reference through Python: the same verdict. */
import { expect, test } from 'vitest';
import { SafetensorsError, headerOfBytes } from '../src/index.ts';
import type { SafetensorsErrorCode } from '../src/index.ts';
import { pythonWith, runPython } from './helpers.ts';
import { damagedFile, random } from './mutate.ts';

const COUNT = Number(process.env['AGREEMENT_COUNT'] ?? 4000);
const SEED = Number(process.env['AGREEMENT_SEED'] ?? 1);

// Reads [u32 length, bytes]…, prints one line of JSON each: the tensors sorted by name, or the error's text.
const JUDGE = `
import sys, json, struct
from safetensors import deserialize
data = sys.stdin.buffer.read()
at = 0
while at < len(data):
    (n,) = struct.unpack_from('<I', data, at)
    blob = data[at + 4 : at + 4 + n]
    at += 4 + n
    try:
        found = sorted([name, t['dtype'], [str(d) for d in t['shape']], len(t['data'])] for name, t in deserialize(blob))
        print(json.dumps(found))
    except Exception as error:
        print(json.dumps(str(error)))
`;

/** Words in the reference's message for each of our codes. */
const REFERENCE_WORDS: Partial<Record<SafetensorsErrorCode, string>> = {
  'empty-file': 'header too small',
  'header-too-small': 'header too small',
  'header-too-large': 'header too large',
  'not-safetensors': 'header too large',
  'invalid-header-length': 'invalid header length',
  'invalid-header-utf8': 'invalid UTF-8',
  'invalid-header-json': 'invalid JSON',
  'unknown-dtype': 'invalid JSON',
  'invalid-offset': 'invalid offset for tensor',
  'tensor-invalid-info': 'invalid shape, data type, or offset',
  'validation-overflow': 'overflow computing buffer size',
  'misaligned-slice': 'slice',
  'file-truncated': 'incomplete metadata',
  'trailing-bytes': 'incomplete metadata',
};

/**
 * Where two tensors claim the same bytes, the reference's hash order decides which of its refusals comes first: these
 * count as one another.
 */
const STRUCTURAL: readonly SafetensorsErrorCode[] = [
  'invalid-offset',
  'tensor-invalid-info',
  'validation-overflow',
  'misaligned-slice',
  'offset-too-large',
];
const STRUCTURAL_WORDS = ['incomplete metadata', ...STRUCTURAL.flatMap((code) => REFERENCE_WORDS[code] ?? [])];

function ours(file: Buffer): { readonly tensors: unknown } | { readonly error: SafetensorsError } {
  try {
    const header = headerOfBytes(file);
    const tensors = [...header.tensors.values()]
      .sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)))
      .map((t) => [t.name, t.dtype, (t.exactShape ?? t.shape).map(String), t.end - t.begin]);
    return { tensors };
  } catch (error) {
    if (error instanceof SafetensorsError) return { error };
    throw error;
  }
}

test('damaged headers get the reference’s verdict', { timeout: 120_000 }, (context) => {
  const python = pythonWith(['safetensors']);
  if (python === undefined) return context.skip();
  const next = random(SEED);
  const files = Array.from({ length: COUNT }, () => damagedFile(next));
  const framed = files.flatMap((file) => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(file.length);
    return [length, file];
  });
  const theirs = runPython(python, JUDGE, Buffer.concat(framed)).trimEnd().split('\n');
  expect(theirs).toHaveLength(COUNT);
  const disagreements: string[] = [];
  let accepted = 0;
  let duplicates = 0;
  let otherOrder = 0;
  files.forEach((file, i) => {
    const their: unknown = JSON.parse(theirs[i] as string);
    const our = ours(file);
    const refused = typeof their === 'string';
    if ('error' in our) {
      if (our.error.code === 'duplicate-key') {
        // Refused here on purpose, whatever the reference makes of it.
        duplicates++;
        return;
      }
      const words = REFERENCE_WORDS[our.error.code];
      const same = refused && words !== undefined && their.includes(words);
      const nearly = refused && STRUCTURAL.includes(our.error.code) && STRUCTURAL_WORDS.some((w) => their.includes(w));
      if (!same && nearly) otherOrder++;
      if (!same && !nearly) {
        disagreements.push(
          `ours ${our.error.code}: ${our.error.message}\ntheirs ${JSON.stringify(their)}\n${file.toString('latin1')}`,
        );
      }
    } else {
      accepted++;
      if (refused || JSON.stringify(our.tensors) !== JSON.stringify(their)) {
        disagreements.push(
          `ours ${JSON.stringify(our.tensors)}\ntheirs ${JSON.stringify(their)}\n${file.toString('latin1')}`,
        );
      }
    }
  });
  expect(disagreements.slice(0, 5)).toEqual([]);
  // The test is only worth something if both verdicts occur.
  expect(accepted).toBeGreaterThan(COUNT / 20);
  expect(accepted).toBeLessThan(COUNT * 0.8);
  expect(otherOrder).toBeLessThan(COUNT / 50);
  expect(duplicates).toBeLessThan(COUNT / 5);
});
