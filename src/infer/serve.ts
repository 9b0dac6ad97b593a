/** What the model process does when asked: opened models by number, and the runs that src/infer/protocol.ts names. */
import { openCheckpoint } from '../checkpoint/open.ts';
import type { Checkpoint } from '../checkpoint/types.ts';
import { MoeError } from '../common/errors.ts';
import type { JsonValue } from '../common/json.ts';
import type { ScoreRequest } from '../eval/scorer.ts';
import { moeLayers } from '../model/spec.ts';
import type { Endpoint } from '../protocol/host.ts';
import { toMeasured } from '../protocol/wire.ts';
import { weightsOf } from '../runtime/checkpoint.ts';
import { generate } from '../runtime/generate.ts';
import { RunnableModel } from '../runtime/model.ts';
import { ModelScorer } from '../runtime/scorer.ts';
import { selfTest } from '../runtime/self-test.ts';
import { largest } from '../score/top.ts';
import { LogitComparison } from '../verify/logits.ts';
import {
  inferCompare,
  inferGenerate,
  inferHidden,
  inferObserve,
  inferOpen,
  inferProbe,
  inferRouterLogits,
  inferScore,
  inferTop,
  inferTraceLoad,
  inferTraceReport,
  inferTraceSave,
} from './protocol.ts';
import type { ModelFacts } from './protocol.ts';
import { serveTalk } from './talk.ts';
import { TraceCollector } from './trace-collector.ts';
import { pool, routerLogits } from './vectors.ts';

export interface Opened {
  readonly checkpoint: Checkpoint;
  readonly model: RunnableModel;
  readonly scorer: ModelScorer;
  readonly traces: TraceCollector | null;
}

/** Logits that are held at once: 128 MiB of float32. */
const MAX_LOGITS = 2 ** 25;

