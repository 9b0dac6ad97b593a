import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { f32ToBf16, f32ToF16 } from 'safetensors-js';
import { describe, expect, it } from 'vitest';
import { doctor, rebuildIndex } from '../../src/doctor/index.ts';
import { newFindings, scannerOf } from '../../src/doctor/scan-values.ts';
import {
  TINY_CONFIG,
  codes,
  failure,
  problem,
  temporaryFolder,
  tinyDense,
  writeIndex,
  writeJson,
  writeModel,
} from '../checkpoint/files.ts';
import type { TestTensor } from '../checkpoint/files.ts';

function folderOf(tensors: readonly TestTensor[], config: unknown = TINY_CONFIG): string {
  const folder = temporaryFolder();
  writeModel(join(folder, 'model.safetensors'), tensors);
  writeJson(join(folder, 'config.json'), config);
  return folder;
}

/** One layer of four experts of width 2 and hidden size 4; `values(e)` fills expert e. */
function experts(values: (expert: number) => number, layer = 0): TestTensor[] {
  const at = `model.layers.${String(layer)}.mlp.`;
  return [
    { name: `${at}gate.weight`, shape: [4, 4], values: new Array<number>(16).fill(0) },
    ...[0, 1, 2, 3].flatMap((e) =>
      ['gate_proj', 'up_proj', 'down_proj'].map((part, p): TestTensor => ({
        name: `${at}experts.${String(e)}.${part}.weight`,
        shape: part === 'down_proj' ? [4, 2] : [2, 4],
        values: Array.from({ length: 8 }, (_, i) => values(e) + i / 16 + p),
      })),
    ),
  ];
}

describe('a healthy checkpoint', () => {
  it('is looked at whole', async () => {
    const tensors = tinyDense();
    const seen: number[] = [];
    const report = await doctor(folderOf(tensors), { onProgress: (p) => seen.push(p.bytesDone / p.bytesTotal) });
    const values = tensors.reduce((sum, t) => sum + t.shape.reduce((a, b) => a * b, 1), 0);
    expect(report).toMatchObject({
      healthy: true,
      problems: [],
      checked: { tensors: tensors.length, values, bytes: 4 * values },
    });
    expect(seen.at(-1)).toBe(1);
  });

  it('can be cancelled', async () => {
    const controller = new AbortController();
    const folder = folderOf(tinyDense());
    const cancelled = await failure(() =>
      doctor(folder, { signal: controller.signal, onProgress: () => controller.abort() }),
    );
    expect(cancelled).toMatchObject({ kind: 'cancelled' });
  });
});

