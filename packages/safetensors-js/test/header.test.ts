/** The reference's judgements, one by one: each was asked of safetensors 0.8 (Rust, through Python). */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DTYPE_BITS, DTYPES, SafetensorsError, headerOfBytes, parseHeader, tensorBytes } from '../src/index.ts';
import type { SafetensorsErrorCode } from '../src/index.ts';
import { anyText, errorOf, fileOf } from './helpers.ts';
import { damagedFile, random } from './mutate.ts';

const T = '"dtype":"F32","shape":[1],"data_offsets":[0,4]';
const one = (members: string): string => `{"a":{${members}}}`;
const withValue = (value: string): string => one(`${T},"x":${value}`);

const VALID: readonly (readonly [string, string])[] = [
  ['no tensors', '{}'],
  ['blanks before and after', ' \t\r\n{} \n'],
  ['null metadata', `{"__metadata__":null,"a":{${T}}}`],
  ['metadata after a tensor', `{"a":{${T}},"__metadata__":{"k":"v"}}`],
  ['an escaped metadata key', `{"__meta\\u0064ata__":{"k":"v"}}`],
  ['unknown keys, even twice', one(`${T},"x":1,"x":[{}]`)],
  ['the list form of a tensor', '{"a":["F32",[1],[0,4]]}'],
  ['the wrapped form of a dtype', one('"dtype":{"F32":null},"shape":[1],"data_offsets":[0,4]')],
  ['an escaped key', one('"\\u0064type":"F32","shape":[1],"data_offsets":[0,4]')],
  ['keys in another order', one('"data_offsets":[0,4],"shape":[1],"dtype":"F32"')],
  ['a NUL in a name', `{"a\\u0000":{${T}}}`],
  ['the empty name', `{"":{${T}}}`],
  ['-0 where it is ignored', withValue('-0')],
  ['an integer of 300 digits where it is ignored', withValue('1'.repeat(300))],
  ['0e400 where it is ignored', withValue('0e400')],
  ['1e-400 where it is ignored', withValue('1e-400')],
  ['127 levels', withValue('['.repeat(125) + ']'.repeat(125))],
  ['a dimension of 2^64-1 beside a zero', one('"dtype":"F32","shape":[0,18446744073709551615],"data_offsets":[0,0]')],
  ['six-bit elements in whole bytes', one('"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3]')],
  [
    'an empty tensor that the header names after the one it precedes',
    `{"a":{${T}},"b":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`,
  ],
  ['an empty tensor between others', `{"b":{"dtype":"U8","shape":[0],"data_offsets":[4,4]},"a":{${T}}}`],
];

