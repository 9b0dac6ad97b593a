import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { uncovered } from '../../src/checkpoint/dcp.ts';
import type { Box } from '../../src/checkpoint/dcp.ts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { codes, problem, temporaryFolder, writeJson, writeModel } from './files.ts';

/** A folder of shards: per file, pieces of `w.weight` by offset. */
function shards(
  pieces: readonly { readonly at: readonly number[]; readonly shape: readonly number[] }[],
  config?: unknown,
): string {
  const folder = temporaryFolder();
  for (const [i, { at, shape }] of pieces.entries()) {
    const name = 'model.layers.0.mlp.up_proj.weight';
    writeModel(join(folder, `shard-0000${String(i + 1)}-model-00001-of-00001.safetensors`), [{ name, shape }], {
      DCP_SHARDING_INFO: JSON.stringify({ [name]: { saved_offsets: at } }),
      DCP_VERSION: '1.0',
      format: 'pt',
    });
  }
  if (config !== undefined) writeJson(join(folder, 'config.json'), config);
  return folder;
}

const CONFIG = { model_type: 'llama', hidden_size: 4, intermediate_size: 8, num_hidden_layers: 1 };

describe('DCP shards', () => {
  it('report a gap in the middle as one at the end', async () => {
    const gap = await openCheckpoint(
      shards(
        [
          { at: [0, 0], shape: [2, 4] },
          { at: [5, 0], shape: [3, 4] },
        ],
        CONFIG,
      ),
    );
    expect(problem(gap.problems, 'dcp-rows-missing').message).toContain(
      'rows 2..4 of model.layers.0.mlp.up_proj.weight are in no shard',
    );
    expect(gap.tensors.size).toBe(0);
  });

  it('are quiet when whole, and say that the tensors lie in pieces', async () => {
    const cp = await openCheckpoint(
      shards(
        [
          { at: [4, 0], shape: [4, 4] },
          { at: [0, 0], shape: [4, 4] },
        ],
        CONFIG,
      ),
    );
    expect(codes(cp.problems)).toEqual(['dcp-shards']);
    expect(cp.pieces?.get('model.layers.0.mlp.up_proj.weight')?.map((p) => p.offsets)).toEqual([
      [4, 0],
      [0, 0],
    ]);
  });

  it('keep a tensor that lies whole in one piece', async () => {
    const cp = await openCheckpoint(shards([{ at: [0, 0], shape: [8, 4] }], CONFIG));
    expect(cp.tensors.get('model.layers.0.mlp.up_proj.weight')?.shape).toEqual([8, 4]);
    expect(cp.pieces).toBeUndefined();
    expect(cp.problems).toEqual([]);
  });

  it('name columns, too', async () => {
    const cp = await openCheckpoint(shards([{ at: [0, 1], shape: [8, 3] }], CONFIG));
    expect(problem(cp.problems, 'dcp-rows-missing').message).toContain('columns 0..0');
  });

  it('report unusable offsets', async () => {
    const cp = await openCheckpoint(shards([{ at: [-1, 0], shape: [4, 4] }], CONFIG));
    expect(codes(cp.problems)).toContain('dcp-offsets');
  });
});

describe('what boxes leave uncovered', () => {
  const size = 5;
  const range = fc
    .tuple(fc.nat(size), fc.nat(size))
    .map(([a, b]): readonly [number, number] => [Math.min(a, b), Math.max(a, b)]);
  const inside = (box: Box, point: readonly number[]): boolean =>
    box.every(([begin, end], d) => begin <= (point[d] ?? 0) && (point[d] ?? 0) < end);

  it.each([1, 2, 3])('agrees with looking at every point (%d dimensions)', (rank) => {
    const boxes = fc.array(fc.tuple(...Array.from({ length: rank }, () => range)), { maxLength: 5 });
    const shape = new Array<number>(rank).fill(size);
    const points = Array.from({ length: size ** rank }, (_, i) =>
      shape.map((_s, d) => Math.floor(i / size ** d) % size),
    );
    fc.assert(
      fc.property(boxes, (list) => {
        const gaps = uncovered(shape, list) ?? [];
        for (const point of points) {
          const covered = list.some((box) => inside(box, point));
          expect(gaps.filter((gap) => inside(gap, point))).toHaveLength(covered ? 0 : 1);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('knows scalars and empty tensors', () => {
    expect(uncovered([], [[]])).toEqual([]);
    expect(uncovered([], [])).toEqual([[]]);
    expect(uncovered([0, 4], [])).toEqual([]);
  });

  it('gives up in time where pieces overlap without end', () => {
    const boxes = Array.from({ length: 3000 }, (_, i): Box => [
      [i, 6000 - i],
      [i, 6000 - i],
      [i, 6000 - i],
    ]);
    const start = performance.now();
    expect(uncovered([6000, 6000, 6000], boxes)).toBeNull();
    expect(performance.now() - start).toBeLessThan(3000);
  });
});
