/**
 * mergekit's prompt gates, by its formulas (mergekit/moe/router.py): a row is the mean over an expert's positive prompts of
 * what enters the layer, less the mean over its negative prompts, brought to length 1. `hidden` takes each prompt's last
 * token, `hidden_avg` the mean over its tokens; `cheap_embed` sums token embeddings, brings both sums to length 1 before
 * they are subtracted, and gives every layer the same row. One difference: mergekit's `hidden_avg` averages over the pads of
 * shorter prompts too; here only over tokens.
 */
import { MoeError } from '../common/errors.ts';
import type { ExpertPrompts, PromptInit } from '../recipe/types.ts';
import type { Pooling, PromptModel } from './types.ts';

/** The part of a tokenizer that prompts need. */
export interface PromptTokenizer {
  readonly bosId: number | undefined;
  encode(text: string, options: { readonly addSpecial: boolean }): number[];
  tokens(ids: readonly number[]): string[];
}

const POOLING: Readonly<Record<PromptInit, Pooling>> = { hidden: 'last', hidden_avg: 'mean', cheap_embed: 'sum' };
/** As in mergekit: shorter vectors are divided by this. */
const SHORTEST = 1e-8;

/** Token ids as mergekit makes them: the text of the BOS token (where there is one) before the prompt, nothing else added. */
export function promptIds(tokenizer: PromptTokenizer, prompt: string): number[] {
  const [bos = ''] = tokenizer.bosId === undefined ? [] : tokenizer.tokens([tokenizer.bosId]);
  return tokenizer.encode(bos + prompt, { addSpecial: false });
}

/**
 * Router rows for each of `layers`, each [experts, hidden] row-major. Throws a MoeError for a prompt without tokens, for one
 * longer than the model takes, and for rows that are not numbers or all zero.
 */
export async function promptGates(
  model: PromptModel,
  tokenizer: PromptTokenizer,
  mode: PromptInit,
  prompts: readonly ExpertPrompts[],
  layers: readonly number[],
): Promise<readonly Float32Array[]> {
  // Embeddings are what enters the first layer, whatever the layer they serve.
  const read = mode === 'cheap_embed' ? [0] : layers;
  const perExpert: (readonly Float64Array[])[] = [];
  for (const [expert, { positive_prompts: positive, negative_prompts: negative }] of prompts.entries()) {
    const wanted = await sums(model, tokenizer, mode, positive, read, expert);
    const unwanted = negative.length === 0 ? null : await sums(model, tokenizer, mode, negative, read, expert);
    perExpert.push(
      wanted.map((vector, i) => {
        const other = unwanted?.[i];
        return unit(other === undefined ? vector : vector.map((value, j) => value - (other[j] ?? 0)));
      }),
    );
  }
  return layers.map((layer, at) => {
    const rows = perExpert.map((vectors) => vectors[mode === 'cheap_embed' ? 0 : at] ?? new Float64Array());
    rows.forEach((row, expert) => {
      checkRow(row, layer, expert);
    });
    const size = rows[0]?.length ?? 0;
    const matrix = new Float32Array(rows.length * size);
    rows.forEach((row, expert) => {
      matrix.set(row, expert * size);
    });
    return matrix;
  });
}

/** One vector per layer for a list of prompts. */
async function sums(
  model: PromptModel,
  tokenizer: PromptTokenizer,
  mode: PromptInit,
  prompts: readonly string[],
  layers: readonly number[],
  expert: number,
): Promise<readonly Float64Array[]> {
  const rows = prompts.map((prompt, i) => {
    const ids = promptIds(tokenizer, prompt);
    const field = `router.prompts[${expert}]`;
    if (ids.length === 0)
      throw new MoeError('input', 'prompt-empty', `Prompt ${i + 1} of expert ${expert} has no tokens.`, { field });
    if (ids.length > model.maxPositions)
      throw new MoeError(
        'input',
        'prompt-too-long',
        `Prompt ${i + 1} of expert ${expert} has ${ids.length} tokens; the model takes at most ${model.maxPositions}.`,
        { field, hint: 'Shorten it.' },
      );
    return ids;
  });
  const vectors = await model.hidden(rows, layers, POOLING[mode]);
  return layers.map((_, at) => {
    const total = new Float64Array(vectors[0]?.[at]?.length ?? 0);
    for (const perLayer of vectors) perLayer[at]?.forEach((value, j) => (total[j] = (total[j] ?? 0) + value));
    return mode === 'cheap_embed' ? unit(total) : total.map((value) => value / prompts.length);
  });
}

function unit(vector: Float64Array): Float64Array {
  const length = Math.max(SHORTEST, Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0)));
  return vector.map((value) => value / length);
}

function checkRow(row: Float64Array, layer: number, expert: number): void {
  const field = `router.prompts[${expert}]`;
  if (row.length === 0 || !row.every(Number.isFinite))
    throw new MoeError(
      'input',
      'gate-not-finite',
      `The model gives no finite numbers for the prompts of expert ${expert} before layer ${layer}.`,
      { field, hint: 'Does the model run? Try: moe logits.' },
    );
  if (row.every((value) => value === 0))
    throw new MoeError(
      'input',
      'gate-zero',
      `The positive and negative prompts of expert ${expert} cancel out before layer ${layer}: its router row is zero.`,
      { field, hint: 'Use other negative prompts.' },
    );
}