const REFUSED: readonly (readonly [string, SafetensorsErrorCode, string])[] = [
  ['nothing', 'invalid-header-json', ''],
  ['a list', 'invalid-header-json', '[]'],
  ['null', 'invalid-header-json', 'null'],
  ['a byte order mark', 'invalid-header-json', '\ufeff{}'],
  ['a trailing comma', 'invalid-header-json', `{"a":{${T}},}`],
  ['something after the end', 'invalid-header-json', '{}{}'],
  ['metadata twice', 'duplicate-key', '{"__metadata__":{},"__metadata__":{}}'],
  ['metadata key twice', 'duplicate-key', '{"__metadata__":{"k":"1","k":"2"}}'],
  ['a metadata value that is no string', 'invalid-header-json', '{"__metadata__":{"k":1}}'],
  ['metadata as a list', 'invalid-header-json', '{"__metadata__":[]}'],
  ['a name twice', 'duplicate-key', `{"a":{${T}},"a":{${T}}}`],
  ['a name twice, once escaped', 'duplicate-key', `{"a":{${T}},"\\u0061":{${T}}}`],
  ['dtype twice', 'duplicate-key', one(`${T},"dtype":"F32"`)],
  ['shape twice', 'duplicate-key', one(`${T},"shape":[1]`)],
  ['offsets twice', 'duplicate-key', one(`${T},"data_offsets":[0,4]`)],
  ['a tensor of four list elements', 'invalid-header-json', '{"a":["F32",[1],[0,4],1]}'],
  ['null for a tensor', 'invalid-header-json', '{"a":null}'],
  [
    'a wrapped dtype that is not null',
    'invalid-header-json',
    one('"dtype":{"F32":{}},"shape":[1],"data_offsets":[0,4]'),
  ],
  ['a number for a dtype', 'invalid-header-json', one('"dtype":17,"shape":[1],"data_offsets":[0,4]')],
  ['1e0 as a dimension', 'invalid-header-json', one('"dtype":"F32","shape":[1e0],"data_offsets":[0,4]')],
  ['1.0 as a dimension', 'invalid-header-json', one('"dtype":"F32","shape":[1.0],"data_offsets":[0,4]')],
  ['-0 as an offset', 'invalid-header-json', one('"dtype":"F32","shape":[1],"data_offsets":[-0,4]')],
  [
    '2^64 as a dimension',
    'invalid-header-json',
    one('"dtype":"F32","shape":[0,18446744073709551616],"data_offsets":[0,0]'),
  ],
  ['three offsets', 'invalid-header-json', one('"dtype":"F32","shape":[1],"data_offsets":[0,4,4]')],
  ['one offset', 'invalid-header-json', one('"dtype":"F32","shape":[1],"data_offsets":[0]')],
  ['no offsets', 'invalid-header-json', one('"dtype":"F32","shape":[1]')],
  ['1e400, though ignored', 'invalid-header-json', withValue('1e400')],
  ['an integer of 400 digits, though ignored', 'invalid-header-json', withValue('1'.repeat(400))],
  ['a leading zero, though ignored', 'invalid-header-json', withValue('01')],
  ['NaN', 'invalid-header-json', withValue('NaN')],
  ['a lone surrogate', 'invalid-header-json', `{"a\\ud800":{${T}}}`],
  ['a lone low surrogate', 'invalid-header-json', withValue('"\\udc00"')],
  ['a high surrogate before a letter', 'invalid-header-json', withValue('"\\ud83d\\u0041"')],
  ['a high surrogate before another escape', 'invalid-header-json', withValue('"\\ud83d\\n00000"')],
  ['a control character', 'invalid-header-json', `{"a\u0001":{${T}}}`],
  ['128 levels', 'invalid-header-json', withValue('['.repeat(126) + ']'.repeat(126))],
  ['an unknown dtype', 'unknown-dtype', one('"dtype":"F128","shape":[1],"data_offsets":[0,16]')],
  ['a dtype in lower case', 'unknown-dtype', one('"dtype":"f32","shape":[1],"data_offsets":[0,4]')],
  [
    '[2^63, 2, 0], which overflows before the zero',
    'validation-overflow',
    one('"dtype":"F32","shape":[9223372036854775808,2,0],"data_offsets":[0,0]'),
  ],
  ['2^61 + 1 doubles', 'validation-overflow', one('"dtype":"F64","shape":[2305843009213693953],"data_offsets":[0,8]')],
  [
    'offsets beyond 2^53',
    'offset-too-large',
    one('"dtype":"U8","shape":[9007199254740993],"data_offsets":[0,9007199254740993]'),
  ],
  ['a hole at the start', 'invalid-offset', one('"dtype":"U8","shape":[1],"data_offsets":[1,2]')],
  [
    'a hole',
    'invalid-offset',
    '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}',
  ],
  [
    'an overlap',
    'invalid-offset',
    '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}',
  ],
  [
    'an end before the beginning',
    'invalid-offset',
    '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,1]}}',
  ],
  ['a size other than the shape’s', 'tensor-invalid-info', one('"dtype":"F32","shape":[2],"data_offsets":[0,4]')],
  ['half a byte', 'misaligned-slice', one('"dtype":"F4","shape":[3],"data_offsets":[0,1]')],
];

