import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { filterTensors, hitsIn, parseFilter } from '../../src/view/filter.ts';
import { globMatches } from '../../src/view/glob.ts';
import { compileSafeRegExp } from '../../src/view/safe-regexp.ts';
import { TensorTable } from '../../src/view/tensor-table.ts';
import { checkpointOf, smallMoe } from './make.ts';

const cp = checkpointOf([...smallMoe(), ['blk.0.ffn_up_exps.weight', [2, 16, 8], 'Q4_K', 'c.gguf']]);
const table = new TensorTable(cp, [{ severity: 'error', code: 'x', message: 'x', tensor: 'lm_head.weight' }]);
const names = (text: string): string[] => {
  const { ids, problem } = filterTensors(table, text);
  expect(problem).toBeNull();
  return [...(ids ?? table.tensors.keys())].map((i) => table.tensor(i).name);
};
const fault = (text: string): [string, string] => {
  const { problem, ids } = filterTensors(table, text);
  expect(ids).toBeNull();
  return [text.slice(problem?.from, problem?.to), problem?.message ?? ''];
};

describe('filter', () => {
  it('finds text in any case, all terms at once, negated and quoted', () => {
    expect(names('LM_head')).toEqual(['lm_head.weight']);
    expect(names('experts up layers.2')).toHaveLength(2);
    expect(names('experts -up !layers.2')).toHaveLength(4);
    expect(names('"s.2.mlp" expert:1')).toHaveLength(2);
    expect(names('  ')).toHaveLength(table.count);
  });

  it('asks for properties', () => {
    expect(names('dtype:f32')).toHaveLength(4);
    expect(names('dtype:float32,q4_k')).toHaveLength(5);
    expect(names('dtype:q4')).toEqual(['blk.0.ffn_up_exps.weight']);
    expect(names('layer:3 expert:0')).toHaveLength(2);
    expect(names('layer:1-2 expert:0')).toHaveLength(4);
    expect(names('layer:none')).toEqual(['model.embed_tokens.weight', 'lm_head.weight']);
    expect(names('layer:>=2 role:router')).toHaveLength(2);
    expect(names('role:expert expert:packed')).toEqual(['blk.0.ffn_up_exps.weight']);
    expect(names('expert:any -layer:0')).toHaveLength(12);
    expect(names('file:b.saf')).toHaveLength(12);
    expect(names('file:*.gguf')).toHaveLength(1);
    expect(names('rank:3')).toHaveLength(1);
    expect(names('problem:error')).toEqual(['lm_head.weight']);
    expect(names('name:head')).toEqual(['lm_head.weight']);
  });

  it('compares sizes with units and shapes with gaps', () => {
    // Embedding and head have 1600 bytes, experts 256, the packed one 512.
    expect(names('size:>1.5kB')).toHaveLength(2);
    expect(names('size:1600')).toHaveLength(2);
    expect(names('size:>1600')).toHaveLength(0);
    expect(names('size:256-512')).toHaveLength(14);
    expect(names('size:>=1.5625KiB')).toHaveLength(2);
    expect(names('elements:<=8')).toHaveLength(4);
    expect(names('shape:100x*')).toHaveLength(2);
    expect(names('shape:[16, 8]')).toHaveLength(13);
    expect(names('shape:[*,*,8]')).toHaveLength(1);
  });

  it('takes globs and regular expressions', () => {
    expect(names('*.experts.*.up_proj.weight')).toHaveLength(6);
    expect(names('q_proj.*')).toHaveLength(4);
    expect(names('layers.?.mlp.gate.weight')).toHaveLength(3);
    expect(names('/layers\\.[12]\\..*up/')).toHaveLength(4);
    expect(names('-/weight$/')).toHaveLength(0);
  });

  it('says what is wrong and where, and lets all through', () => {
    expect(fault('up colour:red')[0]).toBe('colour:');
    expect(fault('up layer:')[0]).toBe('layer:');
    expect(fault('layer:x')[0]).toBe('layer:x'.slice(6));
    expect(fault('layer:5-2')[1]).toContain('layer:0-5');
    expect(fault('role:boss')[1]).toContain('router');
    expect(fault('a "b c')[0]).toBe('"b c');
    expect(fault('/a(/')[1]).toContain('not a regular expression');
    expect(fault('/(a+)+$/')[1]).toContain('repeat');
    expect(fault('/a')[1]).toContain('not closed');
    expect(fault('a - b')[0]).toBe('-');
    expect(fault('shape:4x')[1]).toContain('shape:4096x*');
    expect(fault('size:1QB')[0]).toBe('1QB');
    expect(fault('a'.repeat(5000))[1]).toContain('4096');
  });

  it('never throws, and problems lie in the text', () => {
    const piece = fc.constantFrom(
      'layer:',
      'a',
      '-',
      '"',
      '/',
      '(',
      '*',
      ' ',
      '3',
      ',',
      '[',
      ']',
      '\\',
      'size:>',
      'MB',
      '!',
    );
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 12 }).map((parts) => parts.join('')),
        (text) => {
          const parsed = parseFilter(text);
          if (parsed.ok) return;
          expect(parsed.problem.from).toBeGreaterThanOrEqual(0);
          expect(parsed.problem.to).toBeLessThanOrEqual(text.length);
          expect(parsed.problem.from).toBeLessThanOrEqual(parsed.problem.to);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('stops a filter that takes too long', () => {
    let time = 0;
    const { problem } = filterTensors(table, 'a', () => (time += 10_000));
    expect(problem?.message).toContain('longer than');
  });

  it('globs as the equivalent regular expression does', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '.'), maxLength: 8 });
    const glob = fc.string({ unit: fc.constantFrom('a', 'b', '.', '*', '?'), minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(glob, text, (pattern, name) => {
        const escaped = pattern.replace(/\./g, '\\.').replace(/\*/g, '.*').replace(/\?/g, '.');
        expect(globMatches(pattern, name)).toBe(new RegExp(`(?:^|\\.)${escaped}$`).test(name));
      }),
      { numRuns: 1000 },
    );
    const start = Date.now();
    globMatches(`${'*a'.repeat(50)}b`, 'a'.repeat(1000));
    expect(Date.now() - start).toBeLessThan(4000);
  });

  it('refuses what can run for ages and takes the rest', () => {
    for (const bad of ['(a+)+', '(a|aa)*', '((a*)b)*', '(a)\\1', '(?:a{1,9}){2,}', 'x'.repeat(600)]) {
      expect(typeof compileSafeRegExp(bad, '')).toBe('string');
    }
    for (const good of ['a+b*', '(?:ab)+', '[(+]*x', 'layers\\.(1|2)\\.', '(?<n>a+)', 'a{2}']) {
      expect(compileSafeRegExp(good, '')).toBeInstanceOf(RegExp);
    }
    expect(compileSafeRegExp('a', 'g')).toContain('flags');
  });

  it('marks hits in labels', () => {
    const terms = (text: string): Parameters<typeof hitsIn>[1] => {
      const parsed = parseFilter(text);
      return parsed.ok ? parsed.terms : [];
    };
    expect(hitsIn('up_proj.UP', terms('up'))).toEqual([
      [0, 2],
      [8, 10],
    ]);
    expect(hitsIn('abcd', terms('abc bcd -d'))).toEqual([[0, 4]]);
    expect(hitsIn('layers.12', terms('/\\d+/'))).toEqual([[7, 9]]);
    expect(hitsIn('x', terms('dtype:bf16 *x*'))).toEqual([]);
  });
});
