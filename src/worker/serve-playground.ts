/** Serves playgrounds: models that stay open in processes of their own, and the texts they make. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openCheckpoint } from '../checkpoint/open.ts';
import type { Checkpoint } from '../checkpoint/types.ts';
import { MoeError } from '../common/errors.ts';
import { cacheFolder } from '../infer/cache-folder.ts';
import { InferProcess } from '../infer/client.ts';
import type { GeneratedRemote, RemoteModel } from '../infer/client.ts';
import { chooseDevice } from '../infer/devices.ts';
import { checkSampling } from '../model/sampling.ts';
import type { Endpoint } from '../protocol/host.ts';
import type { GenerateStep } from '../protocol/playground.ts';
import { workerPlayClose, workerPlayGenerate, workerPlayOpen } from '../protocol/worker-eval.ts';
import { toMeasured } from '../protocol/wire.ts';
import { TextStream, continuationText } from '../score/continuation.ts';
import { stopTokens } from '../score/stop-tokens.ts';
import { tokenizerOf } from '../score/tokenizer.ts';
import type { TextTokenizer } from '../tokens/tokenizer.ts';

interface Play {
  readonly process: InferProcess;
  readonly model: RemoteModel;
  readonly tokenizer: TextTokenizer;
  readonly stop: readonly number[];
}

/** A playground that is open longer than its tab would keep its memory; few are ever open. */
const MAX_OPEN = 4;

export function servePlaygrounds(endpoint: Endpoint): void {
  const plays = new Map<number, Play>();
  let handles = 0;
  const need = (handle: number): Play => {
    const play = plays.get(handle);
    if (play === undefined)
      throw new MoeError('usage', 'playground-closed', 'The model of this playground is not open (any more)');
    return play;
  };

  endpoint.handle(workerPlayOpen, async ({ path, device: wish }, { signal, progress }) => {
    if (plays.size >= MAX_OPEN)
      throw new MoeError('resources', 'too-many-playgrounds', `${String(plays.size)} playgrounds are open`, {
        hint: 'Each holds a model in memory: close one first.',
      });
    progress({ done: 0, total: 0, what: `Opening ${path}` });
    const checkpoint = await openCheckpoint(path, { signal });
    const { tokenizer } = tokenizerOf(checkpoint);
    const entry = join(dirname(fileURLToPath(import.meta.url)), 'infer.js');
    const { device, note } = await chooseDevice(wish, { entry, signal });
    // Of its own: the request's signal ends with the request, the process lives on.
    const child = new InferProcess({ entry });
    const kill = (): void => {
      child.kill();
    };
    signal.addEventListener('abort', kill, { once: true });
    try {
      progress({ done: 0, total: 0, what: `Loading ${path}` });
      const model = await child.open(path, {
        cacheFolder: cacheFolder(process.env),
        weights: 'stored',
        device,
        onProgress: ({ done, total }) => {
          progress({ done: Math.round(done), total: Math.round(total), what: 'Dequantising' });
        },
      });
      const handle = ++handles;
      plays.set(handle, { process: child, model, tokenizer, stop: stopsOf(checkpoint, model, tokenizer) });
      const { modelType, maxPositions, experts, notes } = model.facts;
      const told = [...(note === null ? [] : [note]), ...notes, ...tokenizer.notes].slice(0, 100);
      return { handle, model: { modelType, maxPositions, experts, device, notes: told } };
    } catch (error) {
      await child.close();
      throw error;
    } finally {
      signal.removeEventListener('abort', kill);
    }
  });

  endpoint.handle(workerPlayGenerate, async ({ handle, prompt, ...sampling }, { signal, progress }) => {
    const play = need(handle);
    const { model, tokenizer } = play;
    const options = { ...sampling, topK: 0 };
    checkSampling(options);
    const promptIds = promptTokens(tokenizer, prompt);
    const pieces = tokenizer.pieces(promptIds);
    progress({
      tokens: promptIds.map((id, i) => ({ id, text: pieces[i] ?? '', logprob: null })),
      prompt: true,
      ran: [],
    });
    const start = performance.now();
    const ids: number[] = [];
    const stream = new TextStream();
    try {
      const { reason } = await model.generate(promptIds, {
        ...options,
        stop: play.stop,
        traces: model.facts.experts !== null,
        signal,
        onToken: (token) => {
          ids.push(token.id);
          const text = stream.next(continuationText(tokenizer, promptIds, ids));
          progress(stepOf(token, text));
        },
      });
      return { reason, tokens: ids.length, seconds: (performance.now() - start) / 1000 };
    } catch (error) {
      // A dead process answers nothing more: the page opens the model anew.
      if (error instanceof MoeError && error.code.startsWith('job-')) await close(handle);
      throw error;
    }
  });

  endpoint.handle(workerPlayClose, async ({ handle }) => {
    await close(handle);
    return {};
  });

  async function close(handle: number): Promise<void> {
    const play = plays.get(handle);
    plays.delete(handle);
    await play?.process.close();
  }
}

function stepOf({ id, logprob, experts }: GeneratedRemote, text: string): GenerateStep {
  return {
    tokens: [{ id, text, logprob: toMeasured(logprob) }],
    prompt: false,
    ran: experts.map(({ layer, topK, chosen }) => ({ layer, topK, chosen: Array.from(chosen) })),
  };
}

function stopsOf(checkpoint: Checkpoint, model: RemoteModel, tokenizer: TextTokenizer): readonly number[] {
  return stopTokens(checkpoint, model.facts.eos, tokenizer.eosId);
}

function promptTokens(tokenizer: TextTokenizer, prompt: string): number[] {
  const ids = tokenizer.encode(prompt);
  if (ids.length > 0) return ids;
  if (tokenizer.bosId !== undefined) return [tokenizer.bosId];
  throw new MoeError('usage', 'no-tokens', 'The prompt is empty, and the tokenizer has no token to begin with', {
    hint: 'Write a word or two.',
  });
}
