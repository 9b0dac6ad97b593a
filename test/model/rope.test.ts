/** Frequencies of every rope kind against transformers' own (float32, so compared to 2e-6 relative). */
import * as fs from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../src/common/json.ts';
import { ropeDependsOnLength, ropeFrequencies, ropeTables } from '../../src/model/rope.ts';
import { specFromConfig } from '../../src/model/spec.ts';

interface Golden {
  readonly cases: readonly {
    readonly config: JsonObject;
    readonly runs: readonly {
      readonly length: number;
      readonly inverse: readonly number[];
      readonly attentionFactor: number;
      readonly cosLast: readonly number[];
      readonly sinLast: readonly number[];
    }[];
  }[];
}

const golden = JSON.parse(fs.readFileSync(new URL('rope-goldens.json', import.meta.url), 'utf8')) as Golden;

const LLAMA = {
  model_type: 'llama',
  hidden_size: 64,
  num_attention_heads: 2,
  intermediate_size: 8,
  num_hidden_layers: 1,
  vocab_size: 16,
  max_position_embeddings: 64,
};

describe('rope against transformers', () => {
  it.each(
    golden.cases.map(
      (entry, index) =>
        [
          index,
          JSON.stringify(entry.config['rope_scaling'] ?? entry.config['rope_parameters'] ?? {}).slice(0, 60),
          entry,
        ] as const,
    ),
  )('case %i %s', (_index, _name, entry) => {
    const { rope } = specFromConfig(entry.config);
    for (const run of entry.runs) {
      const { inverse, attentionFactor } = ropeFrequencies(rope, run.length);
      expect(inverse.length).toBe(run.inverse.length);
      run.inverse.forEach((value, i) => expect(Math.abs((inverse[i] ?? Number.NaN) / value - 1)).toBeLessThan(2e-6));
      expect(attentionFactor).toBeCloseTo(run.attentionFactor, 6);
      const tables = ropeTables(rope, run.length);
      const last = (run.length - 1) * inverse.length;
      // transformers multiplies float32 frequencies by positions: up to 200 · 1e-7 radians off.
      run.cosLast.forEach((value, i) =>
        expect(Math.abs((tables.cos[last + i] ?? Number.NaN) - value)).toBeLessThan(1e-4),
      );
      run.sinLast.forEach((value, i) =>
        expect(Math.abs((tables.sin[last + i] ?? Number.NaN) - value)).toBeLessThan(1e-4),
      );
    }
  });

  it('depends on the length for dynamic and longrope only', () => {
    const kinds = golden.cases.map(({ config }) => ropeDependsOnLength(specFromConfig(config).rope));
    expect(kinds.filter(Boolean)).toHaveLength(3);
  });
});

describe('rope settings that cannot be', () => {
  const bad = (extra: JsonObject): unknown => {
    try {
      specFromConfig({ ...LLAMA, ...extra });
    } catch (error) {
      return error;
    }
    return undefined;
  };

  it('are refused by name', () => {
    expect(bad({ rope_scaling: { rope_type: 'wild', factor: 2 } })).toMatchObject({
      code: 'unknown-rope-type',
      place: { field: 'rope_scaling.rope_type' },
    });
    expect(bad({ rope_scaling: { rope_type: 'linear' } })).toMatchObject({
      code: 'missing-config-field',
      place: { field: 'rope_scaling.factor' },
    });
    expect(bad({ rope_scaling: { rope_type: 'linear', factor: -1 } })).toMatchObject({ code: 'bad-config-field' });
    expect(bad({ rope_scaling: { rope_type: 'longrope', short_factor: [1], long_factor: [1] } })).toMatchObject({
      code: 'bad-config-field',
      place: { field: 'rope_scaling.short_factor' },
    });
    expect(bad({ rope_parameters: { full_attention: { rope_theta: 1 } } })).toMatchObject({
      code: 'rope-per-layer-type',
    });
    expect(bad({ partial_rotary_factor: 0.5, rope_scaling: { rope_type: 'linear', factor: 2 } })).toMatchObject({
      code: 'partial-rotary-unsupported',
    });
    expect(bad({ rope_theta: 'x' })).toMatchObject({ code: 'bad-config-field' });
  });

  it('partial_rotary_factor of a family without it is ignored, and said so', () => {
    const spec = specFromConfig({ ...LLAMA, partial_rotary_factor: 0.5 });
    expect(spec.rope.dim).toBe(32);
    expect(spec.notes.join()).toContain('partial_rotary_factor 0.5 is ignored');
  });
});
