import { existsSync, readFileSync, readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DTYPES, DTYPE_BITS, toFloat64 } from 'safetensors-js';
import type { Dtype } from 'safetensors-js';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { readGgufHeader } from '../../src/gguf/header.ts';
import { readStoredTensor } from '../../src/gguf/tensor-data.ts';
import { tensorStats } from '../../src/protocol/checkpoint.ts';
import type { TensorStats } from '../../src/protocol/checkpoint.ts';
import { exportNpy, npyHeader } from '../../src/stats/npy.ts';
import { QUANTILES } from '../../src/stats/quantiles.ts';
import { tensorStatistics } from '../../src/stats/tensor-stats.ts';
import { gguf, kv, scratch, tensorInfo } from '../gguf/build.ts';
import { checkpointWith, f32, tempPath } from './make.ts';

const scratchFiles = scratch();

const LINEAR = { bins: 7, scale: 'linear', first: 5 } as const;

async function statsOf(
  dtype: Dtype,
  data: Uint8Array,
  options: Parameters<typeof tensorStatistics>[2] = LINEAR,
): Promise<TensorStats> {
  const elements = (data.length * 8) / DTYPE_BITS[dtype];
  const cp = await checkpointWith([{ name: 'x', dtype, shape: [elements], data }]);
  const stats = await tensorStatistics(cp, 'x', options);
  tensorStats.parse(stats);
  return stats;
}

/** The plainest way: everything in memory, sorted. */
function naive(values: readonly number[]): Pick<
  TensorStats,
  'finite' | 'nan' | 'zeros' | 'min' | 'max' | 'mean' | 'std' | 'absMean' | 'norm'
> & {
  quantiles: number[];
} {
  const finite = values.filter(Number.isFinite).sort((a, b) => a - b);
  const n = finite.length;
  const sum = (f: (x: number) => number): number => finite.reduce((total, x) => total + f(x), 0);
  const mean = sum((x) => x) / n;
  return {
    finite: n,
    nan: values.filter(Number.isNaN).length,
    zeros: finite.filter((x) => x === 0).length,
    min: finite[0] ?? null,
    max: finite.at(-1) ?? null,
    mean: n === 0 ? null : mean,
    std: n === 0 ? null : Math.sqrt(sum((x) => (x - mean) ** 2) / n),
    absMean: n === 0 ? null : sum(Math.abs) / n,
    norm: n === 0 ? null : Math.sqrt(sum((x) => x * x)),
    quantiles: QUANTILES.map((q) => {
      const at = q * (n - 1);
      const [low, high] = [finite[Math.floor(at)] ?? NaN, finite[Math.ceil(at)] ?? NaN];
      return low + (high - low) * (at - Math.floor(at));
    }),
  };
}

function near(actual: number | null, wanted: number | null, scale: number): void {
  if (wanted === null || actual === null) expect(actual).toBe(wanted);
  else expect(Math.abs(actual - wanted)).toBeLessThanOrEqual(1e-9 * Math.max(Math.abs(wanted), scale));
}

