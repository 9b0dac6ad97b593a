import { join } from 'node:path';
import fc from 'fast-check';
import { f32ToBf16 } from 'safetensors-js';
import type { Dtype } from 'safetensors-js';
import { describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { configChanges, diffCheckpoints } from '../../src/diff/index.ts';
import type { DiffReport } from '../../src/diff/index.ts';
import { Accumulator } from '../../src/diff/compare.ts';
import { isPowerOfTwo } from '../../src/diff/experts.ts';
import { TINY_CONFIG, failure, temporaryFolder, tinyDense, writeJson, writeModel } from '../checkpoint/files.ts';
import type { TestTensor } from '../checkpoint/files.ts';

function folderOf(tensors: readonly TestTensor[], config: unknown = TINY_CONFIG): string {
  const folder = temporaryFolder();
  writeModel(join(folder, 'model.safetensors'), tensors);
  writeJson(join(folder, 'config.json'), config);
  return folder;
}

async function diff(a: string, b: string): Promise<DiffReport> {
  return diffCheckpoints(await openCheckpoint(a), await openCheckpoint(b));
}

const H = 8;
const I = 12;

/** Numbers that look random and are the same every time; multiples of 1/64 below 4, so that bf16 holds them exactly. */
function numbers(count: number, seed: number): number[] {
  let state = seed + 1;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return ((state >> 8) % 256) / 64 - 2 + 1 / 128;
  });
}

/** The dense feed-forward of layer l as matrices. */
function ffn(layer: number): { gate: number[]; up: number[]; down: number[] } {
  return {
    gate: numbers(I * H, 10 * layer + 1),
    up: numbers(I * H, 10 * layer + 2),
    down: numbers(H * I, 10 * layer + 3),
  };
}

const denseTensors = (): TestTensor[] =>
  tinyDense().map((t) => {
    const match = /layers\.(\d)\.mlp\.(gate|up|down)_proj/.exec(t.name);
    const part = match?.[2];
    if (match === null || (part !== 'gate' && part !== 'up' && part !== 'down')) return t;
    return { ...t, values: ffn(Number(match[1]))[part] };
  });

const rows = (m: readonly number[], cols: number, pick: readonly number[]): number[] =>
  pick.flatMap((r) => m.slice(r * cols, (r + 1) * cols));
const columns = (m: readonly number[], cols: number, pick: readonly number[]): number[] =>
  Array.from({ length: m.length / cols }, (_, r) => pick.map((c) => m[r * cols + c] ?? 0)).flat();

interface ExpertSpec {
  /** Dense neurons of the expert. */
  readonly pick: readonly number[];
  readonly up?: number;
  readonly down?: number;
  /** Changes the matrices after they are cut. */
  readonly change?: (part: 'gate' | 'up' | 'down', values: number[]) => number[];
}

/** tinyDense as a mixtral whose experts are made as `specs` say. */
function mixtral(specs: readonly ExpertSpec[], dtype: Dtype = 'F32'): TestTensor[] {
  const tensors = denseTensors().filter((t) => !t.name.includes('.mlp.'));
  for (const layer of [0, 1]) {
    const at = `model.layers.${String(layer)}.block_sparse_moe.`;
    tensors.push({ name: `${at}gate.weight`, shape: [specs.length, H] });
    const { gate, up, down } = ffn(layer);
    for (const [e, spec] of specs.entries()) {
      const { pick, change = (_, values) => values } = spec;
      const put = (w: string, part: 'gate' | 'up' | 'down', shape: number[], values: number[]): void => {
        const changed = change(part, values);
        const stored = dtype === 'BF16' ? new Uint8Array(f32ToBf16(Float32Array.from(changed)).buffer) : changed;
        tensors.push({ name: `${at}experts.${String(e)}.${w}.weight`, shape, dtype, values: stored });
      };
      put('w1', 'gate', [pick.length, H], rows(gate, H, pick));
      put(
        'w3',
        'up',
        [pick.length, H],
        rows(up, H, pick).map((x) => x * (spec.up ?? 1)),
      );
      put(
        'w2',
        'down',
        [H, pick.length],
        columns(down, I, pick).map((x) => x * (spec.down ?? 1)),
      );
    }
  }
  return tensors;
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);
const MIXTRAL = { ...TINY_CONFIG, model_type: 'mixtral', num_local_experts: 2, num_experts_per_tok: 2 };

