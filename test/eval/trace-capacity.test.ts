import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { droppedSlots, expertCapacity } from '../../src/eval/trace-capacity.ts';
import { coactivationCsv, domainsCsv, expertsCsv, layersCsv } from '../../src/eval/trace-export.ts';
import { COUNTED, PAD } from '../../src/eval/trace.ts';
import { SHARED, haveShared, readJson } from './helpers/shared.ts';
import { TWO, only, report } from './helpers/trace.ts';

describe('capacity', () => {
  it('is clamped to the tokens and never 0 (field report G5-05)', () => {
    // tokens, experts, k, factor → by hand: ceil(T·k/N·c), clamped; ceil(T/N·c)
    const cases: [number, number, number, number, number, number, number][] = [
      [4, 4, 2, 4, 8, 4, 4],
      [10, 4, 1, 1.25, 4, 4, 4],
      [1, 8, 2, 1, 1, 1, 1],
      [64, 8, 2, 1, 16, 16, 8],
      [7, 3, 2, 1.1, 6, 6, 3],
      [0, 8, 2, 1, 0, 1, 1],
    ];
    for (const [t, n, k, c, unclamped, capacity, paper] of cases) {
      expect(expertCapacity(t, n, k, c, 'megatron')).toEqual({ unclamped, capacity });
      expect(expertCapacity(t, n, k, c, 'paper').capacity).toBe(paper);
    }
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 500 }),
        fc.integer({ min: 1, max: 64 }),
        fc.double({ min: 0.01, max: 100, noNaN: true }),
        (t, n, c) => {
          const { capacity } = expertCapacity(t, n, 1, c, 'megatron');
          return capacity >= 1 && capacity <= t;
        },
      ),
    );
    for (const [t, n, k, c] of [
      [1, 0, 1, 1],
      [1, 2, 3, 1],
      [1, 2, 1, 0],
      [NaN, 2, 1, 1],
    ] as const) {
      expect(() => expertCapacity(t, n, k, c, 'paper')).toThrow('is not defined');
    }
  });

  it('pads take no capacity, and the base is named (field report G5-07)', () => {
    const state = [PAD, PAD, PAD, PAD, COUNTED, COUNTED, COUNTED, COUNTED];
    const layer = only(
      report({ experts: 2, topK: 1, capacityFactors: [1] }, [{ logits: state.flatMap(() => [1, 0]), state }]),
    );
    const dropped = (base: string): number | undefined =>
      layer.drops.find((d) => d.base === base && d.convention === 'megatron')?.dropped;
    expect(layer.counts).toEqual([4, 0]);
    expect(dropped('all-positions')).toBe(0); // capacity 4
    expect(dropped('valid-tokens')).toBe(2); // capacity 2
    expect(droppedSlots([5, 1], 3)).toBe(2);
  });

  it.skipIf(!haveShared('field/inputs/G5-05', 'field case G5-05'))('field case G5-05', () => {
    const folder = join(SHARED, 'field/inputs/G5-05');
    const cases = readJson(join(folder, 'cases.json')) as {
      tokens: number;
      experts: number;
      top_k: number;
      cf: number;
    }[];
    const { right } = readJson(join(folder, 'expected.json')) as {
      right: { value: { unclamped: number; capacity: number; paper_convention: number }[] }[];
    };
    expect(
      cases.map((c) => ({
        ...expertCapacity(c.tokens, c.experts, c.top_k, c.cf, 'megatron'),
        paper_convention: expertCapacity(c.tokens, c.experts, c.top_k, c.cf, 'paper').capacity,
      })),
    ).toEqual(right[0]?.value);
  });

  it.skipIf(!haveShared('field/inputs/G5-07', 'field case G5-07'))('field case G5-07', () => {
    const given = readJson(join(SHARED, 'field/inputs/G5-07/case.json')) as {
      experts: number;
      top_k: number;
      capacity_factor: number;
      attention_mask: number[];
      chosen: number[];
    };
    const layer = only(
      report({ experts: given.experts, topK: given.top_k, capacityFactors: [given.capacity_factor] }, [
        {
          logits: given.chosen.flatMap((e) => [e === 0 ? 1 : 0, e === 1 ? 1 : 0]),
          selected: given.chosen,
          state: given.attention_mask,
        },
      ]),
    );
    expect(layer.counts).toEqual([4, 0]);
    expect(layer.drops.filter((d) => d.convention === 'megatron').map((d) => [d.base, d.dropped])).toEqual([
      ['all-positions', 0],
      ['valid-tokens', 2],
    ]);
  });
});

describe('export', () => {
  const r = report({ capacityFactors: [1] }, [{ logits: TWO, tokenIds: [1, 2], domain: ['a "b", c', 'd'] }]);

  it('CSV tables', () => {
    expect(expertsCsv(r).split('\n').slice(0, 3)).toEqual([
      'layer,expert,count,load,importance,mean_gate,top1_count',
      expect.stringMatching(/^0,0,1,0.25,0.3125/),
      expect.stringMatching(/^0,1,2,0.5,0.375/),
    ]);
    const [header, row] = layersCsv(r).split('\n');
    expect(header?.split(',')).toHaveLength(row?.split(',').length ?? -1);
    expect(header).toContain('dropped_share_cf1_megatron_valid-tokens');
    expect(domainsCsv(r)).toContain('0,"a ""b"", c",1,0,1\n');
    expect(coactivationCsv(r).split('\n')).toEqual([
      'layer,expert,other,p_other_given_expert',
      '0,0,1,1',
      '0,1,0,0.5',
      '0,1,2,0.5',
      '0,2,1,1',
      '',
    ]);
  });

  it('a layer without tokens has empty cells', () => {
    expect(layersCsv(report({ capacityFactors: [] }, [])).split('\n')[1]).toBe('0,0,0,0,,,,,0,0,,,,,,,');
  });
});
