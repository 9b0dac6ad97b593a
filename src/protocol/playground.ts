/** Playground: webview ↔ host. A prompt, its continuation as it comes, and the experts of every token. */
import * as z from 'zod/mini';
import { defineNotification, defineRequest } from './define.ts';
import type { Of } from './define.ts';
import { count, errorPage, flag, list, measured, nothing, num, stepProgress, text } from './wire.ts';

export const playgroundModel = z.object({
  modelType: text,
  maxPositions: count,
  device: text,
  /** A prompt may be put into its chat template. */
  chatTemplate: flag,
  /** What to know about it: where it runs, what was guessed. */
  notes: list(text, 100),
  /** Null: a dense model. */
  experts: z.nullable(z.object({ layers: list(count, 10_000), perLayer: count, topK: count })),
});
export type PlaygroundModel = Of<typeof playgroundModel>;

export const playgroundState = z.object({
  name: text,
  path: text,
  status: z.enum(['loading', 'ready', 'failed']),
  progress: z.nullable(stepProgress),
  model: z.nullable(playgroundModel),
  error: z.nullable(errorPage),
});
export type PlaygroundState = Of<typeof playgroundState>;

export const generateRequest = z.object({
  prompt: text,
  /** As the user's turn, in the model's chat template. */
  chat: flag,
  maxTokens: z.int().check(z.gte(1), z.lte(4096)),
  /** 0: greedy. */
  temperature: num.check(z.gte(0), z.lte(100)),
  topP: num.check(z.gt(0), z.lte(1)),
  seed: count,
});
export type GenerateRequest = Of<typeof generateRequest>;

/**
 * One step: first the prompt's tokens alone, then one new token at a time. `ran` are the experts of the tokens that were run
 * for it and had none yet (the whole prompt first, then each time the token before): layer by layer, token by token, the
 * first choice first. `shares`: what the router's softmax over all experts gave each token's first one. A last step without
 * tokens brings those of the last token.
 */
export const generateStep = z.object({
  tokens: list(z.object({ id: count, text, entry: text, logprob: z.nullable(measured) }), 100_000),
  prompt: flag,
  ran: list(z.object({ layer: count, topK: count, chosen: list(count), shares: list(measured) }), 10_000),
});
export type GenerateStep = Of<typeof generateStep>;

export const generateResult = z.object({
  reason: z.enum(['stop', 'length', 'context']),
  tokens: count,
  seconds: num,
});
export type GenerateResult = Of<typeof generateResult>;

export const playgroundReady = defineRequest('playground/ready', nothing, playgroundState);
export const playgroundChanged = defineNotification('playground/changed', playgroundState);
/** Continues a prompt; cancel by signal. */
export const playgroundGenerate = defineRequest('playground/generate', generateRequest, generateResult, {
  progress: generateStep,
  timeoutMs: null,
});
export const playgroundCopy = defineRequest('playground/copy', z.object({ text, what: text }), nothing);
export const playgroundCommand = defineRequest(
  'playground/command',
  z.object({ command: z.enum(['reload', 'openCheckpoint', 'errorAction']), argument: z.nullable(text) }),
  z.object({ done: flag }),
  { timeoutMs: null },
);
export const playgroundFault = defineNotification(
  'playground/fault',
  z.object({ message: text, stack: z.nullable(text) }),
);