describe('values that are not finite', () => {
  it('are found, counted and placed', async () => {
    const values = Array.from({ length: 96 }, (_, i) => i);
    values[25] = NaN;
    values[40] = Infinity;
    values[41] = -Infinity;
    const tensors = tinyDense().map((t) => (t.name === 'model.layers.1.mlp.gate_proj.weight' ? { ...t, values } : t));
    const folder = folderOf(tensors);
    const report = await doctor(folder);
    expect(report.healthy).toBe(false);
    const found = problem(report.problems, 'values-not-finite');
    expect(found).toMatchObject({
      severity: 'error',
      tensor: 'model.layers.1.mlp.gate_proj.weight',
      details: { nan: 1, infinite: 2, first: 25 },
    });
    expect(found.message).toContain('1 NaN and 2 infinite values, the first at index [3, 1]');
    expect(readFileSync(join(folder, 'model.safetensors')).readFloatLE(found.byte)).toBeNaN();
  });

  const floats = [
    ['F32', 4, (v: Float32Array) => v],
    ['BF16', 2, (v: Float32Array) => f32ToBf16(v)],
    ['F16', 2, (v: Float32Array) => f32ToF16(v)],
    ['F64', 8, (v: Float32Array) => Float64Array.from(v)],
  ] as const;

  it.each(floats)('%s: the bit tests agree with Number.isFinite on any numbers', (dtype, size, convert) => {
    const special = fc.constantFrom(NaN, Infinity, -Infinity, 0, -0, 3.4e38, -3.4e38, 65504, 1e-45, 6e-8);
    const number = fc.oneof(fc.float(), special, fc.constant(1));
    fc.assert(
      fc.property(fc.array(number, { maxLength: 40 }), fc.nat(1000), (numbers, index) => {
        const stored = convert(Float32Array.from(numbers));
        const bytes = new Uint8Array(stored.buffer.slice(0));
        const { scan, unit } = scannerOf(dtype);
        expect(unit).toBe(size);
        const found = newFindings();
        scan(bytes, index, found);
        // What the dtype makes of the numbers: f16 overflows beyond 65504, bf16 near the top of f32.
        const back = [...numbers].map((n) =>
          dtype === 'F16' ? overflow(n, 65520) : dtype === 'BF16' ? overflow(n, 3.3961775292304957e38) : Math.fround(n),
        );
        expect(found.nan).toBe(back.filter((n) => Number.isNaN(n)).length);
        expect(found.infinite).toBe(back.filter((n) => Math.abs(n) === Infinity).length);
        const first = back.findIndex((n) => !Number.isFinite(n));
        expect(found.first).toBe(first < 0 ? -1 : index + first);
        expect(found.zero).toBe(bytes.every((b) => b === 0));
      }),
      { numRuns: 200 },
    );
  });

  it('are known in every 8-bit float', () => {
    const bad = (dtype: Parameters<typeof scannerOf>[0]): number[] => {
      const found: number[] = [];
      for (let code = 0; code < 256; code++) {
        const into = newFindings();
        scannerOf(dtype).scan(Uint8Array.of(code), 0, into);
        if (into.first >= 0) found.push(code);
      }
      return found;
    };
    expect(bad('F8_E4M3')).toEqual([0x7f, 0xff]);
    expect(bad('F8_E5M2')).toEqual([0x7c, 0x7d, 0x7e, 0x7f, 0xfc, 0xfd, 0xfe, 0xff]);
    expect(bad('F8_E4M3FNUZ')).toEqual([0x80]);
    expect(bad('F8_E8M0')).toEqual([0xff]);
    expect(bad('I8')).toEqual([]);
  });

  it('are seen in the scales of quantised blocks', () => {
    const block = Buffer.alloc(34 * 3, 1);
    block.writeUInt16LE(0x7c00, 34 * 2);
    const found = newFindings();
    scannerOf('Q8_0').scan(block, 0, found);
    expect(found).toMatchObject({ nan: 0, infinite: 1, first: 2 });
  });
});

const CONFIG = {
  ...TINY_CONFIG,
  model_type: 'some_moe',
  num_hidden_layers: 1,
  hidden_size: 4,
  num_experts: 4,
  num_experts_per_tok: 2,
  moe_intermediate_size: 2,
};

describe('equal experts', () => {
  it('are information when a whole layer is equal', async () => {
    const report = await doctor(
      folderOf(
        experts(() => 1),
        CONFIG,
      ),
    );
    const found = problem(report.problems, 'experts-identical');
    expect(found.severity).toBe('info');
    expect(found.message).toContain('expected at step 0 after copy upcycling');
    expect(report.healthy).toBe(true);
  });

  it('are a warning when only some are, and information beside a manifest', async () => {
    const folder = folderOf(
      experts((e) => e % 2),
      CONFIG,
    );
    const found = problem((await doctor(folder)).problems, 'experts-partly-identical');
    expect(found.severity).toBe('warning');
    expect(found.message).toContain('layer 0: 0 = 2, 1 = 3');
    writeJson(join(folder, 'moe-manifest.json'), {});
    expect(problem((await doctor(folder)).problems, 'experts-partly-identical').severity).toBe('info');
  });

  it('must be equal in all three matrices, to the last byte', async () => {
    const tensors = experts(() => 1).map((t) =>
      t.name.includes('experts.2.down') && Array.isArray(t.values) ? { ...t, values: [...t.values.slice(0, 7), 9] } : t,
    );
    const found = problem((await doctor(folderOf(tensors, CONFIG))).problems, 'experts-partly-identical');
    expect(found.message).toContain('layer 0: 0 = 1 = 3');
    const distinct = await doctor(
      folderOf(
        experts((e) => e),
        CONFIG,
      ),
    );
    expect(codes(distinct.problems).filter((code) => code.startsWith('experts-'))).toEqual([]);
  });

  it('are seen beyond the sample that is compared first', async () => {
    // Equal in the middle, different at the end: the whole must decide.
    const values = (e: number): number[] => Array.from({ length: 64 * 64 }, (_, i) => (i === 4095 ? e : i));
    const tensors = [0, 1].map((e): TestTensor => ({
      name: `model.layers.0.mlp.experts.${String(e)}.up_proj.weight`,
      shape: [64, 64],
      values: values(e),
    }));
    expect(codes((await doctor(folderOf(tensors, {}))).problems)).not.toContain('experts-identical');
  });

  it('are compared inside packed tensors', async () => {
    const one = [1, 2, 3, 4, 5, 6, 7, 8];
    const tensors: TestTensor[] = [
      { name: 'model.layers.0.mlp.experts.gate_up_proj', shape: [3, 4, 2], values: [...one, ...one, ...one] },
      { name: 'model.layers.0.mlp.experts.down_proj', shape: [3, 2, 2], values: [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 5] },
    ];
    const found = problem((await doctor(folderOf(tensors, {}))).problems, 'experts-partly-identical');
    expect(found.message).toContain('layer 0: 0 = 1');
  });
});