describe('structure and values', () => {
  it('a checkpoint is identical with itself, sharded otherwise or not', async () => {
    const a = folderOf(tinyDense());
    const b = temporaryFolder();
    const tensors = tinyDense();
    writeModel(join(b, 'model-00001-of-00002.safetensors'), tensors.slice(7));
    writeModel(join(b, 'model-00002-of-00002.safetensors'), tensors.slice(0, 7));
    writeJson(join(b, 'config.json'), TINY_CONFIG);
    const report = await diff(a, b);
    expect(report.identical).toBe(true);
    expect(report.tensors).toHaveLength(tensors.length);
    expect(report.tensors.every((t) => t.equal && t.relativeL2 === 0 && t.maxAbs === 0)).toBe(true);
  });

  it('names what was added, removed, reshaped or stored otherwise', async () => {
    const a: TestTensor[] = [
      { name: 'x.weight', shape: [2, 3] },
      { name: 'y.weight', shape: [4] },
      { name: 'gone.weight', shape: [1] },
    ];
    const b: TestTensor[] = [
      { name: 'x.weight', shape: [3, 2] },
      { name: 'y.weight', shape: [4], dtype: 'F64', values: new Uint8Array(new Float64Array([8, 9, 10, 11]).buffer) },
      { name: 'new.weight', shape: [1] },
    ];
    const report = await diff(folderOf(a, { a: 1, n: { x: 1 } }), folderOf(b, { b: 2, n: { x: [1] } }));
    expect(report).toMatchObject({
      identical: false,
      added: ['new.weight'],
      removed: ['gone.weight'],
      reshaped: [{ name: 'x.weight', a: [2, 3], b: [3, 2] }],
      dtypeChanged: [{ name: 'y.weight', a: 'F32', b: 'F64' }],
      config: [
        { field: 'a', a: 1, b: null },
        { field: 'n.x', a: 1, b: [1] },
        { field: 'b', a: null, b: 2 },
      ],
    });
    expect(report.notCompared).toEqual([]);
    // y counts 8, 9, 10, 11 on both sides: another dtype, equal values.
    expect(report.tensors).toEqual([
      { name: 'y.weight', equal: true, relativeL2: 0, maxAbs: 0, elements: 4, notFinite: 0 },
    ]);
  });

  it('measures by the definition', async () => {
    const a = folderOf([{ name: 'w.weight', shape: [2, 2], values: [3, 4, 0, 0] }]);
    const b = folderOf([{ name: 'w.weight', shape: [2, 2], values: [3, 4, 0, -0.5] }]);
    const [w] = (await diff(a, b)).tensors;
    expect(w).toMatchObject({ equal: false, relativeL2: 0.1, maxAbs: 0.5, notFinite: 0 });
  });

  it('does not let NaN pass for equality or poison the rest', async () => {
    const a = folderOf([{ name: 'w.weight', shape: [4], values: [NaN, 1, Infinity, 3] }]);
    const b = folderOf([{ name: 'w.weight', shape: [4], values: [NaN, 2, -Infinity, 3] }]);
    const [w] = (await diff(a, b)).tensors;
    expect(w).toMatchObject({ equal: false, maxAbs: 1, notFinite: 1 });
    expect(w?.relativeL2).toBeCloseTo(1 / Math.sqrt(10), 12);
    const [same] = (
      await diff(a, folderOf([{ name: 'w.weight', shape: [4], values: [NaN, 1, Infinity, 3], dtype: 'F32' }]))
    ).tensors;
    expect(same?.equal).toBe(true);
  });

  it('compares the embedding of a tied model with the head that another stores under its alias', async () => {
    const renamed = tinyDense().map((t) =>
      t.name.includes('embed_tokens') ? { ...t, name: 'lm_head.weight', values: numbers(128, 5) } : t,
    );
    const a = temporaryFolder();
    writeModel(join(a, 'model.safetensors'), renamed, { 'model.embed_tokens.weight': 'lm_head.weight' });
    writeJson(join(a, 'config.json'), TINY_CONFIG);
    const b = folderOf(
      tinyDense().map((t) => (t.name.includes('embed_tokens') ? { ...t, values: numbers(128, 5) } : t)),
    );
    const report = await diff(a, b);
    expect([report.added, report.removed]).toEqual([[], []]);
    expect(report.tensors.every((t) => t.equal)).toBe(true);
  });

  it('reads no data when only structure is wanted, and says so where there is none', async () => {
    const a = await openCheckpoint(folderOf(tinyDense()));
    const structure = await diffCheckpoints(a, a, { values: false });
    expect([structure.tensors, structure.identical]).toEqual([[], false]);
    const planned = temporaryFolder();
    writeJson(join(planned, 'config.json'), TINY_CONFIG);
    const report = await diffCheckpoints(a, await openCheckpoint(planned));
    expect(report.notCompared[0]?.reason).toContain('no weights');
    expect(report.added.length + report.removed.length).toBe(0);
  });

  it('stops when cancelled', async () => {
    const a = await openCheckpoint(folderOf(tinyDense()));
    const controller = new AbortController();
    const b = await openCheckpoint(
      folderOf(
        tinyDense().map((t) => ({
          ...t,
          values: numbers(
            t.shape.reduce((x, y) => x * y, 1),
            3,
          ),
        })),
      ),
    );
    const run = diffCheckpoints(a, b, { signal: controller.signal, onProgress: () => controller.abort() });
    expect(await failure(() => run)).toMatchObject({ kind: 'cancelled' });
  });

  it('splits a fused qkv on one side', async () => {
    const fused = tinyDense().filter((t) => !/\.[qkv]_proj/.test(t.name));
    const apart = tinyDense().map((t) =>
      /\.[qkv]_proj/.test(t.name) ? { ...t, values: numbers((t.shape[0] ?? 0) * H, t.name.length) } : t,
    );
    for (const layer of ['0', '1']) {
      const values = ['q', 'k', 'v'].flatMap((p) => {
        const found = apart.find((t) => t.name === `model.layers.${layer}.self_attn.${p}_proj.weight`);
        return Array.isArray(found?.values) ? (found.values as number[]) : [];
      });
      fused.push({ name: `model.layers.${layer}.self_attn.qkv_proj.weight`, shape: [16, 8], values });
    }
    for (const report of [await diff(folderOf(fused), folderOf(apart)), await diff(folderOf(apart), folderOf(fused))]) {
      expect([report.added, report.removed]).toEqual([[], []]);
      expect(report.tensors.filter((t) => t.name.includes('_proj')).every((t) => t.equal)).toBe(true);
      expect(report.tensors.filter((t) => /\.[qkv]_proj/.test(t.name))).toHaveLength(6);
    }
  });
});

