import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { broadcast, product, sameDim } from '../../src/onnx/dims.ts';

describe('dimensions', () => {
  it('multiply canonically', () => {
    expect(product(['T', 2, 'B'])).toBe('2*B*T');
    expect(product(['B*T', 3, '2*B'])).toBe('6*B*B*T');
    expect(product([2, 3])).toBe(6);
    expect(product([])).toBe(1);
    expect(product(['B', 0])).toBe(0);
    expect(sameDim('T*B', 'B*T')).toBe(true);
    expect(sameDim('T', 'B')).toBe(false);
  });

  it('product does not depend on order or grouping', () => {
    const dim = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.constantFrom('B', 'T', 'N'));
    fc.assert(
      fc.property(fc.array(dim, { maxLength: 6 }), fc.nat(5), (dims, cut) => {
        expect(product([product(dims.slice(0, cut)), product(dims.slice(cut))])).toBe(product([...dims].reverse()));
      }),
    );
  });

  it('broadcast as numpy does', () => {
    expect(broadcast([2, 1, 'T'], ['B', 'T'])).toEqual([2, 'B', 'T']);
    expect(broadcast([], [3])).toEqual([3]);
    expect(() => broadcast([2, 3], [2])).toThrow(/cannot be broadcast/);
    expect(() => broadcast(['B'], ['T'])).toThrow(RangeError);
  });
});