describe('a tied head that is stored anyway', () => {
  it('is compared with the embedding', async () => {
    const embed = Array.from({ length: 128 }, (_, i) => i / 8);
    const withHead = (head: number[]): string =>
      folderOf(
        tinyDense({ head: true }).map((t) =>
          t.name === 'lm_head.weight' ? { ...t, values: head } : t.name.includes('embed') ? { ...t, values: embed } : t,
        ),
      );
    const same = await doctor(withHead(embed));
    expect(problem(same.problems, 'tied-head-equal').severity).toBe('info');
    expect(same.healthy).toBe(true);
    const other = await doctor(withHead([...embed.slice(0, 127), 7]));
    expect(problem(other.problems, 'tied-head-differs').severity).toBe('error');
    expect(other.healthy).toBe(false);
  });
});

describe('other findings', () => {
  it('mentions weights that are all zeros', async () => {
    const tensors = tinyDense().map((t) =>
      t.name === 'model.layers.0.mlp.down_proj.weight' ? { ...t, values: new Array<number>(96).fill(0) } : t,
    );
    const report = await doctor(folderOf(tensors));
    expect(problem(report.problems, 'all-zero')).toMatchObject({ severity: 'info', details: { count: 1 } });
    expect(report.healthy).toBe(true);
  });

  it('reports a refused file instead of failing, and a folder without weights', async () => {
    const folder = folderOf(tinyDense());
    const file = join(folder, 'model.safetensors');
    writeFileSync(file, readFileSync(file).subarray(0, -3));
    const cut = await doctor(folder);
    expect(cut.healthy).toBe(false);
    expect(codes(cut.problems, 'error')).toContain('file-truncated');
    rmSync(file);
    expect(codes((await doctor(folder)).problems, 'error')).toEqual(['no-weights']);
    expect((await failure(() => doctor(join(folder, 'nothing')))).code).toBe('not-found');
  });
});

describe('rebuilding the index', () => {
  const shards = (): string => {
    const folder = temporaryFolder();
    writeModel(join(folder, 'model-00001-of-00002.safetensors'), [{ name: 'a.weight', shape: [2] }]);
    writeModel(join(folder, 'model-00002-of-00002.safetensors'), [{ name: 'b.weight', shape: [3] }]);
    return folder;
  };

  it('writes what transformers would, and says what changed', async () => {
    const folder = shards();
    writeIndex(folder, {
      'a.weight': 'model-00001-of-00002.safetensors',
      'c.weight': 'model-00002-of-00002.safetensors',
    });
    const result = await rebuildIndex(folder);
    expect(result).toMatchObject({ entries: 2, totalSize: 20, added: ['b.weight'], removed: ['c.weight'] });
    expect(readFileSync(result.path, 'utf8')).toBe(
      '{\n  "metadata": {\n    "total_size": 20\n  },\n  "weight_map": {\n' +
        '    "a.weight": "model-00001-of-00002.safetensors",\n    "b.weight": "model-00002-of-00002.safetensors"\n  }\n}\n',
    );
    expect((await doctor(folder)).problems).toEqual([]);
  });

  it('is refused while it would hide something', async () => {
    const folder = shards();
    writeModel(join(folder, 'model-00002-of-00002.safetensors'), [{ name: 'a.weight', shape: [3] }]);
    expect((await failure(() => rebuildIndex(folder))).code).toBe('cannot-rebuild-index');
    rmSync(join(folder, 'model-00002-of-00002.safetensors'));
    expect((await failure(() => rebuildIndex(folder))).code).toBe('cannot-rebuild-index');
  });
});

/** The value after rounding to a type whose largest finite numbers round up to infinity from `limit` on. */
function overflow(n: number, limit: number): number {
  const f = Math.fround(n);
  return Math.abs(f) >= limit ? Math.sign(f) * Infinity : f;
}
