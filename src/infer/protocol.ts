/**
 * Host ↔ model process (dist/infer.js). The process holds opened models by number and runs them; whoever asks holds texts,
 * tokenizers, tasks and results. Token ids and results travel as typed arrays.
 */
import * as z from 'zod/mini';
import { DEVICES } from '../devices/devices.ts';
import { defineRequest } from '../protocol/define.ts';
import type { Of } from '../protocol/define.ts';
import { count, flag, json, list, measured, nothing, num, text } from '../protocol/wire.ts';

/** Compare by tag: realms differ. */
function typed<T>(tag: string): z.ZodMiniCustom<T, T> {
  return z.custom<T>((value) => Object.prototype.toString.call(value) === `[object ${tag}]`, `expected ${tag}`);
}
const int32s = typed<Int32Array>('Int32Array');
const float64s = typed<Float64Array>('Float64Array');
const float32s = typed<Float32Array>('Float32Array');
const bytes = typed<Uint8Array>('Uint8Array');

const device = z.enum(DEVICES);

export const modelFacts = z.object({
  model: count,
  modelType: text,
  vocabSize: count,
  maxPositions: count,
  eos: list(count),
  notes: list(text),
  /** What was dequantised for it; null where weights are read in place. */
  cacheFile: z.nullable(text),
  /** Layers that hold experts; null for a dense model. */
  experts: z.nullable(z.object({ layers: list(count), perLayer: count, topK: count })),
});
export type ModelFacts = Of<typeof modelFacts>;

/** Opens a checkpoint. A GGUF is dequantised into the cache folder first, with progress. */
export const inferOpen = defineRequest(
  'infer/open',
  z.object({
    path: text,
    cacheFolder: text,
    weights: z.enum(['stored', 'packed']),
    threads: z.nullable(count),
    device,
    /** Longest input when scoring; null: the model's own. */
    maxLength: z.nullable(count),
  }),
  modelFacts,
  { progress: z.object({ done: num, total: num }), timeoutMs: null },
);

/** The most likely tokens after each position. */
export const inferTop = defineRequest(
  'infer/top',
  z.object({ model: count, ids: int32s, top: count }),
  z.object({ positions: list(z.object({ argmax: count, ids: list(count), logits: list(measured) })) }),
  { progress: z.object({ done: num, total: num }), timeoutMs: null },
);

/** How far the logits of `model` are from those of `reference` on the same tokens. */
export const inferCompare = defineRequest(
  'infer/compare',
  z.object({ reference: count, model: count, windows: list(int32s) }),
  z.object({
    positions: count,
    vocabulary: count,
    equalLogits: count,
    maxAbs: measured,
    relativeNorm: measured,
    meanKl: measured,
    maxKl: measured,
    argmaxEqual: count,
    nonFinite: count,
  }),
  { progress: z.object({ done: num, total: num }), timeoutMs: null },
);

/**
 * Log-likelihoods of continuations. `ids` holds all requests one after another (context, then continuation); `lengths` two
 * numbers per request. `domains` and `skips` are for traces: whose tokens they are, how many leading ones do not count.
 */
export const inferScore = defineRequest(
  'infer/score',
  z.object({
    model: count,
    ids: int32s,
    lengths: int32s,
    domains: list(text),
    domainOf: int32s,
    skips: int32s,
    trace: flag,
  }),
  z.object({ logprobs: float64s, greedy: bytes }),
  { progress: z.object({ done: num }), timeoutMs: null },
);

const layerChoice = z.object({ layer: count, topK: count, chosen: int32s });

/** Continues a prompt; every token is reported as it comes. */
export const inferGenerate = defineRequest(
  'infer/generate',
  z.object({
    model: count,
    ids: int32s,
    maxTokens: count,
    temperature: num,
    topP: num,
    topK: count,
    seed: count,
    stop: list(count),
    traces: flag,
  }),
  z.object({ reason: z.enum(['stop', 'length', 'context']) }),
  {
    progress: z.object({
      id: count,
      logprob: measured,
      /** With traces: the experts of the tokens that were run to get this one. */
      experts: list(layerChoice),
    }),
    timeoutMs: null,
  },
);

