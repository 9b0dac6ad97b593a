import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { SafetensorsError, buildIndex, fileNameProblem, parseIndexStream, readIndex } from '../src/index.ts';
import { anyText, errorOf, pythonWith, rejectionOf, runPython, temporaryFolder } from './helpers.ts';

const folder = temporaryFolder();
afterAll(folder.remove);

const parse = (text: string, options = {}): ReturnType<typeof parseIndexStream> =>
  parseIndexStream([Buffer.from(text)], options);

/** Pieces of a text, cut at the given places. */
function pieces(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...places].map((from, i) => bytes.subarray(from, places[i] ?? bytes.length));
}

const SAMPLE = `{
  "metadata": {"total_size": 4976698704, "note": "é 𝄞", "nested": {"a": [1, 2.5, null, true]}},
  "weight_map": {
    "model.embed_tokens.weight": "model-00001-of-00002.safetensors",
    "__proto__": "model-00001-of-00002.safetensors",
    "lm_head\\u002eweight": "model-00002-of-00002.safetensors"
  },
  "extra": -12.5e3
}
`;

describe('parseIndexStream', () => {
  test('reads metadata, entries and files', async () => {
    const index = await parse(SAMPLE);
    expect(index.totalSize).toBe(4976698704);
    expect(index.metadata.get('note')).toBe('é 𝄞');
    expect(index.metadata.get('nested')).toEqual(new Map([['a', [1, 2.5, null, true]]]));
    expect([...index.weightMap.keys()]).toEqual(['model.embed_tokens.weight', '__proto__', 'lm_head.weight']);
    expect(index.files).toEqual(['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']);
    expect(index.unknownKeys).toEqual(['extra']);
    expect(index.duplicateCount).toBe(0);
  });

  test('the cuts between chunks make no difference', async () => {
    const whole = await parse(SAMPLE);
    const bytes = Buffer.from(SAMPLE);
    const single = await parseIndexStream(Array.from(bytes, (_, i) => bytes.subarray(i, i + 1)));
    expect(single).toEqual(whole);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(), { maxLength: 8 }), async (cuts) => {
        expect(await parseIndexStream(pieces(bytes, cuts))).toEqual(whole);
      }),
      { numRuns: 200 },
    );
  });

  test('nor do they for a damaged text: the same error at the same byte', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(SAMPLE.length),
        fc.constantFrom('', '"', '}', ',', '\\', '\u0001', '1', 'x', 'é'),
        fc.nat(2),
        fc.array(fc.nat(), { maxLength: 4 }),
        async (at, insert, remove, cuts) => {
          const bytes = Buffer.from(SAMPLE.slice(0, at) + insert + SAMPLE.slice(at + remove));
          const outcome = async (chunks: Buffer[]): Promise<unknown> => {
            try {
              return await parseIndexStream(chunks);
            } catch (error) {
              if (error instanceof SafetensorsError) return [error.code, error.byte, error.message];
              throw error;
            }
          };
          expect(await outcome(pieces(bytes, cuts))).toEqual(await outcome([bytes]));
        },
      ),
      { numRuns: 500 },
    );
  });

  test('agrees with JSON.parse on any weight map', async () => {
    const names = fc.dictionary(anyText(12), fc.constantFrom('a.safetensors', 'b'), {
      maxKeys: 20,
      noNullPrototype: true,
    });
    await fc.assert(
      fc.asyncProperty(names, fc.nat(3), async (map, indent) => {
        const text = JSON.stringify({ weight_map: map }, null, indent);
        const index = await parse(text);
        const parsed = JSON.parse(text) as { weight_map: Record<string, string> };
        expect([...index.weightMap]).toEqual(Object.entries(parsed.weight_map));
      }),
      { numRuns: 200 },
    );
  });

  test('duplicates are reported; the last entry holds, as in Python', async () => {
    const index = await parse('{"weight_map":{"a":"x","a":"y","b":"x"}}');
    expect(index.duplicates).toEqual([{ name: 'a', first: 'x', second: 'y' }]);
    expect(index.duplicateCount).toBe(1);
    expect(index.weightMap.get('a')).toBe('y');
  });

  test('an index without metadata, and one with null for it', async () => {
    expect((await parse('{"weight_map":{}}')).totalSize).toBeUndefined();
    expect((await parse('{"metadata":null,"weight_map":{}}')).metadata.size).toBe(0);
    expect((await parse('{"metadata":{"total_size":1.5},"weight_map":{}}')).totalSize).toBeUndefined();
    // Some tools wrote a float.
    expect((await parse('{"metadata":{"total_size":72.0},"weight_map":{}}')).totalSize).toBe(72);
  });

  test.each([
    ['../up.safetensors'],
    ['sub/x.safetensors'],
    ['/etc/passwd'],
    ['..\\up.safetensors'],
    ['C:x.safetensors'],
    ['..'],
    ['.'],
    [''],
    ['a\u0000b'],
  ])('refuses the file name %j', async (name) => {
    const text = `{"weight_map":{"t":${JSON.stringify(name)}}}`;
    const error = await rejectionOf(parse(text, { file: 'dir/model.safetensors.index.json' }));
    expect([error.code, error.tensor, error.file]).toEqual([
      'invalid-index-file-name',
      't',
      'dir/model.safetensors.index.json',
    ]);
    expect(error.byte).toBe(text.indexOf(JSON.stringify(name)));
    expect(fileNameProblem(name)).toBeDefined();
  });

  test('ordinary names pass', () => {
    for (const name of ['model.safetensors', 'model-00001-of-00002.safetensors', '..a', 'é.safetensors']) {
      expect(fileNameProblem(name)).toBeUndefined();
    }
  });

  test.each([
    ['', 'invalid-index-json'],
    ['[]', 'invalid-index-json'],
    ['{}', 'invalid-index-json'],
    ['\ufeff{"weight_map":{}}', 'invalid-index-json'],
    ['{"weight_map":{}', 'invalid-index-json'],
    ['{"weight_map":{}}x', 'invalid-index-json'],
    ['{"weight_map":{"a":1}}', 'invalid-index-json'],
    ['{"weight_map":[]}', 'invalid-index-json'],
    ['{"weight_map":{"a":"x",}}', 'invalid-index-json'],
    ['{"weight_map":{},"weight_map":{}}', 'invalid-index-json'],
    ['{"metadata":[],"weight_map":{}}', 'invalid-index-json'],
    ['{"metadata":{},"metadata":{},"weight_map":{}}', 'invalid-index-json'],
    [`{"x":${'['.repeat(200)}${']'.repeat(200)},"weight_map":{}}`, 'invalid-index-json'],
  ])('refuses %j', async (text, code) => {
    expect((await rejectionOf(parse(text))).code).toBe(code);
  });

  test('bytes that are not UTF-8', async () => {
    const text = Buffer.from('{"weight_map":{"a_":"x"}}');
    text[text.indexOf('_')] = 0xff;
    const error = await rejectionOf(parseIndexStream([text]));
    expect([error.code, error.byte]).toEqual(['invalid-index-utf8', text.indexOf(0xff)]);
  });

  test('limits: the whole, and one entry', async () => {
    expect((await rejectionOf(parse(SAMPLE, { maxBytes: 100 }))).code).toBe('index-too-large');
    function* endless(): Generator<Buffer> {
      yield Buffer.from('{"weight_map":{"');
      for (;;) yield Buffer.alloc(1 << 14, 'a');
    }
    expect((await rejectionOf(parseIndexStream(endless()))).code).toBe('invalid-index-json');
  });
});

