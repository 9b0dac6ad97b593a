import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { inspectCheckpoint } from '../../src/inspect/index.ts';
import { expertGrid, layerExperts, similarity } from '../../src/protocol/checkpoint.ts';
import type { LayerExperts } from '../../src/protocol/checkpoint.ts';
import { RankSketch, symmetricEigenvalues } from '../../src/stats/effective-rank.ts';
import { expertMetrics } from '../../src/stats/expert-metrics.ts';
import { flagsOf } from '../../src/stats/flags.ts';
import { gramOf } from '../../src/stats/gram.ts';
import { expertGridOf } from '../../src/stats/grid.ts';
import { findParent, upcycleRecord } from '../../src/stats/parent.ts';
import { expertSimilarity } from '../../src/stats/similarity.ts';
import { openSafetensors, toFloat64 } from 'safetensors-js';
import { checkpointWith, f32, numbers, tempPath } from './make.ts';
import type { DataSpec } from './make.ts';

const here = dirname(fileURLToPath(import.meta.url));
const forward = join(here, '../forward');

const all = { layers: null, parent: null };

/** A mixtral-like layer of `experts` experts, [I, H] = [2, 3], each filled by `value(expert, part, index)`. */
function mixtralLayer(
  experts: number,
  value: (expert: number, part: 'w1' | 'w2' | 'w3', i: number) => number,
  layer = 0,
): DataSpec[] {
  const at = `model.layers.${String(layer)}.block_sparse_moe`;
  const specs: DataSpec[] = [
    f32(
      `${at}.gate.weight`,
      [experts, 3],
      Array.from({ length: experts * 3 }, (_, i) => (i < 3 ? 2 : 0)),
    ),
  ];
  for (let e = 0; e < experts; e++) {
    for (const part of ['w1', 'w2', 'w3'] as const) {
      const shape = part === 'w2' ? [3, 2] : [2, 3];
      specs.push(
        f32(
          `${at}.experts.${String(e)}.${part}.weight`,
          shape,
          Array.from({ length: 6 }, (_, i) => value(e, part, i)),
        ),
      );
    }
  }
  return specs;
}

async function one(specs: readonly DataSpec[], parent: readonly DataSpec[] | null = null): Promise<LayerExperts> {
  const cp = await checkpointWith(specs, {
    model_type: 'mixtral',
    num_local_experts: 4,
    num_experts_per_tok: 2,
    num_hidden_layers: 1,
    hidden_size: 3,
  });
  const dense = parent === null ? null : await checkpointWith(parent);
  const { layers } = await expertMetrics(cp, { layers: null, parent: dense });
  for (const layer of layers) layerExperts.parse(layer);
  const [first] = layers;
  if (first === undefined) throw new Error('no layer');
  return first;
}