/**
 * A text as token ids; with `chat` as the user's turn of a conversation, in the model's template. Patterns and templates are the
 * checkpoint's: what they do to a process, they do here.
 */
export const inferPrompt = defineRequest(
  'infer/prompt',
  z.object({ model: count, prompt: text, chat: flag, system: z.nullable(text) }),
  z.object({ ids: int32s }),
);

/** What a model's tokenizer offers to a playground. */
export const inferTalk = defineRequest(
  'infer/talk',
  z.object({ model: count }),
  z.object({ chatTemplate: flag, notes: list(text) }),
);

/** A token with its text. `logprob` is null for tokens of the prompt. */
export const talkToken = z.object({
  id: count,
  /** What it adds to the text; empty inside a character of several tokens. */
  text,
  /** Its entry in the vocabulary. */
  entry: text,
  logprob: z.nullable(measured),
});
export type TalkToken = Of<typeof talkToken>;

/**
 * Where `tokens` tokens from number `from` on (the prompt's first is 0) were sent, by layer: the experts of each token, first
 * choice first, and what the router's softmax over all experts gave the first.
 */
export const talkRoutes = z.object({
  from: count,
  tokens: count,
  layers: list(z.object({ layer: count, topK: count, chosen: int32s, shares: float32s })),
});
export type TalkRoutes = Of<typeof talkRoutes>;

/**
 * Continues a text. First come the prompt's tokens, then each new one with the routes of those that were run for it; the
 * last token is run too, for its route, unless it ended the text.
 */
export const inferContinue = defineRequest(
  'infer/continue',
  z.object({
    model: count,
    /** The prompt's. */
    ids: int32s,
    maxTokens: count,
    temperature: num,
    topP: num,
    seed: count,
  }),
  z.object({ reason: z.enum(['stop', 'length', 'context']) }),
  {
    progress: z.object({ promptTokens: count, tokens: list(talkToken), routes: z.nullable(talkRoutes) }),
    timeoutMs: null,
  },
);

/** Runs texts for their routers alone; adds to the model's statistics. */
export const inferObserve = defineRequest(
  'infer/observe',
  z.object({ model: count, rows: list(int32s), domain: text }),
  nothing,
  { timeoutMs: null },
);

/** The statistics so far: a TraceReport; null for a dense model. */
export const inferTraceReport = defineRequest(
  'infer/trace-report',
  z.object({ model: count }),
  z.object({ report: json }),
  {
    timeoutMs: null,
  },
);

/** Writes the statistics so far to a file; `tag` says what they are of. */
export const inferTraceSave = defineRequest(
  'infer/trace-save',
  z.object({ model: count, file: text, tag: text }),
  nothing,
  { timeoutMs: null },
);

/** Puts saved statistics back, in place of what was gathered. */
export const inferTraceLoad = defineRequest('infer/trace-load', z.object({ model: count, file: text }), nothing, {
  timeoutMs: null,
});

/**
 * What enters the listed layers, one vector per text and layer: of its last token, or the mean or sum over its tokens.
 * `vectors` holds them text by text, layer by layer.
 */
export const inferHidden = defineRequest(
  'infer/hidden',
  z.object({ model: count, rows: list(int32s), layers: list(count), take: z.enum(['last', 'mean', 'sum']) }),
  z.object({ hidden: count, vectors: float32s }),
  { timeoutMs: null },
);

/**
 * Logits that routers would give: `routers` holds [rows, hidden] of every listed layer, one after another. Each text's come
 * as progress, [layers, tokens, rows].
 */
export const inferRouterLogits = defineRequest(
  'infer/router-logits',
  z.object({ model: count, rows: list(int32s), layers: list(count), routers: float32s }),
  nothing,
  { progress: z.object({ row: count, logits: float32s }), timeoutMs: null },
);

/** Lets a device compute something known, alone. Fails with ONNX Runtime's words where it cannot. */
export const inferProbe = defineRequest('infer/probe', z.object({ device }), nothing, { timeoutMs: null });

/** Ends the process. */
export const inferQuit = defineRequest('infer/quit', nothing, nothing, { timeoutMs: 5_000 });