describe('readIndex', () => {
  test('reads a file', async () => {
    const path = join(folder.path, 'model.safetensors.index.json');
    writeFileSync(path, SAMPLE);
    expect(await readIndex(path)).toEqual(await parse(SAMPLE));
    expect((await rejectionOf(readIndex(join(folder.path, 'none.json')))).code).toBe('file-not-found');
    expect((await rejectionOf(readIndex(folder.path))).code).toBe('not-a-file');
  });
});

describe('buildIndex', () => {
  const entries = [
    { name: 'b', file: 'model-00002-of-00002.safetensors', bytes: 8 },
    { name: 'a.10', file: 'model-00001-of-00002.safetensors', bytes: 4 },
    { name: 'a.9', file: 'model-00001-of-00002.safetensors', bytes: 60 },
  ];

  test('as transformers writes it', () => {
    // json.dumps({"metadata": …, "weight_map": …}, indent=2, sort_keys=True) + "\n"
    expect(buildIndex(entries, { total_parameters: 3 })).toBe(`{
  "metadata": {
    "total_parameters": 3,
    "total_size": 72
  },
  "weight_map": {
    "a.10": "model-00001-of-00002.safetensors",
    "a.9": "model-00001-of-00002.safetensors",
    "b": "model-00002-of-00002.safetensors"
  }
}
`);
  });

  test('the order of the entries makes no difference', () => {
    expect(buildIndex([...entries].reverse())).toBe(buildIndex(entries));
  });

  test('reads back', async () => {
    const index = await parse(buildIndex(entries));
    expect(index.totalSize).toBe(72);
    expect(Object.fromEntries(index.weightMap)).toEqual(Object.fromEntries(entries.map((e) => [e.name, e.file])));
  });

  test('refusals', () => {
    expect(errorOf(() => buildIndex([...entries, ...entries])).code).toBe('duplicate-key');
    expect(errorOf(() => buildIndex([{ name: 'a', file: 'x', bytes: -1 }])).code).toBe('invalid-argument');
    expect(errorOf(() => buildIndex([{ name: 'a', file: '../x', bytes: 1 }])).code).toBe('invalid-index-file-name');
  });

  test('byte for byte what Python’s json writes', (context) => {
    const python = pythonWith(['json']);
    if (python === undefined) return context.skip();
    const cases = [
      entries,
      [],
      ['é', '𝄞', '\uffff', 'a"b\\c', '\u007f', '\u2028', '\n\t\b\f\r\u0001', 'Z', 'a'].map((name, i) => ({
        name,
        file: 'x',
        bytes: i,
      })),
    ];
    const script = `
import sys, json
for entries in json.load(sys.stdin):
    index = {"metadata": {"total_size": sum(e["bytes"] for e in entries)}, "weight_map": {e["name"]: e["file"] for e in entries}}
    sys.stdout.write(json.dumps(json.dumps(index, indent=2, sort_keys=True) + "\\n") + "\\n")
`;
    const lines = runPython(python, script, JSON.stringify(cases)).trimEnd().split('\n');
    expect(cases.map((list) => buildIndex(list))).toEqual(lines.map((line): unknown => JSON.parse(line)));
  });
});
