/**
 * Gradients of whole models, dense and MoE of every family, against central differences of the independent float64 forward and
 * against torch's autograd (gradient-goldens.json, made by test/interop/make_gradients.py).
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../src/common/json.ts';
import type { WeightSource } from '../../src/model/weights.ts';
import type { TestTensor } from '../forward/forward.ts';
import { readTensors } from '../forward/reader.ts';
import { openFolder } from './folder.ts';
import { modelGradients, slope } from './gradients.ts';
import type { Loss, WeightGradient } from './gradients.ts';
import { mixtralConfig, mixtralSource, sequence, uniform } from './random-model.ts';

const DIRECTIONS = 2;

/** Largest error of a slope, over the norm of the weight's gradient, and where. */
function worstSlope(
  config: JsonObject,
  tensors: ReadonlyMap<string, TestTensor>,
  loss: Loss,
  found: readonly WeightGradient[],
): { readonly error: number; readonly at: string } {
  const random = uniform(11);
  let worst = { error: 0, at: '' };
  for (const { ref, values } of found) {
    const norm = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
    for (let i = 0; i < DIRECTIONS; i++) {
      const direction = Array.from(values, () => (random() < 0.5 ? -1 : 1));
      const ours = direction.reduce((sum, sign, at) => sum + sign * (values[at] ?? Number.NaN), 0);
      const theirs = slope(config, tensors, loss, ref, direction);
      // An idle expert's gradient is exactly zero on both sides.
      const error = norm === 0 && theirs === 0 ? 0 : Math.abs(ours - theirs) / norm;
      if (!(error <= worst.error)) worst = { error, at: `${ref.tensor}: ${ours} against ${theirs}` };
    }
  }
  return worst;
}

const lossFor = (vocabulary: number, length: number, seed: number): Loss => {
  const random = uniform(seed);
  const ids = Array.from({ length }, () => Math.floor(random() * vocabulary));
  return {
    ids,
    targets: ids.map(() => Math.floor(random() * vocabulary)),
    // A mask among them, as for prompts that are not trained on.
    weights: ids.map((_, i) => (i === 1 ? 0 : -1 / length)),
  };
};

const fixtures = path.resolve(import.meta.dirname, '../forward/fixtures');

describe('gradients of every family, by every weight', () => {
  it.each(fs.readdirSync(fixtures))('%s', async (name) => {
    const folder = path.join(fixtures, name);
    const { config, source } = openFolder(folder);
    const tensors = readTensors(folder);
    const loss = lossFor(Number(config['vocab_size']), 9, 5);
    const { gradients } = await modelGradients(config, source, loss);
    // Nothing is left out: every tensor has one, in one piece or several.
    expect(new Set(gradients.map(({ ref }) => ref.tensor))).toEqual(new Set(tensors.keys()));
    const { error, at } = worstSlope(config, tensors, loss, gradients);
    expect(error, at).toBeLessThan(1e-5);
  });
});

/** The whole gradient of every tensor: those of its pieces put together. */
function byTensor(
  found: readonly WeightGradient[],
  tensors: ReadonlyMap<string, TestTensor>,
): Map<string, Float64Array> {
  const whole = new Map([...tensors].map(([name, { data }]) => [name, new Float64Array(data.length)]));
  for (const { ref, values } of found)
    values.forEach((value, i) => {
      const gradient = whole.get(ref.tensor);
      if (gradient !== undefined) gradient[ref.start + i] = (gradient[ref.start + i] ?? Number.NaN) + value;
    });
  return whole;
}

/** Numbers in [-0.5, 0.5) that torch's script makes too. */
const golden = (i: number, factor: number): number => ((i * factor + 17) % 211) / 211 - 0.5;

