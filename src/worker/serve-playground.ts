/** Serves playgrounds: models that stay open in processes of their own, and the texts they make. */
import { openCheckpoint } from '../checkpoint/open.ts';
import { MoeError } from '../common/errors.ts';
import { cacheFolder } from '../infer/cache-folder.ts';
import { InferProcess } from '../infer/client.ts';
import type { RemoteModel, TalkStep } from '../infer/client.ts';
import { chooseDevice } from '../infer/devices.ts';
import { inferEntry } from '../infer/entry.ts';
import { checkSampling } from '../model/sampling.ts';
import type { Endpoint } from '../protocol/host.ts';
import type { GenerateStep } from '../protocol/playground.ts';
import { workerPlayClose, workerPlayGenerate, workerPlayOpen } from '../protocol/worker-eval.ts';
import { toMeasured } from '../protocol/wire.ts';
import { tokenizerOf } from '../score/tokenizer.ts';

interface Play {
  readonly process: InferProcess;
  readonly model: RemoteModel;
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
    // Says what is wrong before a process is started.
    tokenizerOf(await openCheckpoint(path, { signal }));
    const entry = inferEntry();
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
      const { chatTemplate, notes: ofTokenizer } = await model.talk();
      const handle = ++handles;
      plays.set(handle, { process: child, model });
      const { modelType, maxPositions, experts, notes } = model.facts;
      const told = [...(note === null ? [] : [note]), ...notes, ...ofTokenizer].slice(0, 100);
      return { handle, model: { modelType, maxPositions, experts, device, chatTemplate, notes: told } };
    } catch (error) {
      await child.close();
      throw error;
    } finally {
      signal.removeEventListener('abort', kill);
    }
  });

  endpoint.handle(workerPlayGenerate, async ({ handle, ...ask }, { signal, progress }) => {
    const { model } = need(handle);
    checkSampling({ ...ask, topK: 0 });
    const start = performance.now();
    let tokens = 0;
    try {
      const { reason } = await model.continueText(
        ask,
        (step) => {
          const made = step.tokens.filter(({ logprob }) => logprob !== null);
          tokens += made.length;
          progress(stepOf(step));
        },
        signal,
      );
      return { reason, tokens, seconds: (performance.now() - start) / 1000 };
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

function stepOf({ tokens, routes }: TalkStep): GenerateStep {
  return {
    tokens: tokens.map(({ id, text, entry, logprob }) => ({ id, text, entry, logprob })),
    prompt: tokens.length > 0 && tokens.every(({ logprob }) => logprob === null),
    ran: (routes?.layers ?? []).map(({ layer, topK, chosen, shares }) => ({
      layer,
      topK,
      chosen: Array.from(chosen),
      shares: Array.from(shares, toMeasured),
    })),
  };
}
