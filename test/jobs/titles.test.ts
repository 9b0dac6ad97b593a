import { describe, expect, it } from 'vitest';
import { titleOf } from '../../src/jobs/index.ts';
import { upcycleOf } from './params.ts';

/** The title of an upcycle whose recipe has this text and lies in this file. */
function title(text: string, file: string | null = '/w/mine.moe.yaml', src: string | null = null): string {
  const params = upcycleOf('/unused', '/w/out-moe');
  return titleOf({ ...params, from: { type: 'recipe', file, text, preset: null, sets: [], src } });
}

describe('title of an upcycle', () => {
  it('names the source', () => {
    expect(title('', null, '/w/dense')).toBe('Upcycle dense → out-moe');
    expect(title('', null, '/w/dense/model.safetensors')).toBe('Upcycle dense → out-moe');
    expect(title('experts: 8\nbase: ./SmolLM2-135M\n')).toBe('Upcycle SmolLM2-135M → out-moe');
    expect(title('base: "/w/my model/" # the dense one')).toBe('Upcycle my model → out-moe');
    expect(title('base_model: mistralai/Mistral-7B-v0.1\nexperts: []')).toBe('Upcycle Mistral-7B-v0.1 → out-moe');
  });

  it('falls back on the recipe where the base is not one plain word', () => {
    expect(title('experts: 8\n')).toBe('Upcycle mine → out-moe');
    expect(title('base: .\n')).toBe('Upcycle mine → out-moe');
    expect(title('base: |\n  x\n')).toBe('Upcycle mine → out-moe');
    expect(title('base: "unfinished\n', null)).toBe('Upcycle "unfinished → out-moe');
    expect(title('', null)).toBe('Upcycle a recipe → out-moe');
  });
});
