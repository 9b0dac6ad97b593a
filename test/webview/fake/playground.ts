/** A host for the playground. */
import { MoeError } from '../../../src/common/errors.ts';
import {
  playgroundChanged,
  playgroundCommand,
  playgroundCopy,
  playgroundFault,
  playgroundGenerate,
  playgroundReady,
} from '../../../src/protocol/playground.ts';
import type { PlaygroundState } from '../../../src/protocol/playground.ts';
import { HOSTILE } from './hostile.ts';
import { installHost, later, record, scenario } from './page-host.ts';

const kind = scenario();
const host = installHost('playground');
const LAYERS = [0, 1, 2];

let state: PlaygroundState = {
  name: 'smol-moe-8x2',
  path: '/models/smol-moe-8x2',
  status: kind === 'loading' ? 'loading' : kind === 'failed' ? 'failed' : 'ready',
  progress: kind === 'loading' ? { done: 3, total: 8, what: 'Dequantising' } : null,
  model:
    kind === 'loading' || kind === 'failed'
      ? null
      : {
          modelType: kind === 'dense' ? 'llama' : 'mixtral',
          maxPositions: 2048,
          device: 'cpu',
          chatTemplate: kind !== 'dense',
          notes: ['CUDA (cuda) is not available here: its provider is not installed. The CPU is used.'],
          experts: kind === 'dense' ? null : { layers: LAYERS, perLayer: 4, topK: 2 },
        },
  error:
    kind === 'failed'
      ? {
          title: 'The model cannot be run',
          message: 'Jobs do not run in Restricted Mode: they read what this workspace says and write files',
          code: 'restricted-mode',
          kind: 'usage',
          file: null,
          tensor: null,
          byte: null,
          field: null,
          hint: 'Trust the workspace to run them; viewing works without.',
          actions: [{ id: 'reload', label: 'Try Again' }],
        }
      : null,
};

const PROMPT = ['Once', ' upon', ' a', ' time'];
const MADE = [',', ' there', ' was', ' a', '', HOSTILE, '\n', 'The', ' end', '.'];

host.handle(playgroundReady, () => state);
host.handle(playgroundGenerate, async (request, { progress, signal }) => {
  record.calls.push(JSON.stringify(request));
  const experts = (tokens: number, from: number) =>
    kind === 'dense'
      ? []
      : LAYERS.map((layer) => ({
          layer,
          topK: 2,
          chosen: Array.from({ length: tokens * 2 }, (_, i) => (from + layer + (i >> 1) + (i & 1)) % 4),
          shares: Array.from({ length: tokens }, () => 0.625),
        }));
  progress({ tokens: PROMPT.map((text, id) => ({ id, text, entry: text, logprob: null })), prompt: true, ran: [] });
  const many = kind === 'slow' ? 500 : MADE.length;
  for (let at = 0; at < many; at++) {
    await later(kind === 'slow' ? 40 : 5);
    if (signal.aborted) throw new MoeError('cancelled', 'cancelled', 'Cancelled');
    const ran = at === 0 ? experts(PROMPT.length, 0) : experts(1, PROMPT.length + at - 1);
    progress({
      tokens: [{ id: 100 + at, text: MADE[at % MADE.length] ?? '', entry: '<0xE6>', logprob: Math.log(0.5) }],
      prompt: false,
      ran,
    });
  }
  progress({ tokens: [], prompt: false, ran: experts(1, PROMPT.length + many - 1) });
  return { reason: 'length' as const, tokens: many, seconds: 0.61 };
});
host.handle(playgroundCopy, ({ text }) => {
  record.copied.push(text);
  return {};
});
host.handle(playgroundCommand, ({ command }) => {
  record.commands.push(command);
  return { done: true };
});
host.on(playgroundFault, ({ message }) => {
  record.faults.push(`page: ${message}`);
});
record.say['state'] = (changes) => {
  state = { ...state, ...(changes as Partial<PlaygroundState>) };
  host.notify(playgroundChanged, state);
};
