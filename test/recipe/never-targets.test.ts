import { describe, expect, it } from 'vitest';
import { MoeError } from '../../src/common/errors.ts';
import { loadRecipe } from '../../src/recipe/load.ts';

describe('a known family that cannot be written exactly', () => {
  it.each(['olmoe', 'phimoe', 'gpt_oss', 'deepseek_v3', 'llama4', 'ernie4_5_moe'])(
    'target %s is an impossible request (exit 3), never a usage error, however it is spelled',
    (target) => {
      for (const request of [{ sets: [`target=${target}`] }, { text: `target: ${target}\n` }]) {
        try {
          loadRecipe({ ...request, src: './x' });
          expect.unreachable();
        } catch (error) {
          expect(error).toBeInstanceOf(MoeError);
          expect(error).toMatchObject({ kind: 'input', code: 'target-not-exact', place: { field: 'target' } });
        }
      }
    },
  );
  it('a misspelt target stays a usage error on the command line', () => {
    expect(() => loadRecipe({ sets: ['target=mixtrall'], src: './x' })).toThrow(
      expect.objectContaining({ kind: 'usage' }) as Error,
    );
  });
});