describe('dense against experts', () => {
  it('finds copies, in both directions', async () => {
    const dense = folderOf(denseTensors());
    const moe = folderOf(mixtral([{ pick: range(0, I) }, { pick: range(0, I) }]), MIXTRAL);
    for (const [a, b, side] of [
      [dense, moe, 'a'],
      [moe, dense, 'b'],
    ] as const) {
      const report = await diff(a, b);
      expect(report.experts).toMatchObject({ mode: 'dense-vs-moe', dense: side, notes: [], skipped: [] });
      // 2 layers of 3 matrices; 2 experts in each. They are neither added nor removed.
      expect(report.experts?.paired).toEqual(side === 'a' ? { a: 6, b: 12 } : { a: 12, b: 6 });
      expect(report.experts?.distances).toHaveLength(4);
      for (const d of report.experts?.distances ?? []) {
        expect(d).toMatchObject({
          relativeL2: 0,
          exactScale: 1,
          neurons: { kind: 'identity', begin: 0, width: I, denseWidth: I },
        });
        expect(d.gate?.equal).toBe(true);
      }
      const routers = [0, 1].map((l) => `model.layers.${String(l)}.block_sparse_moe.gate.weight`);
      expect(side === 'a' ? report.added : report.removed).toEqual(routers);
      expect(side === 'a' ? report.removed : report.added).toEqual([]);
    }
  });

  it('finds granular slices with a power-of-two scale, also in bf16', async () => {
    const specs = [0, 1, 2, 3, 4, 5].map((e) => ({ pick: range((e % 3) * 4, (e % 3) * 4 + 4), up: 2, down: 2 }));
    for (const dtype of ['F32', 'BF16'] as const) {
      const report = await diff(
        folderOf(denseTensors()),
        folderOf(mixtral(specs, dtype), { ...MIXTRAL, num_local_experts: 6 }),
      );
      const found = report.experts?.distances ?? [];
      expect(found).toHaveLength(12);
      for (const d of found) {
        const e = Number(d.expert);
        expect(d.neurons).toMatchObject({ kind: 'slice', begin: (e % 3) * 4, width: 4, denseWidth: 12, compared: 4 });
        expect([d.exactScale, d.up?.exactScale, d.down?.exactScale]).toEqual([4, 2, 2]);
        expect(d.up?.residual).toBe(0);
      }
    }
  });

  it('follows neurons that were permuted or dealt at random', async () => {
    const order = [7, 2, 11, 0, 5, 9, 1, 10, 3, 8, 6, 4];
    const specs = [{ pick: order }, { pick: [...order].reverse() }];
    const whole = await diff(folderOf(denseTensors()), folderOf(mixtral(specs), MIXTRAL));
    for (const d of whole.experts?.distances ?? []) {
      expect(d).toMatchObject({ relativeL2: 0, exactScale: 1, neurons: { kind: 'matched', found: 12, compared: 12 } });
    }
    const dealt = await diff(
      folderOf(denseTensors()),
      folderOf(
        mixtral([
          { pick: order.slice(0, 6), down: 0.5 },
          { pick: order.slice(6), down: 0.5 },
        ]),
        MIXTRAL,
      ),
    );
    expect(dealt.experts?.distances.map((d) => [d.neurons.kind, d.neurons.width, d.exactScale])).toEqual(
      new Array(4).fill(['matched', 6, 0.5]),
    );
  });

  it('measures what was re-drawn, and knows the rest again', async () => {
    const change = (part: string, values: number[]): number[] =>
      part === 'gate' ? [...numbers(4 * H, 99), ...values.slice(4 * H)] : values;
    const report = await diff(
      folderOf(denseTensors()),
      folderOf(mixtral([{ pick: range(0, I), change }, { pick: range(0, I) }]), MIXTRAL),
    );
    const [first, second] = report.experts?.distances ?? [];
    expect(first?.neurons).toMatchObject({ kind: 'identity', found: 8, compared: 12 });
    expect(first?.gate?.equal).toBe(false);
    expect(first?.up?.equal).toBe(true);
    expect(first?.exactScale).toBeNull();
    expect(first?.relativeL2).toBeGreaterThan(0.1);
    expect(second?.relativeL2).toBe(0);
  });

  it('says so where nothing is known again, and where widths cannot belong together', async () => {
    const noise = (_: string, values: number[]): number[] => values.map((x, i) => x + 0.01 * (1 + (i % 3)));
    const report = await diff(
      folderOf(denseTensors()),
      folderOf(
        mixtral([
          { pick: range(0, I), change: noise },
          { pick: range(0, 5), change: noise },
        ]),
        MIXTRAL,
      ),
    );
    const [first] = report.experts?.distances ?? [];
    expect(first?.neurons).toMatchObject({ kind: 'assumed', found: 0 });
    expect(first?.up?.scale).toBeCloseTo(1, 1);
    expect(first?.up?.exactScale).toBeNull();
    expect(report.experts?.notes.map((n) => [n.layer, n.expert])).toEqual([
      [0, 1],
      [1, 1],
    ]);
  });

  it('sees through packed layouts: v5 stacks against per-expert names', async () => {
    const specs = [{ pick: range(0, I) }, { pick: [...range(0, I)].reverse(), up: 4 }];
    const apart = mixtral(specs);
    const packed = apart.filter((t) => !t.name.includes('.experts.'));
    for (const layer of [0, 1]) {
      const at = `model.layers.${String(layer)}.`;
      const of = (e: number, w: string): number[] => {
        const found = apart.find((t) => t.name === `${at}block_sparse_moe.experts.${String(e)}.${w}.weight`);
        return Array.isArray(found?.values) ? (found.values as number[]) : [];
      };
      packed.push(
        {
          name: `${at}mlp.experts.gate_up_proj`,
          shape: [2, 2 * I, H],
          values: [0, 1].flatMap((e) => [...of(e, 'w1'), ...of(e, 'w3')]),
        },
        { name: `${at}mlp.experts.down_proj`, shape: [2, H, I], values: [0, 1].flatMap((e) => of(e, 'w2')) },
      );
    }
    const likes = await diff(folderOf(apart, MIXTRAL), folderOf(packed, MIXTRAL));
    expect(likes.experts?.mode).toBe('moe-vs-moe');
    expect(likes.experts?.likes).toHaveLength(12);
    expect(likes.experts?.likes.every((l) => l.equal)).toBe(true);
    expect([likes.added, likes.removed, likes.identical]).toEqual([[], [], false]);
    const dense = await diff(folderOf(denseTensors()), folderOf(packed, MIXTRAL));
    expect(dense.experts?.distances.map((d) => [d.neurons.kind, d.exactScale])).toEqual([
      ['identity', 1],
      ['matched', 4],
      ['identity', 1],
      ['matched', 4],
    ]);
  });

  it('leaves transposed stacks alone and names them', async () => {
    const packed = mixtral([]).concat(
      { name: 'model.layers.0.feed_forward.experts.gate_up_proj', shape: [2, H, 2 * I] },
      { name: 'model.layers.0.feed_forward.experts.down_proj', shape: [2, I, H] },
    );
    const config = { ...MIXTRAL, model_type: 'llama4_text' };
    const report = await diff(folderOf(denseTensors()), folderOf(packed, config));
    expect(report.experts?.skipped ?? report.added).toEqual(
      expect.arrayContaining(['model.layers.0.feed_forward.experts.gate_up_proj']),
    );
    expect(report.experts?.distances ?? []).toEqual([]);
  });
});

