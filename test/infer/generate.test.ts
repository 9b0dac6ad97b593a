/** moe generate: greedy as transformers, sampling that repeats, streams, stops, and the process that dies. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { InferProcess } from '../../src/infer/client.ts';
import { TextStream, continuationText } from '../../src/score/continuation.ts';
import { cli, errorOf } from '../cli/helpers.ts';
import { sharedFolder, smollm2Folder, smollm2Gguf } from '../score/models.ts';
import { bundleInfer, root } from './entry.ts';

let inferEntry = '';
const env = { MOE_CACHE: path.join(root, '.cache', 'gguf') };
beforeAll(async () => {
  inferEntry = await bundleInfer();
}, 60_000);

interface Generated {
  readonly text: string;
  readonly ids: number[];
  readonly promptIds: number[];
  readonly reason: string;
  readonly logprobs: number[];
  readonly experts?: { layer: number; tokens: number[][] }[][];
}

async function generate(...argv: string[]): Promise<Generated> {
  const ran = await cli(['generate', ...argv, '--json'], { inferEntry, env });
  expect({ code: ran.code, err: ran.code === 0 ? '' : ran.err }).toEqual({ code: 0, err: '' });
  return ran.json() as unknown as Generated;
}

const stories = sharedFolder('models', 'stories260K');

// Processes start slowly on a busy machine.
vi.setConfig({ testTimeout: 120_000 });

describe('moe generate', () => {
  it.skipIf(stories === null)('greedy is the argmax of the logits, step by step', async () => {
    const made = await generate(stories ?? '', '--prompt', 'Once upon a time', '--max-tokens', '12');
    expect(made.text).toMatch(/^, there was a/);
    expect(made).toMatchObject({ reason: 'length', promptIds: [1, 403, 407, 261, 378] });
    const ids = [...made.promptIds, ...made.ids];
    const ran = await cli(['logits', stories ?? '', '--ids', ids.join(), '--json'], { inferEntry });
    const { positions } = ran.json() as unknown as { positions: { argmax: number }[] };
    expect(positions.slice(made.promptIds.length - 1, -1).map(({ argmax }) => argmax)).toEqual(made.ids);
    expect(made.logprobs.every((value) => value <= 0)).toBe(true);
  });

  it.skipIf(stories === null)(
    'a seed repeats a sampled text, another seed changes it; streamed text is the JSON’s',
    async () => {
      const argv = [stories ?? '', '--prompt', 'Lily', '--temperature', '1.2', '--top-p', '0.9', '--max-tokens', '40'];
      const [first, again, other] = [
        await generate(...argv, '--seed', '7'),
        await generate(...argv, '--seed', '7'),
        await generate(...argv, '--seed', '8'),
      ];
      expect(again).toEqual(first);
      expect(other.ids).not.toEqual(first.ids);
      const streamed = await cli(['generate', ...argv, '--seed', '7'], { inferEntry });
      expect(streamed.out).toBe(`${first.text}\n`);
    },
  );

  it('experts of every token, prompt first', async () => {
    const folder = path.join(root, 'test/forward/fixtures/mixtral');
    const ran = await cli(['generate', folder, '--ids', '5,6,7', '--max-tokens', '2', '--experts', '--json'], {
      inferEntry,
    });
    // The fixture has no tokenizer: ids alone cannot be put into words.
    expect(errorOf(ran)).toMatchObject({ code: 'no-tokenizer' });
    const child = new InferProcess({ entry: inferEntry });
    const model = await child.open(folder, { cacheFolder: root, weights: 'stored', threads: 1 });
    const settings = { temperature: 0, topP: 1, topK: 0, seed: 0, stop: [] };
    const { tokens } = await model.generate([5, 6, 7], { ...settings, maxTokens: 3, traces: true });
    const { layers, perLayer, topK } = model.facts.experts ?? { layers: [], perLayer: 0, topK: 0 };
    expect(tokens.map(({ experts }) => experts.map(({ chosen }) => chosen.length / topK))).toEqual([
      layers.map(() => 3),
      layers.map(() => 1),
      layers.map(() => 1),
    ]);
    const all = tokens.flatMap(({ experts }) => experts.flatMap(({ chosen }) => [...chosen]));
    expect(all.every((expert) => expert >= 0 && expert < perLayer)).toBe(true);
    await child.close();
  });

  it('asks for sense', async () => {
    const folder = path.join(root, 'test/forward/fixtures/llama');
    const codes: unknown[] = [];
    for (const argv of [
      [],
      ['--prompt', 'a', '--ids', '1'],
      ['--ids', '1', '--temperature=-1'],
      ['--ids', '1', '--top-p', '0'],
      ['--ids', '1', '--max-tokens', '0'],
      ['--ids', '1', '--seed', 'x'],
    ])
      codes.push(errorOf(await cli(['generate', folder, ...argv, '--json'], { inferEntry }))['code']);
    expect(codes).toEqual([
      'prompt-missing',
      'prompt-missing',
      'bad-sampling-option',
      'bad-sampling-option',
      'bad-number',
      'bad-number',
    ]);
  });

  const goldenFile = sharedFolder('data', 'goldens', 'smollm2-135m.logits.json.gz');
  interface Variant {
    readonly greedy: number[];
    readonly greedy_text: string;
  }
  const prompts =
    goldenFile === null
      ? {}
      : (
          JSON.parse(gunzipSync(fs.readFileSync(goldenFile)).toString('utf8')) as {
            prompts: Record<string, { text: string; ids: number[]; f32: Variant; gguf_f32: Variant }>;
          }
        ).prompts;
  const steps = ['--ignore-eos', '--max-tokens', '32'];

  it.skipIf(smollm2Folder === null || goldenFile === null)(
    'SmolLM2, folder: transformers’ ids and text',
    async () => {
      for (const { text, f32 } of Object.values(prompts)) {
        const made = await generate(smollm2Folder ?? '', '--prompt', text, ...steps);
        expect(made.ids).toEqual(f32.greedy);
        expect(made.text).toBe(f32.greedy_text.replaceAll('<|im_end|>', '').replaceAll('<|im_start|>', ''));
      }
    },
    60_000,
  );

  it.skipIf(smollm2Gguf === null || goldenFile === null)(
    'SmolLM2, GGUF: transformers’ ids',
    async () => {
      for (const { ids, gguf_f32 } of Object.values(prompts))
        expect((await generate(smollm2Gguf ?? '', '--ids', ids.join(), ...steps)).ids).toEqual(gguf_f32.greedy);
    },
    60_000,
  );

  it.skipIf(smollm2Folder === null)('SmolLM2: an answer in its chat template, ended by its end token', async () => {
    const question = ['--prompt', 'What is the capital of France?', '--chat'];
    const made = await generate(smollm2Folder ?? '', ...question);
    expect(made).toMatchObject({ text: 'The capital of France is Paris.', reason: 'stop' });
    expect(made.ids.at(-1)).toBe(2);
  });
});

describe('the model process', () => {
  const folder = path.join(root, 'test/forward/fixtures/llama');
  const settings = { cacheFolder: root, weights: 'stored', threads: 1 } as const;
  const long = { maxTokens: 10_000, temperature: 1, topP: 1, topK: 0, seed: 0, stop: [] };

  it('killed from outside: the parent lives and says so', async () => {
    const child = new InferProcess({ entry: inferEntry });
    const model = await child.open(folder, settings);
    const running = model.generate([1], {
      ...long,
      onToken: () => {
        child.kill();
      },
    });
    await expect(running).rejects.toMatchObject({
      kind: 'resources',
      code: 'job-killed',
      message: expect.stringContaining('The model process was killed') as string,
    });
    await expect(model.top([1], 1)).rejects.toMatchObject({ code: 'job-killed' });
    await child.close();
  });

  it('cancelled: ended at once', async () => {
    const abort = new AbortController();
    const child = new InferProcess({ entry: inferEntry, signal: abort.signal });
    const model = await child.open(folder, settings);
    const running = model.generate([1], {
      ...long,
      onToken: () => {
        abort.abort();
      },
    });
    await expect(running).rejects.toMatchObject({ kind: 'cancelled' });
    await child.close();
    expect(() => process.kill(child.pid ?? 0, 0)).toThrow();
  });

  it.skipIf(process.platform === 'win32')(
    'crashing at its start, it is started once more without the arena, and says so',
    async () => {
      const trapped = path.join(path.dirname(inferEntry), 'trapped.js');
      const crash = "process.kill(process.pid, 'SIGTRAP'); setInterval(() => undefined, 1000);";
      fs.writeFileSync(trapped, `if (process.env.MOE_WITHOUT_ARENA !== '1') { ${crash} } else require('./infer.js');`);
      const child = new InferProcess({ entry: trapped });
      const model = await child.open(folder, settings);
      expect(model.facts.notes.at(-1)).toMatch(/crashed \(SIGTRAP\).*started again with the plain allocator/);
      expect((await model.top([1], 1)).length).toBe(1);
      await child.close();
      // One that crashes either way is not started for ever.
      fs.writeFileSync(trapped, crash);
      const broken = new InferProcess({ entry: trapped });
      await expect(broken.open(folder, settings)).rejects.toMatchObject({ code: 'job-crashed' });
      await broken.close();
    },
  );

  it('a program that cannot start is explained with its last words', async () => {
    const broken = path.join(path.dirname(inferEntry), 'broken.js');
    fs.writeFileSync(broken, "throw new Error('cannot find the native library');");
    const child = new InferProcess({ entry: broken });
    await expect(child.open(folder, settings)).rejects.toMatchObject({
      kind: 'internal',
      message: expect.stringContaining('cannot find the native library') as string,
    });
    await child.close();
  });
});

describe('generated text', () => {
  const decode = (ids: readonly number[]): string => ids.map((id) => String.fromCodePoint(id)).join('');

  it('continues the prompt', () => {
    expect(continuationText({ decode }, [65, 66], [67, 68])).toBe('CD');
    // A decoder that strips the first space of a text, as sentencepiece's does.
    const strip = { decode: (ids: readonly number[]) => decode(ids).replace(/^ /, '') };
    expect(continuationText(strip, [32, 65], [32, 66])).toBe(' B');
  });

  it('half characters wait for the rest', () => {
    const stream = new TextStream();
    expect(['a', 'a\ufffd', 'aß', 'aßb\ufffd'].map((text) => stream.next(text))).toEqual(['a', '', 'ß', 'b']);
    expect(stream.next('aßb\ufffd', true)).toBe('\ufffd');
  });
});