describe('tensor statistics', () => {
  it('by hand', async () => {
    const cp = await checkpointWith([f32('x', [2, 4], [-1, 0, 1, 2, NaN, Infinity, -Infinity, 4])]);
    const stats = await tensorStatistics(cp, 'x', { bins: 5, scale: 'linear', first: 8 });
    tensorStats.parse(stats);
    expect(stats).toMatchObject({
      elements: 8,
      finite: 5,
      nan: 1,
      positiveInfinite: 1,
      negativeInfinite: 1,
      zeros: 1,
      min: -1,
      max: 4,
      mean: 1.2,
      absMean: 1.6,
      first: [-1, 0, 1, 2, 'NaN', 'Infinity', '-Infinity', 4],
    });
    // Deviations −2.2, −1.2, −0.2, 0.8, 2.8: squares sum to 14.8.
    expect(stats.std).toBeCloseTo(Math.sqrt(14.8 / 5), 12);
    expect(stats.norm).toBeCloseTo(Math.sqrt(22), 12);
    expect(stats.quantiles.how).toBe('exact');
    expect(stats.quantiles.values.find(({ q }) => q === 0.5)?.value).toBe(1);
    expect(stats.quantiles.values.find(({ q }) => q === 0.25)?.value).toBe(0);
    // One of each: the last bin takes its upper edge.
    expect(stats.histogram).toEqual({
      scale: 'linear',
      edges: [-1, 0, 1, 2, 3, 4],
      counts: [1, 1, 1, 1, 1],
      zeros: 0,
      outside: 0,
    });
  });

  it('puts decades of either sign apart', async () => {
    const cp = await checkpointWith([f32('x', [7], [-100, -1, 0, 0, 1, 10, 100])]);
    const { histogram } = await tensorStatistics(cp, 'x', { bins: 4, scale: 'log', first: 0 });
    expect(histogram?.edges.map((edge) => Math.round(edge))).toEqual([-100, -10, -1, 1, 10, 100]);
    // Bins hold their lower edge: −1 is in [−1, 1), 10 in [10, 100].
    expect(histogram?.counts).toEqual([1, 0, 1, 1, 2]);
    expect(histogram?.zeros).toBe(2);
  });

  it('puts a value into its bin where edges are too close for float64 to tell apart', async () => {
    const data = new Uint8Array(BigInt64Array.of(2n ** 51n).buffer);
    const { histogram } = await statsOf('I64', data);
    expect(histogram?.counts.reduce((a, b) => a + b, 0)).toBe(1);
    const at = histogram?.counts.indexOf(1) ?? -1;
    const [from = 0, to = 0] = histogram?.edges.slice(at, at + 2) ?? [];
    expect(from <= 2 ** 51 && 2 ** 51 < to).toBe(true);
  });

  it('equals the plain computation for every dtype and any bits', async () => {
    for (const dtype of DTYPES) {
      if (dtype === 'C64' || dtype.startsWith('F6')) continue;
      await fc.assert(
        fc.asyncProperty(
          fc.uint8Array({ minLength: 1, maxLength: 40 }),
          fc.constantFrom('linear', 'log'),
          async (bytes, scale) => {
            const unit = Math.max(1, DTYPE_BITS[dtype] / 8);
            const data = new Uint8Array(Math.ceil(bytes.length / unit) * unit);
            data.set(bytes);
            const values = [...toFloat64(dtype, data)];
            const stats = await statsOf(dtype, data, { ...LINEAR, scale });
            const wanted = naive(values);
            expect([stats.elements, stats.finite, stats.nan, stats.zeros]).toEqual([
              values.length,
              wanted.finite,
              wanted.nan,
              wanted.zeros,
            ]);
            // Which zero of several is the least or the most is nobody's business.
            const unsigned = (ends: readonly (number | null)[]) => ends.map((end) => (end === 0 ? 0 : end));
            expect(unsigned([stats.min, stats.max])).toEqual(unsigned([wanted.min, wanted.max]));
            const size = Math.max(Math.abs(wanted.min ?? 0), Math.abs(wanted.max ?? 0));
            // Sums of squares beyond float64 are left out, and not tested here.
            if (size < 1e150) {
              near(stats.mean, wanted.mean, size);
              near(stats.std, wanted.std, size);
              near(stats.absMean, wanted.absMean, size);
              near(stats.norm, wanted.norm, size);
            }
            expect(stats.first.map(Number)).toEqual(values.slice(0, 5).map((x) => x));
            if (DTYPE_BITS[dtype] <= 16 || dtype === 'F32') {
              const found = stats.quantiles.values.map(({ value }) => value);
              expect(found).toHaveLength(wanted.finite === 0 ? 0 : QUANTILES.length);
              found.forEach((value, i) => {
                near(value, wanted.quantiles[i] ?? null, size);
              });
            }
            if (stats.histogram !== null) {
              const counted =
                stats.histogram.counts.reduce((a, b) => a + b, 0) + stats.histogram.zeros + stats.histogram.outside;
              expect(counted).toBe(wanted.finite);
              expect(stats.histogram.outside).toBe(0);
              stats.histogram.counts.forEach((count, i) => {
                const [from = 0, to = 0] = stats.histogram?.edges.slice(i, i + 2) ?? [];
                const last = i === (stats.histogram?.counts.length ?? 0) - 1;
                const inside = values.filter(
                  (x) => x >= from && (last ? x <= to : x < to) && !(scale === 'log' && x === 0),
                );
                expect(count).toBe(inside.length);
              });
            }
          },
        ),
        { numRuns: 12 },
      );
    }
  });

  it('is the same over several chunks', async () => {
    const values = Float32Array.from({ length: 700_000 }, (_, i) => ((i * 7919) % 700_001) / 1000 - 350);
    const stats = await statsOf('F32', new Uint8Array(values.buffer), { bins: 10, scale: 'linear', first: 3 });
    const wanted = naive([...values]);
    expect(stats.quantiles.values.map(({ value }) => value)).toEqual(wanted.quantiles.map((x) => x));
    near(stats.std, wanted.std, 1);
    expect(stats.bytesRead).toBe(2 * values.byteLength);
    expect(stats.histogram?.counts.reduce((a, b) => a + b)).toBe(700_000);
  });

  it('dequantises GGUF', async () => {
    // Q8_0: a float16 scale, then 32 signed bytes. Scales 0.5 and 2.
    const block = (scale: number, bytes: readonly number[]): Buffer =>
      Buffer.concat([Buffer.from([scale & 255, scale >> 8]), Buffer.from(bytes.map((x) => x & 255))]);
    const ramp = Array.from({ length: 32 }, (_, i) => i - 16);
    const data = Buffer.concat([block(0x3800, ramp), block(0x4000, ramp)]);
    const { file } = scratchFiles;
    const path = file(
      gguf({ keys: [kv.text('general.architecture', 'llama')], tensors: [tensorInfo('w', [32, 2], 8, 0)], data }),
    );
    const cp = await openCheckpoint(path, { lenient: true });
    const stats = await tensorStatistics(cp, 'w', LINEAR);
    tensorStats.parse(stats);
    const wanted = naive([...ramp.map((x) => x / 2), ...ramp.map((x) => x * 2)]);
    expect(stats).toMatchObject({
      elements: 64,
      min: -32,
      max: 30,
      zeros: 2,
      first: [-8, -7.5, -7, -6.5, -6],
      bytesRead: 136,
    });
    expect(stats.mean).toBeCloseTo(-1.25 / 2, 12);
    near(stats.norm, wanted.norm, 1);
    expect(stats.quantiles.values.map(({ value }) => value)).toEqual(wanted.quantiles);
    expect(stats.notes.join()).toContain('dequantised');
  });

  it('reads every tensor of a GGUF model as the GGUF reader does', async () => {
    const path = join(dirname(fileURLToPath(import.meta.url)), '../gguf/fixtures/models/mixtral.gguf');
    const cp = await openCheckpoint(path);
    for (const tensor of readGgufHeader(path).tensors.values()) {
      const stats = await tensorStatistics(cp, tensor.name, LINEAR);
      const wanted = naive([...readStoredTensor(tensor)]);
      expect([stats.min, stats.max, stats.finite]).toEqual([wanted.min, wanted.max, wanted.finite]);
      near(stats.norm, wanted.norm, 1);
    }
  });

  it('says what it cannot do', async () => {
    const cp = await checkpointWith([
      { name: 'c', dtype: 'C64', shape: [1], data: new Uint8Array(8) },
      f32('x', [4], [1, 2, 3, 4]),
    ]);
    await expect(tensorStatistics(cp, 'c', LINEAR)).rejects.toMatchObject({ code: 'stats-dtype' });
    await expect(tensorStatistics(cp, 'y', LINEAR)).rejects.toMatchObject({ code: 'unknown-tensor' });
    await expect(tensorStatistics({ ...cp, planOnly: true }, 'x', LINEAR)).rejects.toMatchObject({
      code: 'stats-no-data',
    });
    await expect(tensorStatistics(cp, 'x', { ...LINEAR, signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'cancelled',
    });
    truncateSync(join(cp.root, 'model.safetensors'), 100);
    await expect(tensorStatistics(cp, 'x', LINEAR)).rejects.toMatchObject({ code: 'file-truncated' });
  });

  it('takes an empty tensor', async () => {
    const cp = await checkpointWith([
      { name: 'x', dtype: 'BF16', shape: [0, 4], data: new Uint8Array(0) },
      { name: 'y', dtype: 'F32', shape: [0], data: new Uint8Array(0) },
    ]);
    for (const name of ['x', 'y']) {
      const stats = await tensorStatistics(cp, name, LINEAR);
      tensorStats.parse(stats);
      expect(stats).toMatchObject({
        elements: 0,
        min: null,
        mean: null,
        histogram: null,
        first: [],
        quantiles: { values: [] },
      });
    }
  });
});

describe('npy', () => {
  it('has the header that numpy writes', () => {
    // numpy.save of zeros([2, 3], '<f4'): checked against numpy 2.
    const header = npyHeader('<f4', [2, 3]);
    expect(header.subarray(0, 10).toString('hex')).toBe('934e554d50590100' + '7600');
    expect(header.subarray(10).toString('latin1')).toBe(
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }".padEnd(117) + '\n',
    );
    expect(npyHeader('<f4', [5]).toString('latin1')).toContain("'shape': (5,), }");
    expect(npyHeader('<f4', []).toString('latin1')).toContain("'shape': (), }");
    const long = npyHeader(
      '<f4',
      Array.from({ length: 30_000 }, () => 1),
    );
    expect(long[6]).toBe(2);
    expect(long.length % 64).toBe(0);
  });

  it('writes bytes as they are, or as float32, whole or not at all', async () => {
    const half = new Uint8Array(Uint16Array.of(0x3f80, 0xc000, 0x7fc0).buffer);
    const cp = await checkpointWith([
      f32('a', [2, 2], [1, 2, 3, 4]),
      { name: 'b', dtype: 'BF16', shape: [3], data: half },
      { name: 'c', dtype: 'F4', shape: [2], data: Uint8Array.of(0x2a) },
    ]);
    const a = tempPath('a.npy');
    expect(await exportNpy(cp, 'a', a, { overwrite: false })).toEqual({
      path: a,
      bytes: 144,
      descr: '<f4',
      converted: null,
    });
    expect(new Float32Array(new Uint8Array(readFileSync(a)).buffer, 128)).toEqual(Float32Array.of(1, 2, 3, 4));
    await expect(exportNpy(cp, 'a', a, { overwrite: false })).rejects.toMatchObject({ code: 'exists' });
    const b = await exportNpy(cp, 'b', a, { overwrite: true });
    expect(b).toMatchObject({ bytes: 140, converted: 'BF16 to float32' });
    expect([...new Float32Array(new Uint8Array(readFileSync(a)).buffer, 128)]).toEqual([1, -2, NaN]);
    await exportNpy(cp, 'c', a, { overwrite: true });
    expect([...new Float32Array(new Uint8Array(readFileSync(a)).buffer, 128)]).toEqual([-1, 1]);
    const gone = tempPath('no/such/folder.npy');
    await expect(exportNpy(cp, 'a', gone, { overwrite: false })).rejects.toMatchObject({ code: 'write-failed' });
    const cancelled = tempPath('cancelled.npy');
    await expect(
      exportNpy(cp, 'a', cancelled, { overwrite: false, signal: AbortSignal.abort() }),
    ).rejects.toMatchObject({ code: 'cancelled' });
    expect(existsSync(cancelled)).toBe(false);
    expect(readdirSync(dirname(a)).filter((name) => name.endsWith('.part'))).toEqual([]);
    writeFileSync(a, '');
  });
});
