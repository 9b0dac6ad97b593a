/** Gradients of a model's weights by our graph, and by central differences of the float64 test forward: two independent ways. */
import type { JsonObject } from '../../src/common/json.ts';
import { buildForward, FORWARD_DEFAULTS } from '../../src/model/forward.ts';
import type { ForwardOptions } from '../../src/model/forward.ts';
import { specFromConfig } from '../../src/model/spec.ts';
import { FileBinder } from '../../src/model/weights.ts';
import type { WeightBinder, WeightRef, WeightSource } from '../../src/model/weights.ts';
import { GraphBuilder } from '../../src/onnx/builder.ts';
import type { Value } from '../../src/onnx/builder.ts';
import { gradients } from '../../src/onnx/gradient/index.ts';
import { placeFiles } from '../../src/runtime/files.ts';
import { RunnableModel } from '../../src/runtime/model.ts';
import { floatData, floats, integers, Session } from '../../src/runtime/session.ts';
import { buildModel, forward } from '../forward/forward.ts';
import type { TestTensor } from '../forward/forward.ts';

/** Remembers which weights a graph uses, as float32. */
class Recorder implements WeightBinder {
  readonly used = new Map<Value, WeightRef>();
  constructor(private readonly inner: WeightBinder) {}
  raw(ref: WeightRef): Value {
    return this.#note(ref, this.inner.raw(ref));
  }
  float(ref: WeightRef): Value {
    return this.#note(ref, this.inner.float(ref));
  }
  needsCast(ref: WeightRef): boolean {
    return this.inner.needsCast(ref);
  }
  #note(ref: WeightRef, value: Value): Value {
    if (value.type === 'float32') this.used.set(value, ref);
    return value;
  }
}

export interface WeightGradient {
  readonly ref: WeightRef;
  readonly values: Float32Array;
}

/** The loss: Σ weight_i · log p(target_i | what stands before), at every position. */
export interface Loss {
  readonly ids: readonly number[];
  readonly targets: readonly number[];
  readonly weights: readonly number[];
}

/** Gradients of the loss by every weight that the model uses. */
export async function modelGradients(
  config: JsonObject,
  source: WeightSource,
  loss: Loss,
  options: Partial<ForwardOptions> = {},
  threads = 1,
): Promise<{ readonly gradients: readonly WeightGradient[]; readonly nodes: number }> {
  const spec = specFromConfig(config);
  const files = placeFiles(source);
  const g = new GraphBuilder();
  const recorder = new Recorder(new FileBinder(g, source, files.locate));
  buildForward(g, spec, source, recorder, { ...FORWARD_DEFAULTS, experts: 'flat', head: 'targets', ...options });
  const logprob = g.outputs.get('logprob');
  if (logprob === undefined) throw new Error('no log-probabilities');
  const weights = g.input('loss_weights', 'float32', logprob.shape);
  const used = [...recorder.used];
  const found = gradients(
    g,
    [{ of: logprob, gradient: weights }],
    used.map(([value]) => value),
  );
  const wanted: [string, WeightRef][] = [];
  found.forEach((gradient, i) => {
    const [, ref] = used[i] ?? [];
    // No weight moves the choice of experts by little.
    if (gradient === null && ref?.tensor.endsWith('e_score_correction_bias') === true) return;
    if (gradient === null || ref === undefined) throw new Error(`no gradient of ${ref?.tensor ?? '?'}`);
    g.output(`gradient.${i}`, gradient);
    wanted.push([`gradient.${i}`, ref]);
  });
  const session = await Session.create(g, { folder: files.folder, weights: 'stored', threads });
  const model = new RunnableModel(config, source, { weights: 'stored', threads });
  const results = await session.run(
    {
      ...model.feeds({ rows: [loss.ids] }),
      targets: integers(loss.targets, [loss.targets.length]),
      loss_weights: floats(Float32Array.from(loss.weights), [loss.weights.length]),
    },
    wanted.map(([name]) => name),
  );
  const values = wanted.map(([name, ref]) => ({ ref, values: floatData(results.get(name), name) }));
  await session.release();
  await model.release();
  return { gradients: values, nodes: g.nodes.length };
}

function lossOf(config: JsonObject, tensors: ReadonlyMap<string, TestTensor>, loss: Loss): number {
  const logits = forward(buildModel(config, tensors), loss.ids);
  return loss.weights.reduce((sum, weight, i) => {
    const row = logits[i] ?? new Float64Array();
    const top = row.reduce((a, b) => Math.max(a, b), -Infinity);
    const total = row.reduce((a, b) => a + Math.exp(b - top), 0);
    return sum + weight * ((row[loss.targets[i] ?? 0] ?? Number.NaN) - top - Math.log(total));
  }, 0);
}

/**
 * Slope of the loss along `direction`, ±1 for each element of the weight: central differences in float64, of fourth order so
 * that steps can be large enough for rounding not to matter.
 */
export function slope(
  config: JsonObject,
  tensors: ReadonlyMap<string, TestTensor>,
  loss: Loss,
  { tensor, start }: WeightRef,
  direction: readonly number[],
): number {
  const stored = tensors.get(tensor);
  if (stored === undefined) throw new Error(`no ${tensor}`);
  const moved = (step: number): number => {
    const data = Float64Array.from(stored.data);
    direction.forEach((sign, i) => {
      data[start + i] = (data[start + i] ?? 0) + sign * step;
    });
    return lossOf(config, new Map([...tensors, [tensor, { ...stored, data }]]), loss);
  };
  const h = 1e-5;
  return (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h);
}