describe('metrics by hand', () => {
  it('norms, cosines, router rows, dead and duplicate experts', async () => {
    // Expert 0: all ones; 1: the same; 2: gate and up minus one, down one; 3: down all zeros.
    const layer = await one(
      mixtralLayer(4, (e, part) => (e === 2 ? (part === 'w2' ? 1 : -1) : e === 3 && part === 'w2' ? 0 : 1)),
    );
    const [zero, first, second, third] = layer.experts;
    expect(zero?.norm).toEqual({ gate: Math.sqrt(6), up: Math.sqrt(6), down: Math.sqrt(6), all: Math.sqrt(18) });
    expect([zero?.flags, first?.flags, second?.flags, third?.flags]).toEqual([
      [],
      ['duplicate'],
      [],
      ['dead', 'outlier'],
    ]);
    expect([zero?.duplicateOf, first?.duplicateOf]).toEqual([null, 0]);
    expect(zero?.nearest).toEqual({ expert: 1, cosine: 1 });
    // 0 with 2: (6 − 6 − 6) / 18; 0 with 3: 12 / (√18 √12); 2 with 3: −12 / (√18 √12).
    const third3 = 12 / Math.sqrt(18 * 12);
    expect(second?.nearest?.cosine).toBeCloseTo(-6 / 18, 6);
    expect(third?.nearest?.cosine).toBeCloseTo(third3, 6);
    expect(layer.cosine?.min).toBeCloseTo(-third3, 6);
    expect(layer.cosine?.max).toBeCloseTo(1, 6);
    expect(layer.cosine?.mean).toBeCloseTo((1 - 1 / 3 - 1 / 3 + third3 + third3 - third3) / 6, 6);
    expect(layer.experts.map((expert) => expert.routerNorm)).toEqual([Math.sqrt(12), 0, 0, 0]);
    expect(layer.router).toMatchObject({
      meanNorm: Math.sqrt(12) / 4,
      zero: false,
      tensor: 'model.layers.0.block_sparse_moe.gate.weight',
    });
    // All ones have one direction.
    expect(zero?.effectiveRank).toBeCloseTo(1, 6);
  });

  it('distances to the dense parent, and its neurons in another order', async () => {
    const dense = (part: 'w1' | 'w2' | 'w3', i: number): number => ({ w1: 10, w2: 20, w3: 30 })[part] + i;
    const at = 'model.layers.0.mlp';
    const parent = [
      f32(
        `${at}.gate_proj.weight`,
        [2, 3],
        [0, 1, 2, 3, 4, 5].map((i) => dense('w1', i)),
      ),
      f32(
        `${at}.up_proj.weight`,
        [2, 3],
        [0, 1, 2, 3, 4, 5].map((i) => dense('w3', i)),
      ),
      f32(
        `${at}.down_proj.weight`,
        [3, 2],
        [0, 1, 2, 3, 4, 5].map((i) => dense('w2', i)),
      ),
    ];
    const layer = await one(
      mixtralLayer(3, (e, part, i) => {
        if (e === 0) return dense(part, i);
        if (e === 1) return part === 'w3' ? 0 : dense(part, i);
        // Neurons swapped: rows of gate and up, columns of down.
        return dense(part, part === 'w2' ? i ^ 1 : (i + 3) % 6);
      }),
      parent,
    );
    const squares = (part: 'w1' | 'w2' | 'w3'): number =>
      [0, 1, 2, 3, 4, 5].reduce((sum, i) => sum + dense(part, i) ** 2, 0);
    const whole = squares('w1') + squares('w2') + squares('w3');
    expect(layer.experts.map((expert) => expert.distance)).toEqual([
      0,
      expect.closeTo(Math.sqrt(squares('w3') / whole), 12),
      0,
    ]);
  });

  it('marks what is not finite and goes on', async () => {
    const layer = await one(mixtralLayer(4, (e, _, i) => (e === 1 && i === 2 ? NaN : e + i + 1)));
    expect(layer.experts[1]).toMatchObject({
      norm: { all: null, gate: null },
      flags: ['not-finite'],
      nearest: null,
      effectiveRank: null,
    });
    expect(layer.experts[0]?.nearest).not.toBeNull();
    expect(Number.isFinite(layer.cosine?.mean)).toBe(true);
  });

  it('cancels', async () => {
    const cp = await checkpointWith(mixtralLayer(2, () => 1));
    await expect(expertMetrics(cp, { ...all, signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'cancelled',
    });
    await expect(expertSimilarity(cp, { layer: 5, part: 'all' })).rejects.toMatchObject({ code: 'no-experts' });
  });

  it('reports progress and layers that are missing', async () => {
    const cp = await checkpointWith([...mixtralLayer(2, () => 1, 0), ...mixtralLayer(2, () => 2, 3)]);
    const seen: [number, number | null][] = [];
    const { notes } = await expertMetrics(cp, {
      layers: [3, 7],
      parent: null,
      onProgress: ({ done, total, layer }) => seen.push([done / total, layer?.layer ?? null]),
    });
    expect(notes).toEqual(['no experts were found in layer 7']);
    expect(seen.at(-1)).toEqual([1, 3]);
    expect(seen.every(([share], i) => share >= (seen[i - 1]?.[0] ?? 0))).toBe(true);
  });
});

/** Independent reading: whole tensors by hand, orientation by the family. */
async function plainExperts(folder: string): Promise<Map<number, number[][]>> {
  const file = await openSafetensors(join(folder, 'model.safetensors'));
  const layers = new Map<number, number[][]>();
  const put = (layer: number, expert: number, values: Iterable<number>): void => {
    const list = layers.get(layer) ?? [];
    layers.set(layer, list);
    (list[expert] ??= []).push(...values);
  };
  try {
    for (const [name, info] of file.header.tensors) {
      const layer = Number(/layers\.(\d+)\./.exec(name)?.[1] ?? NaN);
      if (!/experts|_linear/.test(name) || /shared|bias|router|gate\.weight/.test(name) || Number.isNaN(layer))
        continue;
      const values = toFloat64(info.dtype, await file.readTensor(name));
      const expert = /experts\.(\d+)\./.exec(name)?.[1];
      if (expert !== undefined) put(layer, Number(expert), values);
      else {
        const [count = 1] = info.shape;
        const size = values.length / count;
        for (let e = 0; e < count; e++) put(layer, e, values.subarray(e * size, (e + 1) * size));
      }
    }
  } finally {
    await file.close();
  }
  return layers;
}

describe('every layout of the fixtures', () => {
  const folders = ['fixtures', 'fixtures-reading'].flatMap((set) =>
    readdirSync(join(forward, set))
      .map((name) => join(forward, set, name))
      .filter((folder) => existsSync(join(folder, 'model.safetensors'))),
  );

  it.each(folders.map((folder) => [basename(folder), folder] as const))('%s', async (_, folder) => {
    const plain = await plainExperts(folder);
    const cp = await openCheckpoint(folder);
    const { layers } = await expertMetrics(cp, all);
    expect(layers.map(({ layer }) => layer)).toEqual([...plain.keys()].sort((a, b) => a - b));
    for (const found of layers) {
      layerExperts.parse(found);
      const experts = plain.get(found.layer) ?? [];
      const routed = found.experts.filter(({ expert }) => expert !== 'shared');
      expect(routed).toHaveLength(experts.length);
      const dot = (a: number[], b: number[]): number => a.reduce((sum, x, i) => sum + x * (b[i] ?? 0), 0);
      routed.forEach((metric, e) => {
        const own = experts[e] ?? [];
        expect(metric.norm.all).toBeCloseTo(Math.sqrt(dot(own, own)), 6);
        const parts = [metric.norm.gate, metric.norm.up, metric.norm.down];
        expect(Math.hypot(...parts.map((x) => x ?? 0))).toBeCloseTo(metric.norm.all ?? -1, 6);
        expect(parts.every((x) => x !== null && x > 0)).toBe(true);
        // Values of gate and up lie interleaved or in halves, but the whole set is the same: cosines over all parts.
        const cosines = experts.map((other) => dot(own, other) / Math.sqrt(dot(own, own) * dot(other, other)));
        const best = Math.max(...cosines.filter((_, other) => other !== e));
        expect(metric.nearest?.cosine).toBeCloseTo(best, 5);
        expect(metric.effectiveRank).toBeGreaterThan(1);
      });
      expect(found.router).not.toBeNull();
      const matrix = await expertSimilarity(cp, { layer: found.layer, part: 'all' });
      similarity.parse(matrix);
      const first = experts[0] ?? [];
      const second = experts[1] ?? [];
      expect(matrix.values[1]).toBeCloseTo(dot(first, second) / Math.sqrt(dot(first, first) * dot(second, second)), 5);
      expect(matrix.summary).toContain(`Layer ${String(found.layer)}`);
      for (const part of ['gate', 'up', 'down', 'router'] as const) {
        expect((await expertSimilarity(cp, { layer: found.layer, part })).values).toHaveLength(experts.length ** 2);
      }
    }
    const grid = await expertGridOf(cp, await inspectCheckpoint(cp));
    expertGrid.parse(grid);
    expect(grid.layers.map(({ layer, experts }) => [layer, experts])).toEqual(
      layers.map(({ layer }) => [layer, (plain.get(layer) ?? []).length]),
    );
    expect(grid.unavailable === null).toBe(plain.size > 0);
  });

  it('GGUF experts', async () => {
    const cp = await openCheckpoint(join(here, '../gguf/fixtures/models/mixtral.gguf'));
    const { layers } = await expertMetrics(cp, all);
    expect(layers.length).toBeGreaterThan(0);
    for (const layer of layers) {
      layerExperts.parse(layer);
      expect(layer.experts.length).toBeGreaterThan(1);
      expect(layer.experts.every(({ norm }) => norm.all !== null && norm.all > 0)).toBe(true);
    }
  });

  it('says that quantised experts are not read', async () => {
    const codes = {
      name: 'model.layers.0.mlp.experts.0.up_proj.qweight',
      dtype: 'I32' as const,
      shape: [2, 2],
      data: new Uint8Array(16),
    };
    const scales = f32('model.layers.0.mlp.experts.0.up_proj.scales', [2], [1, 1]);
    const cp = await checkpointWith([codes, scales]);
    const { layers } = await expertMetrics(cp, all);
    expect(layers[0]?.notes.join()).toContain('quantised');
    expect(layers[0]?.experts).toEqual([]);
    expect((await expertGridOf(cp, await inspectCheckpoint(cp))).unavailable).toContain('quantised');
  });
});

describe('pieces', () => {
  it('eigenvalues keep trace and sum of squares, and are known for known matrices', () => {
    expect([...symmetricEigenvalues(Float64Array.of(2, 1, 1, 2), 2)].sort()).toEqual([
      expect.closeTo(1, 12),
      expect.closeTo(3, 12),
    ]);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), fc.nat(1000), (n, seed) => {
        const raw = numbers(n * n, seed);
        const a = Float64Array.from(
          { length: n * n },
          (_, k) => (raw[k] ?? 0) + (raw[(k % n) * n + Math.floor(k / n)] ?? 0),
        );
        const trace = Array.from({ length: n }, (_, i) => a[i * n + i] ?? 0).reduce((x, y) => x + y, 0);
        const squares = a.reduce((sum, x) => sum + x * x, 0);
        const found = symmetricEigenvalues(a.slice(), n);
        expect(found.reduce((x, y) => x + y, 0)).toBeCloseTo(trace, 9);
        expect(found.reduce((sum, x) => sum + x * x, 0)).toBeCloseTo(squares, 9);
      }),
      { numRuns: 40 },
    );
  });

  it('effective rank of known spectra', () => {
    const rank = (rows: number, cols: number, value: (r: number, c: number) => number): number | null => {
      const sketch = new RankSketch(rows, cols);
      for (let r = 0; r < rows; r++)
        sketch.add(
          Float64Array.from({ length: cols }, (_, c) => value(r, c)),
          r,
        );
      return sketch.effectiveRank();
    };
    expect(rank(8, 8, (r, c) => (r === c ? 3 : 0))).toBeCloseTo(8, 9);
    expect(rank(8, 8, () => 1)).toBeCloseTo(1, 9);
    // Singular values 3 and 1: shares 3/4 and 1/4.
    expect(rank(2, 2, (r, c) => (r === c ? (r === 0 ? 3 : 1) : 0))).toBeCloseTo(
      Math.exp(-0.75 * Math.log(0.75) - 0.25 * Math.log(0.25)),
      9,
    );
    expect(rank(4, 4, () => 0)).toBeNull();
    expect(rank(2, 2, () => NaN)).toBeNull();
    // Sketched: many rows of three directions are still of rank three at most.
    const few = rank(1000, 20, (r, c) => (c === r % 3 ? 1 : 0));
    expect(few).toBeLessThanOrEqual(3.0001);
    expect(few).toBeGreaterThan(2.9);
    const many = rank(1000, 300, (r, c) => Math.sin(r * 37.7 + c * c * 91.3 + r * c));
    expect(many).toBeGreaterThan(60);
    expect(many).toBeLessThanOrEqual(128);
  });

  it('Gram matrices: whole ones equal plain sums, sampled ones say so', async () => {
    const parts = [0, 1, 2].map((e) => {
      const values = Float64Array.from(numbers(70 * 5, e + 1));
      return {
        rows: 70,
        cols: 5,
        values,
        read: (begin: number, end: number) => Promise.resolve(values.slice(begin * 5, end * 5)),
      };
    });
    const gram = await gramOf(parts, undefined);
    expect(gram.sampled).toBe(false);
    const plain = (a: Float64Array, b: Float64Array): number => a.reduce((sum, x, i) => sum + x * (b[i] ?? 0), 0);
    parts.forEach((a, i) => {
      parts.forEach((b, j) => {
        expect(gram.products[i * 3 + j]).toBeCloseTo(plain(a.values, b.values), 9);
      });
    });
    let read = 0;
    const large = Array.from({ length: 600 }, () => ({
      rows: 1000,
      cols: 1000,
      read: (begin: number, end: number) => {
        expect(end).toBeLessThanOrEqual(1000);
        read += end - begin;
        return Promise.resolve(new Float64Array(4).fill(1));
      },
    }));
    const estimate = await gramOf(large, undefined);
    expect(estimate.sampled).toBe(true);
    expect(read).toBe(600 * estimate.taken);
    expect(estimate.taken).toBeGreaterThan(0);
    expect(estimate.cosines()[1]).toBeCloseTo(1, 6);
  });

  it('flags', () => {
    const fact = (
      expert: number,
      all: number | null,
      digest = String(expert),
    ): Parameters<typeof flagsOf>[0][number] => ({
      expert,
      all,
      digest,
      finite: all !== null,
      norms: { gate: all, up: all, down: all },
    });
    const flags = flagsOf([
      fact(0, 10),
      fact(1, 10.1),
      fact(2, 9.9),
      fact(3, 14),
      fact(4, 0),
      fact(5, null),
      fact(6, 10, '0'),
    ]);
    expect([...flags.values()].map((one) => one.flags)).toEqual([
      [],
      [],
      [],
      ['outlier'],
      ['dead', 'outlier'],
      ['not-finite'],
      ['duplicate'],
    ]);
    expect(flags.get(6)?.duplicateOf).toBe(0);
  });
});

