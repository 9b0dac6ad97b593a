/** The playground's process: texts, tokens and first experts, held against generation and traces; stopping; refusals. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { InferProcess } from '../../src/infer/client.ts';
import type { TalkStep } from '../../src/infer/client.ts';
import { PieceStream } from '../../src/score/piece-stream.ts';
import { loadTokenizerFolder } from '../../src/tokens/folder.ts';
import { cli, scratch } from '../cli/helpers.ts';
import { sharedFolder } from '../score/models.ts';
import { bundleInfer } from './entry.ts';

const [folder, remove] = scratch();
let inferEntry = '';
const dense = path.join(folder, 'dense');
const moe = path.join(folder, 'moe');
beforeAll(async () => {
  inferEntry = await bundleInfer();
  expect((await cli(['sample', dense, '--json'])).code).toBe(0);
  const made = await cli(['upcycle', dense, moe, '--set', 'experts=4', '--set', 'top_k=2', '--json']);
  expect({ code: made.code, err: made.err }).toMatchObject({ code: 0 });
}, 120_000);
afterAll(remove);

vi.setConfig({ testTimeout: 120_000 });

const ASK = { chat: false, maxTokens: 6, temperature: 0, topP: 1, seed: 0 };

describe('infer/continue', () => {
  it('gives the tokens of generate, and for every one the expert that a trace of the whole text names', async () => {
    const child = new InferProcess({ entry: inferEntry });
    try {
      const model = await child.open(moe, { cacheFolder: folder, weights: 'stored', threads: 1 });
      expect(await model.talk()).toMatchObject({ chatTemplate: false });
      const steps: TalkStep[] = [];
      const { reason } = await model.continueText({ ...ASK, prompt: 'Once' }, (step) => steps.push(step));
      expect(reason).toBe('length');
      const tokens = steps.flatMap((step) => step.tokens);
      const ids = tokens.map(({ id }) => id);
      const { promptTokens } = steps[0] ?? { promptTokens: 0 };
      expect(ids).toHaveLength(promptTokens + 6);
      expect(tokens.map(({ logprob }) => logprob === null)).toEqual(ids.map((_, at) => at < promptTokens));
      expect(
        tokens
          .slice(0, promptTokens)
          .map(({ text }) => text)
          .join(''),
      ).toMatch(/Once$/);
      const prompt = ids.slice(0, promptTokens);
      const greedy = { temperature: 0, topP: 1, topK: 0, seed: 0, stop: [] };
      const plain = await model.generate(prompt, { ...greedy, maxTokens: 6 });
      expect(ids.slice(promptTokens)).toEqual(plain.tokens.map(({ id }) => id));

      // One token has no more than its own run to go by: a prompt of all tokens tells of each.
      const whole = await model.generate(ids, { ...greedy, maxTokens: 1, traces: true });
      const traced = whole.tokens[0]?.experts ?? [];
      expect(traced.map(({ layer }) => layer)).toEqual(model.facts.experts?.layers);
      const routes = steps.flatMap((step) => step.routes ?? []);
      expect(routes.reduce((sum, one) => sum + one.tokens, 0)).toBe(ids.length);
      for (const { from, tokens: run, layers } of routes)
        layers.forEach(({ layer, topK, chosen, shares }, column) => {
          const whole = traced[column];
          expect([layer, topK]).toEqual([whole?.layer, whole?.topK]);
          expect([...chosen]).toEqual([...(whole?.chosen.subarray(from * topK, (from + run) * topK) ?? [])]);
          expect(shares).toHaveLength(run);
          // The first of four.
          for (const share of shares) expect(share >= 0.25 && share <= 1).toBe(true);
        });
    } finally {
      await child.close();
    }
  });

  it('is stopped between tokens, and the model can be asked again; a dense model has no routes', async () => {
    const child = new InferProcess({ entry: inferEntry });
    try {
      const model = await child.open(dense, { cacheFolder: folder, weights: 'stored', threads: 1 });
      const stop = new AbortController();
      const steps: TalkStep[] = [];
      const long = { ...ASK, prompt: 'Once', maxTokens: 400, temperature: 1 };
      const run = model.continueText(
        long,
        (step) => {
          steps.push(step);
          if (steps.length === 3) stop.abort();
        },
        stop.signal,
      );
      await expect(run).rejects.toMatchObject({ kind: 'cancelled' });
      expect(steps.length).toBeLessThan(100);
      expect(steps.every(({ routes }) => routes === null)).toBe(true);
      const again = await model.continueText({ ...ASK, prompt: 'Once' }, () => undefined);
      expect(again.reason).toBe('length');
      await expect(model.continueText({ ...ASK, chat: true, prompt: 'Hi' }, () => undefined)).rejects.toMatchObject({
        code: 'no-chat-template',
      });
    } finally {
      await child.close();
    }
  });
});

describe('pieces as they come', () => {
  const stories = sharedFolder('models', 'stories260K');
  it.skipIf(stories === null)('are those of the whole', () => {
    const { tokenizer } = loadTokenizerFolder(stories ?? '');
    const text = `${'Zażółć gęślą jaźń 🦉 once upon a time, '.repeat(6)}\n\nThe end. 天気`;
    const ids = tokenizer.encode(text);
    const stream = new PieceStream(tokenizer);
    const pieces = ids.map((id) => stream.push(id));
    expect(pieces).toEqual(tokenizer.pieces(ids));
    expect(pieces.join('')).toContain('gęślą jaźń 🦉');
  });

  it('broken bytes are let through, and what follows is whole again', () => {
    const { tokenizer } = loadTokenizerFolder(dense);
    const bytes = (text: string): number[] => tokenizer.encode(text, { addSpecial: false });
    const [lead = 0] = bytes('ж');
    const stream = new PieceStream(tokenizer);
    const pieces = [...Array.from({ length: 40 }, () => lead), ...bytes('и end')].map((id) => stream.push(id));
    expect(pieces.join('')).toMatch(/^\ufffd+и end$/);
  });
});

describe('infer/prompt', () => {
  const withTemplate = (name: string, template: string): string => {
    const place = path.join(folder, name);
    fs.cpSync(dense, place, { recursive: true });
    fs.writeFileSync(path.join(place, 'chat_template.jinja'), template);
    return place;
  };

  it('gives the ids of the rendered conversation', async () => {
    const place = withTemplate('plain', '{% for m in messages %}{{ m.role }}: {{ m.content }} {% endfor %}');
    const child = new InferProcess({ entry: inferEntry });
    try {
      const model = await child.open(place, { cacheFolder: folder, weights: 'stored', threads: 1 });
      const { tokenizer } = loadTokenizerFolder(place);
      const expected = tokenizer.encode('system: Be brief user: Hi ', { addSpecial: false });
      expect(await model.promptIds({ prompt: 'Hi', chat: true, system: 'Be brief' })).toEqual(expected);
      expect(await model.promptIds({ prompt: 'Hi', chat: false, system: null })).toEqual(tokenizer.encode('Hi'));
    } finally {
      await child.close();
    }
  });

  it('a template without end ends with its process, for whoever asks', async () => {
    const place = withTemplate(
      'endless',
      '{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}',
    );
    const ended = {
      kind: 'input',
      code: 'job-ended-by-prompt',
      message: expect.stringContaining('comes to no end') as string,
    };
    for (const playground of [false, true]) {
      const child = new InferProcess({ entry: inferEntry });
      try {
        const model = await child.open(place, { cacheFolder: folder, weights: 'stored', threads: 1 });
        const ask = { prompt: 'Hi', chat: true };
        const asked = playground
          ? model.continueText({ ...ASK, ...ask }, () => undefined, undefined, 0.5)
          : model.promptIds({ ...ask, system: null }, 0.5);
        await expect(asked).rejects.toMatchObject(ended);
        // The process is gone, and says so.
        await expect(model.talk()).rejects.toMatchObject({ code: expect.stringMatching(/^job-/) as string });
      } finally {
        await child.close();
      }
    }
  });

  it('stopping does not spare it', async () => {
    const place = path.join(folder, 'endless');
    const child = new InferProcess({ entry: inferEntry });
    try {
      const model = await child.open(place, { cacheFolder: folder, weights: 'stored', threads: 1 });
      const stop = new AbortController();
      const asked = model.continueText({ ...ASK, prompt: 'Hi', chat: true }, () => undefined, stop.signal, 1);
      setTimeout(() => {
        stop.abort();
      }, 100);
      await expect(asked).rejects.toMatchObject({ code: 'job-ended-by-prompt' });
    } finally {
      await child.close();
    }
  });
});
