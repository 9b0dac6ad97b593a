import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { modelCardFromGguf } from '../../src/gguf/card.ts';
import type { GgufValue } from '../../src/gguf/types.ts';

const card = (values: Readonly<Record<string, GgufValue>>): string | undefined =>
  modelCardFromGguf({ path: 'x.gguf', metadata: new Map(Object.entries(values)), metadataTypes: new Map() });
const front = (text: string | undefined): unknown => parse(text?.split('---\n')[1] ?? '');

describe('modelCardFromGguf', () => {
  it('carries licence, languages and base models', () => {
    const text = card({
      'general.name': 'Tiny\nModel',
      'general.license': 'other',
      'general.license.name': 'a "quoted": name',
      'general.languages': { kind: 'strings', elementType: 'STRING', values: ['en', 'no'] },
      'general.base_model.count': 2,
      'general.base_model.0.repo_url': 'https://huggingface.co/org/base-1.0',
      'general.base_model.1.name': 'Another',
    });
    expect(front(text)).toEqual({
      license: 'other',
      license_name: 'a "quoted": name',
      language: ['en', 'no'],
      base_model: ['org/base-1.0', 'Another'],
    });
    expect(text).toContain('# Tiny Model\n');
  });

  it('is absent where nothing is known', () => {
    expect(card({ 'general.name': 'x', 'general.base_model.count': 4_000_000_000 })).toBeUndefined();
  });
});