describe("gradients of every family equal torch's", () => {
  const goldens = JSON.parse(
    fs.readFileSync(path.join(import.meta.dirname, 'gradient-goldens.json'), 'utf8'),
  ) as Readonly<Record<string, Readonly<Record<string, readonly [number, number, number]>>>>;

  const folders = new Map(
    [fixtures, `${fixtures}-running`].flatMap((all) =>
      fs.readdirSync(all).map((name) => [name, path.join(all, name)] as const),
    ),
  );

  it('has goldens of every model', () => {
    expect(Object.keys(goldens).sort()).toEqual([...folders.keys()].sort());
  });

  it.each(Object.entries(goldens))('%s', async (name, expected) => {
    const folder = folders.get(name) ?? '';
    const { config, source } = openFolder(folder);
    const vocabulary = Number(config['vocab_size']);
    const loss: Loss = {
      ids: Array.from({ length: 9 }, (_, i) => (7 * i + 3) % vocabulary),
      targets: Array.from({ length: 9 }, (_, i) => (5 * i + 1) % vocabulary),
      weights: Array.from({ length: 9 }, (_, i) => (i === 1 ? 0 : -1 / 9)),
    };
    const { gradients } = await modelGradients(config, source, loss);
    // What moves the choice alone has no gradient.
    const tensors = [...readTensors(folder)].filter(([tensor]) => !tensor.endsWith('e_score_correction_bias'));
    const ours = byTensor(gradients, new Map(tensors));
    expect([...ours.keys()].sort()).toEqual(Object.keys(expected).sort());
    let worst = { error: 0, at: '' };
    for (const [tensor, [norm, first, second]] of Object.entries(expected)) {
      const values = ours.get(tensor) ?? new Float64Array();
      const found = [
        Math.sqrt(values.reduce((sum, value) => sum + value * value, 0)),
        ...[7919, 104729].map((factor) => values.reduce((sum, value, i) => sum + value * golden(i, factor), 0)),
      ];
      [norm, first, second].forEach((value, i) => {
        const off = Math.abs((found[i] ?? Number.NaN) - value);
        const error = norm === 0 && off === 0 ? 0 : off / norm;
        if (!(error <= worst.error)) worst = { error, at: `${tensor}: ${String(found[i])} against ${value}` };
      });
    }
    expect(worst.error, worst.at).toBeLessThan(3e-6);
  });
});

function tensorsOf(source: WeightSource): Map<string, TestTensor> {
  const tensors = new Map<string, TestTensor>();
  for (const name of source.names()) {
    const entry = source.get(name);
    if (entry?.data.kind !== 'memory') throw new Error('not in memory');
    const { bytes } = entry.data;
    const data = Float64Array.from(new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4));
    tensors.set(name, { shape: entry.shape, data });
  }
  return tensors;
}

describe('gradients of a mixture', () => {
  it.each([
    { experts: 1, topK: 1 },
    { experts: 4, topK: 1 },
    { experts: 3, topK: 3 },
    // Most experts are idle.
    { experts: 24, topK: 2, layers: 1 },
  ])('$experts experts, top-$topK', async (shape) => {
    const [config, source] = [mixtralConfig(shape), mixtralSource(shape, 7)];
    const loss = { ...lossFor(17, 6, 3), ids: sequence(6, 3) };
    const { gradients } = await modelGradients(config, source, loss);
    const { error, at } = worstSlope(config, tensorsOf(source), loss, gradients);
    expect(error, at).toBeLessThan(1e-5);
    const experts = gradients.filter(({ ref }) => ref.tensor.includes('experts.'));
    const idle = experts.filter(({ values }) => values.every((value) => value === 0));
    expect(experts.every(({ values }) => values.every(Number.isFinite))).toBe(true);
    if (shape.experts > 12) expect(idle.length).toBeGreaterThan(24);
  });

  it('two threads give the same bits in every run, repeated tokens or not', async () => {
    const shape = { experts: 4, topK: 2 };
    const [config, source] = [mixtralConfig(shape), mixtralSource(shape, 7)];
    const loss: Loss = { ...lossFor(17, 40, 3), ids: Array.from({ length: 40 }, (_, i) => i % 3) };
    const first = await modelGradients(config, source, loss, {}, 2);
    for (let i = 0; i < 3; i++) {
      const again = await modelGradients(config, source, loss, {}, 2);
      again.gradients.forEach(({ values }, at) => {
        expect(values).toEqual(first.gradients[at]?.values);
      });
    }
  });

  it('branches cannot be differentiated, and say so', async () => {
    const shape = { experts: 2, topK: 1 };
    const asked = modelGradients(mixtralConfig(shape), mixtralSource(shape, 7), lossFor(17, 4, 1), {
      experts: 'branch',
    });
    await expect(asked).rejects.toThrow(/\(If\) cannot be differentiated/);
  });
});
