import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { isJsonObject } from '../../src/common/json.ts';
import { FIELD_TEXTS } from '../../src/recipe/fields.ts';
import { recipeJsonSchema } from '../../src/recipe/json-schema.ts';

function at(value: unknown, ...path: string[]): unknown {
  return path.reduce((node: unknown, key) => (isJsonObject(node) ? node[key] : undefined), value);
}

describe('media/recipe.schema.json', () => {
  it('is what the schema of the loader says today (node scripts/schema.mjs writes it)', () => {
    const file: unknown = JSON.parse(readFileSync(new URL('../../media/recipe.schema.json', import.meta.url), 'utf8'));
    expect(file).toEqual(JSON.parse(JSON.stringify(recipeJsonSchema())));
  });

  it('describes every top-level field and refuses unknown ones', () => {
    const schema = recipeJsonSchema();
    expect(schema['additionalProperties']).toBe(false);
    for (const [path, { about }] of FIELD_TEXTS) {
      if (path.includes('.')) continue;
      expect(at(schema, 'properties', path, 'description')).toBe(about);
    }
    expect(at(schema, 'properties', 'output', 'properties', 'shard_size', 'default')).toBe('5GB');
    expect(at(schema, 'required')).toBeUndefined();
  });
});
