import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { progressText, ProgressLine } from '../../src/cli/progress.ts';
import { asMoeError, errorJson, errorText, exitCodeOf } from '../../src/cli/errors.ts';
import { MoeError } from '../../src/common/errors.ts';
import type { Expr } from '../../src/plan/expr.ts';
import { collapseNames } from '../../src/report/diff.ts';
import { howText, nameParts } from '../../src/report/patterns.ts';
import { problemsText } from '../../src/report/problems.ts';
import {
  bytesText,
  COLOURED,
  countText,
  durationText,
  fields,
  PLAIN,
  rangesText,
  shortBytes,
  table,
  visible,
  wrap,
} from '../../src/report/text.ts';

describe('numbers', () => {
  it.each([
    [0, '0 bytes'],
    [999, '999 bytes'],
    [1000, '1.0 kB (1,000 bytes)'],
    [999_960, '1.0 MB (999,960 bytes)'],
    [94_982_643_712, '95.0 GB (94,982,643,712 bytes)'],
  ])('%d bytes', (bytes, text) => {
    expect(bytesText(bytes)).toBe(text);
  });

  it('parameters are exact beside the short form', () => {
    expect(countText(47_491_321_856)).toBe('47.49B (47,491,321,856)');
    expect(countText(512)).toBe('512');
    expect(countText(null)).toBe('unknown');
  });

  it.each([
    [0.04, '40 ms'],
    [59.4, '59 s'],
    [200, '3 min 20 s'],
    [3725, '1 h 02 min'],
  ])('%d seconds', (seconds, text) => {
    expect(durationText(seconds)).toBe(text);
  });

  it('a short size never shows 1000 of a unit', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (bytes) => {
        expect(shortBytes(bytes)).toMatch(/^(\d{1,3}(\.\d)? (B|kB|MB|GB|TB)|\d+\.\d PB)$/);
      }),
    );
  });

  it('ranges', () => {
    expect(rangesText([0, 1, 2, 3, 5, 8, 9])).toBe('0–3, 5, 8, 9');
    expect(rangesText([])).toBe('');
  });
});

describe('text', () => {
  it('control and direction characters of names from files are shown, never sent to the terminal', () => {
    expect(visible('a\u001b[31mb\u202ec\n')).toBe('a\\u001b[31mb\\u202ec\\u000a');
    expect(table([{ title: 'x' }], [['\u0007']], PLAIN)).not.toContain('\u0007');
  });

  it('tables align, wide characters included', () => {
    const lines = table(
      [{ title: 'name' }, { title: 'n', right: true }],
      [
        ['a', '1'],
        ['你好', '22'],
      ],
      PLAIN,
    ).split('\n');
    expect(lines).toEqual(['name   n', 'a      1', '你好  22']);
  });

  it('long cells are cut in the middle', () => {
    expect(table([{ title: '', max: 7 }], [['abcdefghijk']], PLAIN)).toBe('abc…ijk');
  });

  it('wrapping loses no word and keeps the width', () => {
    fc.assert(
      fc.property(fc.array(fc.stringMatching(/^[a-z]{1,12}$/), { minLength: 1, maxLength: 40 }), (words) => {
        const lines = wrap(words.join(' '), 30, '- ').split('\n');
        expect(lines.every((line) => line.length <= 30)).toBe(true);
        expect(lines.map((line) => line.slice(2)).join(' ')).toBe(words.join(' '));
      }),
    );
  });

  it('fields leave out what is null', () => {
    expect(
      fields([
        ['a', '1'],
        ['long', null],
        ['bb', '2'],
      ]),
    ).toBe('a   1\nbb  2');
  });
});

describe('problems', () => {
  it('worst first, many of a kind cut, places and hints kept', () => {
    const missing = Array.from({ length: 7 }, (_, i) => ({
      severity: 'error' as const,
      code: 'missing',
      message: `tensor ${i} is missing`,
    }));
    const text = problemsText(
      [
        { severity: 'info', code: 'note', message: 'fyi' },
        { severity: 'warning', code: 'w', message: 'odd', file: 'f.bin', byte: 1234, hint: 'mend it' },
        ...missing,
      ],
      PLAIN,
    );
    expect(text.split('\n')).toEqual([
      '7 errors, 1 warning, 1 note:',
      ...[0, 1, 2, 3, 4].map((i) => `  error    tensor ${i} is missing [missing]`),
      '  warning  odd (f.bin, byte 1,234) [w]',
      '           → mend it',
      '  note     fyi [note]',
      '… and 2 more of missing (all with --json)',
    ]);
    expect(problemsText([], COLOURED)).toBe('\u001b[32mNo problems found.\u001b[39m');
  });
});