describe('parent', () => {
  it('finds the dense parent that the manifest names, and only if it fits', async () => {
    const folder = tempPath('family');
    const [moe, dense] = [join(folder, 'moe'), join(folder, 'dense model')];
    mkdirSync(moe, { recursive: true });
    mkdirSync(dense);
    const cp = {
      ...(await checkpointWith(
        mixtralLayer(2, () => 1),
        { hidden_size: 3 },
      )),
      root: moe,
      path: moe,
    };
    expect(await upcycleRecord(cp)).toBeNull();
    const manifest = `{\n "schema": "moe-workbench/manifest@1",\n "recipe": {\n  "base": "dense model",\n  "expert_init": {\n   "method": "copy"\n  }\n },\n "documents": [],\n "sources": [\n{"name":"org/dense model","format":"hf"}],\n "tensors": {`;
    writeFileSync(join(moe, 'moe-manifest.json'), manifest);
    const record = await upcycleRecord(cp);
    expect(record?.sourceNames).toEqual(['org/dense model']);
    expect(await findParent(cp, record)).toBeNull();
    writeFileSync(join(dense, 'config.json'), '{"hidden_size":4}');
    expect(await findParent(cp, record)).toBeNull();
    writeFileSync(join(dense, 'config.json'), '{"hidden_size":3}');
    expect(await findParent(cp, record)).toMatchObject({ path: dense, name: 'dense model' });
    const grid = await expertGridOf(cp, await inspectCheckpoint(cp));
    expect(grid.identicalExpected).toBe(true);
    expect(grid.parent?.path).toBe(dense);
    writeFileSync(join(moe, 'moe-manifest.json'), manifest.slice(0, 40));
    expect(await upcycleRecord(cp)).toBeNull();
  });
});