describe('parseHeader', () => {
  test.each(VALID)('accepts %s', (_what, json) => {
    expect(parseHeader(Buffer.from(json)).headerBytes).toBe(Buffer.byteLength(json));
  });

  test.each(REFUSED)('refuses %s: %s', (_what, code, json) => {
    const error = errorOf(() => parseHeader(Buffer.from(json), { file: 'm.safetensors' }));
    expect(error.code).toBe(code);
    expect(error.file).toBe('m.safetensors');
    expect(error.byte).toBeGreaterThanOrEqual(8);
    expect(error.byte).toBeLessThanOrEqual(8 + Buffer.byteLength(json));
  });

  test('reads what stands there', () => {
    const json =
      '{"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},"__metadata__":{"format":"pt","__proto__":"x"},' +
      '"é𝄞":{"shape":[],"dtype":"F32","data_offsets":[0,4]}}  ';
    const header = parseHeader(Buffer.from(json));
    expect([...header.tensors.values()]).toEqual([
      { name: 'é𝄞', dtype: 'F32', shape: [], begin: 0, end: 4 },
      { name: 'b', dtype: 'BF16', shape: [2, 3], begin: 4, end: 16 },
    ]);
    expect([...header.metadata]).toEqual([
      ['format', 'pt'],
      ['__proto__', 'x'],
    ]);
    expect([header.dataStart, header.dataBytes]).toEqual([Buffer.byteLength(json) + 8, 16]);
  });

  test('a header inside a larger buffer is read from its own bytes', () => {
    const text = Buffer.from(`xx{"a":{${T}}}yy`);
    expect([...parseHeader(text.subarray(2, -2)).tensors.keys()]).toEqual(['a']);
  });

  test('__proto__ and its like are names like any other', () => {
    const u8 = (begin: number): string =>
      `{"dtype":"U8","shape":[1],"data_offsets":[${String(begin)},${String(begin + 1)}]}`;
    const header = parseHeader(Buffer.from(`{"__proto__":${u8(0)},"constructor":${u8(1)},"toString":${u8(2)}}`));
    expect([...header.tensors.keys()]).toEqual(['__proto__', 'constructor', 'toString']);
    expect(({} as Record<string, unknown>)['dtype']).toBeUndefined();
  });

  test('dimensions beyond 2^53 keep their exact value', () => {
    const info = parseHeader(
      Buffer.from(one('"dtype":"F32","shape":[0,9007199254740993],"data_offsets":[0,0]')),
    ).tensors.get('a');
    expect(info?.exactShape).toEqual([0n, 9007199254740993n]);
  });

  test('equal shapes share one frozen array', () => {
    const json =
      '{"a":{"dtype":"U8","shape":[1,2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[1,2],"data_offsets":[2,4]}}';
    const { tensors } = parseHeader(Buffer.from(json));
    expect(tensors.get('a')?.shape).toBe(tensors.get('b')?.shape);
    expect(Object.isFrozen(tensors.get('a')?.shape)).toBe(true);
  });

  test('errors name the tensor, the numbers and the byte of its entry', () => {
    const json =
      '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}';
    const error = errorOf(() => parseHeader(Buffer.from(json)));
    expect(error.tensor).toBe('b');
    expect(error.byte).toBe(8 + json.indexOf('"b"'));
    expect(error.message).toContain('[1, 3] overlap tensor "a", which ends at 2');
  });

  test('bytes that are not UTF-8 are found', () => {
    const damage: readonly (readonly number[])[] = [
      [0xff],
      [0xc0, 0x80],
      [0xed, 0xa0, 0x80],
      [0xf4, 0x90, 0x80, 0x80],
      [0xe2, 0x82],
    ];
    for (const bytes of damage) {
      const text = Buffer.concat([Buffer.from('{"é'), Buffer.from(bytes), Buffer.from('":1}')]);
      const error = errorOf(() => parseHeader(text));
      expect([error.code, error.byte]).toEqual(['invalid-header-utf8', 8 + 4]);
    }
    const cut = errorOf(() => parseHeader(Buffer.from([0x7b, 0x22, 0xe2, 0x82])));
    expect([cut.code, cut.byte]).toEqual(['invalid-header-utf8', 10]);
  });

  test('a hostile name is shortened in the message', () => {
    const error = errorOf(() => parseHeader(Buffer.from(`{"${'n'.repeat(1_000_000)}":1}`)));
    expect(error.message.length).toBeLessThan(1000);
  });

  test('any damage gives a sound header or a SafetensorsError', () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const file = damagedFile(random(seed));
        try {
          const header = headerOfBytes(file);
          let end = 0;
          for (const info of header.tensors.values()) {
            expect(info.begin).toBe(end);
            if (info.exactShape === undefined) {
              expect(info.end - info.begin).toBe(tensorBytes(info.dtype, info.shape));
            }
            end = info.end;
          }
          expect(header.dataStart + end).toBe(file.length);
        } catch (error) {
          if (!(error instanceof SafetensorsError)) throw error;
        }
      }),
      { numRuns: 1500 },
    );
  });

  test('any bytes at all give a SafetensorsError', () => {
    const soup = fc.string({ unit: fc.constantFrom(...'{}[]",:\\0123456789.eE+-truefalsn \n\té'), maxLength: 60 });
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 60 }).map((b) => Buffer.from(b)),
          soup.map((s) => Buffer.from(s)),
        ),
        (json) => {
          try {
            parseHeader(json);
          } catch (error) {
            if (!(error instanceof SafetensorsError)) throw error;
          }
        },
      ),
      { numRuns: 1500 },
    );
  });
});