describe('patterns', () => {
  it.each([
    ['model.layers.3.block_sparse_moe.experts.5.w1.weight', 3, 5, 'w1'],
    ['model.layers.31.self_attn.q_proj.bias', 31, null, 'self_attn.q_proj.bias'],
    ['model.embed_tokens.weight', null, null, 'model.embed_tokens'],
    ['blk.2.ffn_up.weight', 2, null, 'ffn_up'],
  ])('%s', (name, layer, expert, rest) => {
    expect(nameParts(name)).toEqual({ layer, expert, name: rest });
  });

  const source: Expr = { op: 'source', from: 0, tensor: 't' };
  it.each<[Expr, string]>([
    [source, 'copy'],
    [{ op: 'scale', of: { op: 'slice', of: source, dim: 1, begin: 2, end: 4 }, by: 2 }, 'columns 2–3, × 2'],
    [{ op: 'cast', of: { op: 'dequantise', of: source }, dtype: 'BF16' }, 'dequantised, as BF16'],
    [
      { op: 'random', shape: [2, 2], dtype: 'F32', dist: { kind: 'normal', mean: 0, std: 0.02 }, key: 'k' },
      'random N(0, 0.02²)',
    ],
    [{ op: 'fill', shape: [1], dtype: 'F32', value: 0 }, 'zeros'],
    [{ op: 'take', of: source, dim: 0, index: { kind: 'permutation', key: 'k', size: 4 } }, 'rows permuted'],
    [{ op: 'average', of: [source, source] }, 'average of 2'],
    [
      { op: 'redraw', of: source, dim: 0, index: { kind: 'random-subset', key: 'k', size: 4, ratio: 0.5 }, key: 'k' },
      '50 % of rows re-drawn',
    ],
  ])('how: %j', (expr, text) => {
    expect(howText(expr)).toBe(text);
  });

  it('names that differ in numbers alone are one', () => {
    expect(collapseNames(['a.0.e.1.w', 'a.1.e.1.w', 'a.2.e.1.w', 'b'])).toEqual([
      { name: 'a.{0–2}.e.1.w', count: 3 },
      { name: 'b', count: 1 },
    ]);
  });
});

describe('errors', () => {
  it('carry place and details to JSON, and never let details hide the code', () => {
    const error = new MoeError('input', 'c', 'm', {
      file: 'f',
      byte: 3,
      hint: 'h',
      details: { tensors: ['t'], code: 'other' },
    });
    expect(errorJson(error)).toEqual({
      error: { tensors: ['t'], code: 'c', message: 'm', file: 'f', byte: 3, hint: 'h' },
    });
    expect(errorText(error, PLAIN)).toBe('error: m\n  in f\n  → h\n');
  });

  it.each([
    ['ENOSPC', 4, 'disk-full'],
    ['EDQUOT', 4, 'disk-full'],
    ['ENOMEM', 4, 'out-of-memory'],
    ['EMFILE', 4, 'too-many-open-files'],
    ['EACCES', 3, 'file-unreadable'],
  ])('%s is exit %d', (code, exit, name) => {
    const error = asMoeError(Object.assign(new Error('x'), { code }), false);
    expect([exitCodeOf(error), error.code]).toEqual([exit, name]);
  });

  it('what nobody foresaw is exit 70, or 130 while cancelling', () => {
    expect(exitCodeOf(asMoeError(new Error('x'), false))).toBe(70);
    expect(exitCodeOf(asMoeError(new Error('x'), true))).toBe(130);
  });
});

describe('progress', () => {
  const step = { done: 4e9, total: 9.5e9, bytesPerSecond: 1.2e9, etaSeconds: 4.6, at: 'model-3.safetensors' };
  it('says share, amount, speed, time left and place', () => {
    expect(progressText('Writing', step, Infinity)).toBe(
      'Writing  42 %  4.0 GB of 9.5 GB  1.2 GB/s  4.6 s left  model-3.safetensors',
    );
    expect(progressText('Comparing', { done: 1, total: 4, unit: 'tensors' }, 80)).toBe(
      'Comparing  25 %  1 of 4 tensors',
    );
  });

  it('never exceeds the terminal and shows no control characters', () => {
    fc.assert(
      fc.property(fc.integer({ min: 20, max: 120 }), fc.string(), (columns, at) => {
        const text = progressText('Writing', { ...step, at }, columns);
        expect(text.length).toBeLessThanOrEqual(columns);
        expect(text).toBe(visible(text));
      }),
    );
  });

  it('redraws on a terminal and is taken away at the end; elsewhere it stays quiet for short jobs', () => {
    const drawn = (errIsTty: boolean, seconds: number): string[] => {
      const out: string[] = [];
      let now = 0;
      const io = {
        out: () => Promise.resolve(),
        err: (text: string) => void out.push(text),
        outIsTty: false,
        errIsTty,
      };
      const signal = new AbortController().signal;
      const rest = { input: () => Promise.resolve(new Uint8Array()), inferEntry: '' };
      const line = new ProgressLine({ ...io, columns: 80, env: {}, cwd: '/', signal, ...rest }, 'Writing', () => now);
      for (; now < 1000 * seconds; now += 20) line.update(step);
      line.end();
      return out;
    };
    const text = progressText('Writing', step, 79);
    expect(drawn(true, 0.25)).toEqual([`\r\u001b[2K${text}`, `\r\u001b[2K${text}`, '\r\u001b[2K']);
    expect(drawn(false, 4)).toEqual([]);
    expect(drawn(false, 11)).toEqual([
      `${progressText('Writing', step, Infinity)}\n`,
      `${progressText('Writing', step, Infinity)}\n`,
    ]);
  });
});
