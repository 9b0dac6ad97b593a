import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { pyFloatRepr, pyJsonDumps } from '../../src/eval/python/json.ts';
import { PythonRandom } from '../../src/eval/python/random.ts';
import {
  codePointLength,
  pyCapitalize,
  pyLstrip,
  pyRstrip,
  pyStrip,
  pyWordCount,
  utf8Length,
  wellFormed,
} from '../../src/eval/python/text.ts';

/** Any string of UTF-16 units, lone surrogates included. */
const anyText = fc
  .array(fc.oneof(fc.integer({ min: 0, max: 0xffff }), fc.constantFrom(0x20, 0x85, 0x0a, 0xd83d, 0xde00)), {
    maxLength: 24,
  })
  .map((units) => String.fromCharCode(...units));

describe('Python strings (values printed by CPython 3.11)', () => {
  it('strips what Python strips, and nothing else', () => {
    expect(pyStrip('\u0085 \u001c a\ufeff\u3000')).toBe('a\ufeff');
    expect(pyStrip('\u200ba\u200b')).toBe('\u200ba\u200b'); // zero-width space is no white space
    expect(pyLstrip('\t\n x ')).toBe('x ');
    expect(pyRstrip(' x\u2029\u205f')).toBe(' x');
    expect(pyStrip(' \u00a0\u1680')).toBe('');
  });

  it('differs from trim only where Python does', () => {
    const other = /[\u0085\u001c-\u001f\ufeff]/;
    fc.assert(fc.property(anyText, (s) => other.test(s) || pyStrip(s) === s.trim()));
  });

  it.each([
    ['hELLO World', 'Hello world'],
    ['\u00dfx', 'Ssx'],
    ['\u01c6abc', '\u01c5abc'],
    ['\u0391\u03a3 \u039f\u0394\u039f\u03a3', '\u0391\u03c2 \u03bf\u03b4\u03bf\u03c2'],
    ['\u0149A', '\u02bcNa'],
    ['\u0130I', '\u0130i'],
    ['\u1f80\u0391', '\u1f88\u03b1'],
    ['\u10d0', '\u10d0'],
    ['\u1fb4x', '\u0386\u0345x'],
    ['\u1fc3', '\u1fcc'],
    ['\u{1f600}AB', '\u{1f600}ab'],
    ['', ''],
    ['1Ab', '1ab'],
  ])('capitalize %j', (text, expected) => {
    expect(pyCapitalize(text)).toBe(expected);
  });

  it('counts code points, bytes and words', () => {
    const choices = ['no', 'a\u00f1\u00f6', 'ok \u{1f44d}\u{1f3fd}'];
    expect(choices.map(codePointLength)).toEqual([2, 3, 5]);
    expect(choices.map(utf8Length)).toEqual([2, 5, 11]);
    expect(pyWordCount(' a  b\n')).toBe(4); // ['', 'a', 'b', '']
    expect(pyWordCount('a\ufeffb')).toBe(1);
    expect(pyWordCount('a\u0085b')).toBe(2);
    expect(pyWordCount('')).toBe(1);
    fc.assert(fc.property(anyText, (s) => codePointLength(s) === [...s].length));
  });

  it('replaces lone surrogates only', () => {
    expect(wellFormed('a\ud83d b\udc00 \u{1f600}')).toBe('a\ufffd b\ufffd \u{1f600}');
  });
});

describe('Python numbers and JSON', () => {
  it.each([
    [5, '5.0'],
    [1e-5, '1e-05'],
    [0.0001, '0.0001'],
    [1e16, '1e+16'],
    [123456789012345680, '1.2345678901234568e+17'],
    [-32.72920608520508, '-32.72920608520508'],
    [1e15, '1000000000000000.0'],
    [-0, '-0.0'],
    [1.5e-7, '1.5e-07'],
    [1e22, '1e+22'],
    [-1.25e300, '-1.25e+300'],
    [NaN, 'nan'],
    [-Infinity, '-inf'],
  ])('repr(%d)', (x, text) => {
    expect(pyFloatRepr(x)).toBe(text);
  });

  it('reads its own repr back', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (x) => Object.is(Number(pyFloatRepr(x)), x)),
    );
  });

  it('dumps like json.dumps(indent=2, ensure_ascii=False)', () => {
    expect(pyJsonDumps({ a: [1, 2.5, []], b: {}, 'ü"': null, c: true })).toBe(
      '{\n  "a": [\n    1,\n    2.5,\n    []\n  ],\n  "b": {},\n  "ü\\"": null,\n  "c": true\n}',
    );
  });
});

describe('random.Random (values printed by CPython 3.11)', () => {
  it('random(), sample()', () => {
    const r = new PythonRandom(1234);
    expect([r.random(), r.random(), r.random()]).toEqual([
      0.9664535356921388, 0.4407325991753527, 0.007491470058587191,
    ]);
    expect(r.sampleIndices(1000, 5)).toEqual([932, 965, 961, 826, 596]);
    expect(r.sampleIndices(10, 4)).toEqual([0, 1, 8, 6]);
    expect(r.sampleIndices(30, 8)).toEqual([11, 7, 0, 27, 25, 26, 29, 20]);
  });

  it('getrandbits, choices and seeds above 32 bits', () => {
    const zero = new PythonRandom(0);
    expect([zero.random(), zero.random()]).toEqual([0.8444218515250481, 0.7579544029403025]);
    expect(Array.from({ length: 8 }, () => Math.floor(zero.random() * 7))).toEqual([2, 1, 3, 2, 5, 2, 3, 4]);
    const later = new PythonRandom(99);
    for (let i = 0; i < 700; i++) later.random();
    expect(later.uint32()).toBe(1991400393);
    expect(new PythonRandom(2 ** 40 + 5).random()).toBe(0.5043802970418443);
  });

  it('samples distinct indices and refuses more than there are', () => {
    fc.assert(
      fc.property(fc.nat(60), fc.nat(60), (n, k) => {
        const r = new PythonRandom(7);
        if (k > n) expect(() => r.sampleIndices(n, k)).toThrow(RangeError);
        else expect(new Set(r.sampleIndices(n, k)).size).toBe(k);
      }),
    );
  });
});
