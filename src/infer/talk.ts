/** The playground's part of the model process: texts in, tokens with their texts and first experts out. */
import { MoeError } from '../common/errors.ts';
import { logSumExp } from '../model/sampling.ts';
import { moeLayers } from '../model/spec.ts';
import type { ParamsOf } from '../protocol/define.ts';
import type { Endpoint } from '../protocol/host.ts';
import { toMeasured } from '../protocol/wire.ts';
import { generate } from '../runtime/generate.ts';
import type { RouterTrace } from '../runtime/model.ts';
import { PieceStream } from '../score/piece-stream.ts';
import { stopTokens } from '../score/stop-tokens.ts';
import { tokenizerOf } from '../score/tokenizer.ts';
import { renderChat } from '../tokens/chat.ts';
import type { LoadedTokenizer } from '../tokens/folder.ts';
import { inferContinue, inferPrompt, inferTalk } from './protocol.ts';
import type { TalkRoutes, TalkToken } from './protocol.ts';
import type { Opened } from './serve.ts';

/** Text of one token that is sent on: entries of a broken vocabulary may be of any length. */
const LONGEST_TEXT = 1000;

/** Serves `infer/talk`, `infer/prompt` and `infer/continue`. */
export function serveTalk(endpoint: Endpoint, opened: (model: number) => Opened): void {
  const loaded = new Map<number, LoadedTokenizer>();
  const tokenizerFor = (model: number): LoadedTokenizer => {
    const known = loaded.get(model) ?? tokenizerOf(opened(model).checkpoint);
    loaded.set(model, known);
    return known;
  };

  endpoint.handle(inferTalk, ({ model }) => {
    const { tokenizer, chatTemplate } = tokenizerFor(model);
    return { chatTemplate: chatTemplate !== undefined, notes: [...tokenizer.notes] };
  });

  endpoint.handle(inferPrompt, ({ model, ...wanted }) => ({
    ids: Int32Array.from(promptIds(tokenizerFor(model), wanted)),
  }));

  endpoint.handle(inferContinue, async (params, { signal, progress }) => {
    const { checkpoint, model } = opened(params.model);
    const { spec } = model;
    const { tokenizer } = tokenizerFor(params.model);
    const prompt = [...params.ids];
    const pieces = new PieceStream(tokenizer);
    const token = (id: number, logprob: number | null): TalkToken => ({
      id,
      text: pieces.push(id).slice(0, LONGEST_TEXT),
      entry: (tokenizer.tokens([id])[0] ?? '').slice(0, LONGEST_TEXT),
      logprob: logprob === null ? null : toMeasured(logprob),
    });
    const promptTokens = prompt.length;
    progress({ promptTokens, tokens: prompt.map((id) => token(id, null)), routes: null });
    await turn();
    const traced = moeLayers(spec).length > 0;
    const { maxTokens, temperature, topP, seed } = params;
    const tokens = generate(model, prompt, {
      // One more is run, and not shown: the last token's own route.
      maxTokens: maxTokens + (traced ? 1 : 0),
      temperature,
      topP,
      seed,
      stop: stopTokens(checkpoint, spec.tokens.eos, tokenizer.eosId),
      traces: traced,
    });
    let made = 0;
    let ran = 0;
    for (;;) {
      if (signal.aborted) throw new MoeError('cancelled', 'cancelled', 'Generation was stopped.');
      const step = await tokens.next();
      if (step.done === true) return { reason: made >= maxTokens && step.value === 'context' ? 'length' : step.value };
      const { id, logprob, traces } = step.value;
      const routes = routesOf(traces, ran);
      ran += routes?.tokens ?? 0;
      const over = made >= maxTokens;
      progress({ promptTokens, tokens: over ? [] : [token(id, logprob)], routes });
      if (over) return { reason: 'length' };
      made++;
      await turn();
    }
  });
}

function promptIds(
  { tokenizer, chatTemplate }: LoadedTokenizer,
  { prompt, chat, system }: Omit<ParamsOf<typeof inferPrompt>, 'model'>,
): readonly number[] {
  if (chat) {
    if (chatTemplate === undefined)
      throw new MoeError('usage', 'no-chat-template', 'The checkpoint has no chat template.', {
        hint: 'Continue the text as it is, or put a chat_template.jinja beside the weights.',
      });
    const messages = [
      ...(system === null ? [] : [{ role: 'system', content: system }]),
      { role: 'user', content: prompt },
    ];
    const text = renderChat(chatTemplate, messages, tokenizer, { addGenerationPrompt: true });
    return tokenizer.encode(text, { addSpecial: false });
  }
  const ids = tokenizer.encode(prompt);
  if (ids.length > 0) return ids;
  if (tokenizer.bosId !== undefined) return [tokenizer.bosId];
  throw new MoeError('usage', 'no-tokens', 'The prompt is empty, and the tokenizer has no token to begin with.', {
    hint: 'Type a few words to continue.',
  });
}

/** Experts of each token by layer, and the softmax share of the first; null without routers. */
export function routesOf(traces: readonly RouterTrace[], from: number): TalkRoutes | null {
  const [first] = traces;
  if (first === undefined) return null;
  const tokens = first.chosen.length / first.topK;
  const layers = traces.map(({ layer, experts, topK, logits, chosen }) => {
    const shares = new Float32Array(tokens);
    for (let at = 0; at < tokens; at++) {
      const row = logits.subarray(at * experts, (at + 1) * experts);
      shares[at] = Math.exp((row[chosen[at * topK] ?? -1] ?? Number.NaN) - logSumExp(row));
    }
    return { layer, topK, chosen: Int32Array.from(chosen), shares };
  });
  return { from, tokens, layers };
}

/** Lets messages in and out: runs block the thread. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