describe('sums', () => {
  it('agree with a plain computation, in any cutting', () => {
    const number = fc.integer({ min: -(10 ** 9), max: 10 ** 9 }).map((n) => n / 1024);
    const values = fc.array(fc.tuple(number, number), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(values, fc.nat(30), (pairs, cut) => {
        const a = Float64Array.from(pairs.map(([x]) => x));
        const b = Float64Array.from(pairs.map(([, y]) => y));
        const at = Math.min(cut, pairs.length);
        const sums = new Accumulator();
        sums.add(a, b, at);
        sums.add(a, b, pairs.length - at, at, at);
        const { relativeL2, maxAbs, elements } = sums.distance();
        const norm = Math.sqrt(pairs.reduce((s, [x]) => s + x * x, 0));
        const far = Math.sqrt(pairs.reduce((s, [x, y]) => s + (y - x) ** 2, 0));
        expect(elements).toBe(pairs.length);
        expect(maxAbs).toBe(Math.max(...pairs.map(([x, y]) => Math.abs(y - x))));
        if (norm > 0 && Number.isFinite(far / norm)) {
          expect(Math.abs((relativeL2 ?? NaN) - far / norm)).toBeLessThanOrEqual((1e-9 * far) / norm);
        }
      }),
    );
  });

  it('find one factor for all values, or none', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: -1000, max: 1000 }), { minLength: 2, maxLength: 20 }),
        fc.integer({ min: -8, max: 8 }),
        (xs, power) => {
          fc.pre(xs.some((x) => x !== 0));
          const factor = 2 ** power;
          const a = Float64Array.from(xs);
          const b = a.map((x) => x * factor);
          const sums = new Accumulator();
          sums.add(a, b, a.length);
          expect(sums.scaled()).toMatchObject({ exactScale: factor, residual: 0 });
          const i = xs.findIndex((x) => x !== 0);
          b[i] = (b[i] ?? 0) + 1e-3;
          const off = new Accumulator();
          off.add(a, b, a.length);
          if (xs.filter((x) => x !== 0).length > 1) expect(off.scaled().exactScale).toBeNull();
        },
      ),
    );
  });

  it('know powers of two', () => {
    for (const p of [1, 2, 0.25, 2 ** -14, 2 ** 40]) expect(isPowerOfTwo(p)).toBe(true);
    for (const p of [0, -2, 3, 1.5, NaN, Infinity]) expect(isPowerOfTwo(p)).toBe(false);
  });
});

describe('configs', () => {
  it('differ by dotted fields', () => {
    expect(configChanges({ a: { b: 1, c: [1] } }, { a: { b: 2, c: [1] } })).toEqual([{ field: 'a.b', a: 1, b: 2 }]);
    expect(configChanges(null, {})).toBeNull();
  });
});
