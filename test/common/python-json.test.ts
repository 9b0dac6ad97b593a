import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { JsonValue } from '../../src/common/json.ts';
import { floatMembers, pythonJson } from '../../src/common/python-json.ts';

describe('pythonJson', () => {
  it('writes integral values of float fields as floats, at any depth and in lists', () => {
    const config = {
      rope_theta: 10000,
      attention_dropout: 0,
      vocab_size: 32,
      rope_scaling: { factor: 8, original_max_position_embeddings: 64 },
      long_factor: [1, 1.5],
    };
    const text = pythonJson(config);
    expect(text).toContain('"rope_theta": 10000.0');
    expect(text).toContain('"attention_dropout": 0.0');
    expect(text).toContain('"factor": 8.0');
    expect(text).toContain('"vocab_size": 32');
    expect(text).toContain('"original_max_position_embeddings": 64\n');
    expect(text).toMatch(/"long_factor": \[\s+1\.0,\s+1\.5\s+\]/);
    expect(JSON.parse(text)).toEqual(config);
  });

  it('keeps what the source wrote as a float, under names that nobody knows', () => {
    const text = '{"my_scale": 2.0, "n": 3, "list": [1.0, 2], "tiny": 1e-05, "text": "a\\": 1.5"}';
    const floats = floatMembers(text);
    expect(floats).toEqual(['list', 'my_scale', 'tiny']);
    const out = pythonJson(JSON.parse(text) as JsonValue, floats);
    expect(out).toContain('"my_scale": 2.0');
    expect(out).toContain('"n": 3');
  });

  it('is JSON for any JSON', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const plain = JSON.parse(JSON.stringify(value)) as JsonValue;
        expect(JSON.parse(pythonJson(plain, ['a', 'b']))).toEqual(plain);
      }),
    );
  });
});