describe('strings and numbers, compared with JSON.parse', () => {
  test('any string reads as JSON.parse reads it', () => {
    const wellFormed = anyText(30);
    const escaped = (text: string): string =>
      [...Array(text.length).keys()].map((i) => `\\u${text.charCodeAt(i).toString(16).padStart(4, '0')}`).join('');
    fc.assert(
      fc.property(wellFormed, fc.boolean(), (text, escape) => {
        const literal = escape ? `"${escaped(text)}"` : JSON.stringify(text);
        const header = parseHeader(Buffer.from(`{"__metadata__":{"k":${literal}}}`));
        expect(header.metadata.get('k')).toBe(JSON.parse(literal));
        expect(header.metadata.get('k')).toBe(text);
      }),
      { numRuns: 500 },
    );
  });
});

describe('tensorBytes', () => {
  test('every dtype', () => {
    // Widths as the reference's `Dtype::bitsize`, restated by name.
    for (const dtype of DTYPES) {
      const named = dtype === 'BOOL' ? 8 : Number(/^[A-Z]+(\d+)/.exec(dtype)?.[1]);
      expect(DTYPE_BITS[dtype]).toBe(named);
      expect(tensorBytes(dtype, [4, 2])).toBe(named);
      expect(tensorBytes(dtype, [0])).toBe(0);
    }
    expect(DTYPES).toHaveLength(22);
  });

  test('refusals', () => {
    expect(errorOf(() => tensorBytes('F4', [3])).code).toBe('misaligned-slice');
    expect(errorOf(() => tensorBytes('F6_E3M2', [2])).code).toBe('misaligned-slice');
    expect(errorOf(() => tensorBytes('F32', [2 ** 40, 2 ** 40])).code).toBe('validation-overflow');
    expect(errorOf(() => tensorBytes('F32', [2 ** 52])).code).toBe('offset-too-large');
    expect(errorOf(() => tensorBytes('F32', [-1])).code).toBe('invalid-shape');
    expect(errorOf(() => tensorBytes('F32', [1.5], 't')).tensor).toBe('t');
    expect(tensorBytes('U8', [2 ** 53 - 1])).toBe(2 ** 53 - 1);
    // 2^53 bits and more, still exact.
    expect(tensorBytes('F32', [2 ** 50, 1])).toBe(2 ** 52);
  });
});

describe('headerOfBytes', () => {
  test('a sound file', () => {
    const header = headerOfBytes(fileOf(`{"a":{${T}}}`, 4));
    expect(header.tensors.get('a')?.end).toBe(4);
  });

  test('sizes that do not fit', () => {
    expect(errorOf(() => headerOfBytes(fileOf(`{"a":{${T}}}`, 3))).code).toBe('file-truncated');
    const second = '"b":{"dtype":"U8","shape":[2],"data_offsets":[4,6]}';
    // Cut exactly behind the first tensor: that one is whole.
    expect(errorOf(() => headerOfBytes(fileOf(`{"a":{${T}},${second}}`, 4))).tensor).toBe('b');
    expect(errorOf(() => headerOfBytes(fileOf(`{"a":{${T}}}`, 5))).code).toBe('trailing-bytes');
    expect(errorOf(() => headerOfBytes(Buffer.alloc(3))).code).toBe('header-too-small');
    expect(errorOf(() => headerOfBytes(fileOf('{}').subarray(0, 9))).code).toBe('invalid-header-length');
  });
});