/** Serves the requests of one parent. */
export function serveModels(endpoint: Endpoint): void {
  const models = new Map<number, Opened>();
  // For hosts whose allocator ONNX Runtime's arena does not get on with (Electron).
  const withoutArena = process.env['MOE_WITHOUT_ARENA'] === '1';
  /** Devices that have passed the self-test. */
  const tested = new Set<string>();
  const opened = (model: number): Opened => {
    const found = models.get(model);
    if (found === undefined) throw new MoeError('internal', 'no-such-model', `There is no opened model ${model}.`);
    return found;
  };

  endpoint.handle(inferOpen, async (params, { signal, progress }): Promise<ModelFacts> => {
    if (!tested.has(params.device)) {
      await selfTest({ device: params.device, withoutArena });
      tested.add(params.device);
    }
    const checkpoint = await openCheckpoint(params.path, { signal });
    const last = { at: 0 };
    const { config, source, cacheFile } = weightsOf(checkpoint, {
      cacheFolder: params.cacheFolder,
      signal,
      onProgress: (done, total) => {
        if (performance.now() - last.at < 200 && done < total) return;
        last.at = performance.now();
        progress({ done, total });
      },
    });
    const model = new RunnableModel(config, source, {
      weights: params.weights,
      device: params.device,
      withoutArena,
      ...(params.threads === null ? {} : { threads: params.threads }),
    });
    const { spec } = model;
    const number = models.size;
    const scorer = new ModelScorer(model, params.maxLength === null ? {} : { maxLength: params.maxLength });
    models.set(number, { checkpoint, model, scorer, traces: TraceCollector.of(spec) });
    const layers = moeLayers(spec);
    const [first] = layers;
    return {
      model: number,
      modelType: spec.modelType,
      vocabSize: spec.vocabSize,
      maxPositions: spec.maxPositions,
      eos: [...spec.tokens.eos],
      notes: [...spec.notes],
      cacheFile,
      experts:
        first === undefined
          ? null
          : { layers: layers.map(({ index }) => index), perLayer: first.ffn.experts, topK: first.ffn.topK },
    };
  });

  serveTalk(endpoint, opened);

  endpoint.handle(inferProbe, async ({ device }) => {
    await selfTest({ device, alone: true, withoutArena });
    return {};
  });

  endpoint.handle(inferTop, async ({ model: number, ids, top }, { signal, progress }) => {
    const { model } = opened(number);
    const positions: { argmax: number; ids: number[]; logits: ReturnType<typeof toMeasured>[] }[] = [];
    for await (const row of rowsOf(model, Array.from(ids), signal)) {
      const best = largest(row, Math.max(1, top));
      const shown = best.slice(0, top);
      positions.push({
        argmax: best[0] ?? 0,
        ids: shown,
        logits: shown.map((id) => toMeasured(row[id] ?? Number.NaN)),
      });
      progress({ done: positions.length, total: ids.length });
    }
    return { positions };
  });

  endpoint.handle(inferCompare, async ({ reference, model, windows }, { signal, progress }) => {
    const [a, b] = [opened(reference).model, opened(model).model];
    if (a.spec.vocabSize !== b.spec.vocabSize) {
      throw new MoeError(
        'input',
        'vocabularies-differ',
        `The models have vocabularies of ${a.spec.vocabSize} and ${b.spec.vocabSize}: their logits cannot be compared.`,
      );
    }
    const comparison = new LogitComparison(a.spec.vocabSize);
    const total = windows.reduce((sum, ids) => sum + ids.length, 0);
    let done = 0;
    for (const window of windows) {
      const ids = Array.from(window);
      const theirs = rowsOf(b, ids, signal);
      for await (const row of rowsOf(a, ids, signal)) {
        const other = await theirs.next();
        if (other.done !== true) comparison.add(row, other.value);
        if (++done % 32 === 0 || done === total) progress({ done, total });
      }
    }
    const result = comparison.result();
    return {
      ...result,
      maxAbs: toMeasured(result.maxAbs),
      relativeNorm: toMeasured(result.relativeNorm),
      meanKl: toMeasured(result.meanKl),
      maxKl: toMeasured(result.maxKl),
    };
  });

  endpoint.handle(inferScore, async (params, { signal, progress }) => {
    const { scorer, traces } = opened(params.model);
    const requests = unpackRequests(params);
    const results = await scorer.loglikelihoods(requests, {
      signal,
      onProgress: (done) => {
        progress({ done });
      },
      ...(params.trace && traces !== null ? { traces } : {}),
    });
    return {
      logprobs: Float64Array.from(results, ({ logprob }) => logprob),
      greedy: Uint8Array.from(results, ({ isGreedy }) => (isGreedy ? 1 : 0)),
    };
  });

  endpoint.handle(inferGenerate, async ({ model: number, ids, ...options }, { signal, progress }) => {
    const { model } = opened(number);
    const tokens = generate(model, Array.from(ids), options);
    for (;;) {
      if (signal.aborted) throw new MoeError('cancelled', 'cancelled', 'Generation was cancelled.');
      const step = await tokens.next();
      if (step.done === true) return { reason: step.value };
      const { id, logprob, traces } = step.value;
      const experts = traces.map(({ layer, topK, chosen }) => ({ layer, topK, chosen: Int32Array.from(chosen) }));
      progress({ id, logprob: toMeasured(logprob), experts });
      await turn();
    }
  });

  endpoint.handle(inferObserve, async ({ model: number, rows, domain }, { signal }) => {
    const { model, traces } = opened(number);
    if (traces === null)
      throw new MoeError('input', 'no-experts', 'This model has no experts, so there are no routers to look at.');
    for (const row of rows) {
      if (signal.aborted) throw new MoeError('cancelled', 'cancelled', 'Tracing was cancelled.');
      const ids = Array.from(row);
      const places = ids.map((_, i) => i);
      traces.observe(await model.traces({ rows: [ids] }), { places, ids, counted: ids.map(() => true) }, domain);
      await turn();
    }
    return {};
  });

  endpoint.handle(inferHidden, async ({ model: number, rows, layers, take }, { signal }) => {
    const { model } = opened(number);
    const size = model.spec.hiddenSize;
    const vectors = new Float32Array(rows.length * layers.length * size);
    let at = 0;
    for (const row of rows) {
      if (signal.aborted) throw new MoeError('cancelled', 'cancelled', 'The run was cancelled.');
      const states = await model.hidden({ rows: [Array.from(row)] }, layers);
      for (const layer of states) {
        vectors.set(pool(layer, size, take), at);
        at += size;
      }
      await turn();
    }
    return { hidden: size, vectors };
  });

  endpoint.handle(inferRouterLogits, async ({ model: number, rows, layers, routers }, { signal, progress }) => {
    const { model } = opened(number);
    for (const [row, ids] of rows.entries()) {
      if (signal.aborted) throw new MoeError('cancelled', 'cancelled', 'The run was cancelled.');
      const inputs = await model.ffnInputs({ rows: [Array.from(ids)] }, layers);
      progress({ row, logits: routerLogits(inputs, routers, model.spec.hiddenSize) });
      await turn();
    }
    return {};
  });

  endpoint.handle(inferTraceSave, async ({ model, file, tag }) => {
    await opened(model).traces?.save(file, tag);
    return {};
  });

  endpoint.handle(inferTraceLoad, async ({ model, file }) => {
    await opened(model).traces?.load(file);
    return {};
  });

  endpoint.handle(inferTraceReport, ({ model }) => {
    const { traces } = opened(model);
    // Read-only data is JSON all the same.
    const report = traces === null ? null : (JSON.parse(JSON.stringify(traces.report())) as JsonValue);
    return { report };
  });
}

/** Logits of every position of one text, few rows at a time. */
async function* rowsOf(
  model: RunnableModel,
  ids: readonly number[],
  signal: AbortSignal,
): AsyncGenerator<Float32Array> {
  const { vocabSize } = model.spec;
  const step = Math.max(1, Math.floor(MAX_LOGITS / vocabSize));
  for (let from = 0; from < ids.length; from += step) {
    if (signal.aborted) throw new MoeError('cancelled', 'cancelled', 'The run was cancelled.');
    const at = ids.slice(from, from + step).map((_, i) => from + i);
    const { data, rows } = await model.logitsAt({ rows: [ids] }, at);
    for (let row = 0; row < rows; row++) yield data.subarray(row * vocabSize, (row + 1) * vocabSize);
  }
}

/** Lets messages in and out: runs block the thread. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function unpackRequests(params: {
  readonly ids: Int32Array;
  readonly lengths: Int32Array;
  readonly domains: readonly string[];
  readonly domainOf: Int32Array;
  readonly skips: Int32Array;
}): ScoreRequest[] {
  const requests: ScoreRequest[] = [];
  let at = 0;
  for (let i = 0; 2 * i < params.lengths.length; i++) {
    const middle = at + (params.lengths[2 * i] ?? 0);
    const end = middle + (params.lengths[2 * i + 1] ?? 0);
    const domain = params.domains[params.domainOf[i] ?? -1];
    requests.push({
      contextIds: Array.from(params.ids.subarray(at, middle)),
      continuationIds: Array.from(params.ids.subarray(middle, end)),
      ...(domain === undefined ? {} : { trace: { domain, skipTokens: params.skips[i] ?? 0 } }),
    });
    at = end;
  }
  return requests;
}
