import { MoeError } from '../../common/errors.ts';
import type { Checkpoint } from '../../checkpoint/types.ts';
import type { GeneratedRemote } from '../../infer/client.ts';
import type { LoadedTokenizer } from '../../tokens/folder.ts';
import type { Command, Context } from '../command.ts';
import { usageError } from '../command.ts';
import { RUN_OPTIONS, openModel, openPath, withModels } from '../models.ts';
import { emit } from '../output.ts';
import { idsOption, numberOption, textOption, wholeOption } from '../values.ts';

export const generate: Command = {
  spec: {
    name: 'generate',
    summary: 'continue a prompt',
    usage: ['PATH --prompt TEXT [--temperature T] [--max-tokens N]', 'PATH --prompt TEXT --chat', 'PATH --ids 1,2,3'],
    about: [
      'Greedy unless --temperature is above 0; a seed makes a sampled text repeatable. The text ends at an end token of generation_config.json or config.json, at --max-tokens, or where the model’s positions end.',
    ],
    options: {
      prompt: { type: 'string', help: 'the text to continue; "-" reads standard input verbatim' },
      ids: { type: 'string', value: '1,2,3', help: 'token ids instead of a prompt' },
      chat: { type: 'boolean', help: 'put the prompt into the model’s chat template, as the user’s turn' },
      system: { type: 'string', help: 'with --chat: the system’s turn' },
      'max-tokens': { type: 'string', value: 'N', help: 'most tokens to generate (128)' },
      temperature: { type: 'string', value: 'T', help: '0 (default) is greedy, 1 samples from the model as it is' },
      'top-p': { type: 'string', value: 'P', help: 'sample from the fewest tokens whose probabilities reach P (1)' },
      'top-k': { type: 'string', value: 'K', help: 'sample from the K most likely tokens; 0 (default): all' },
      seed: { type: 'string', value: 'N', help: 'seed of the sampler (0)' },
      'ignore-eos': { type: 'boolean', help: 'go on after an end token' },
      experts: { type: 'boolean', help: 'with --json: the experts that each token went to' },
      ...RUN_OPTIONS,
    },
    positionals: [1, 1],
  },
  async run(context) {
    const { args, io, json } = context;
    const prompt = await textOption(context, 'prompt');
    const given = idsOption(context, 'ids');
    if ((prompt === undefined) === (given === undefined))
      throw usageError('prompt-missing', 'moe generate needs either --prompt or --ids', 'moe help generate');
    const sampling = {
      maxTokens: wholeOption(context, 'max-tokens', 1) ?? 128,
      temperature: numberOption(context, 'temperature') ?? 0,
      topP: numberOption(context, 'top-p') ?? 1,
      topK: wholeOption(context, 'top-k') ?? 0,
      seed: wholeOption(context, 'seed') ?? 0,
    };
    const { checkSampling } = await import('../../model/sampling.ts');
    checkSampling(sampling);
    const checkpoint = await openPath(context, args.positionals[0] ?? '');
    const { tokenizerOf } = await import('../../score/tokenizer.ts');
    const { TextStream, continuationText } = await import('../../score/continuation.ts');
    const { stopTokens } = await import('../../score/stop-tokens.ts');
    const loaded = tokenizerOf(checkpoint);
    const { tokenizer } = loaded;
    const chat = args.flag('chat') && given === undefined;
    if (chat) requireTemplate(checkpoint, loaded);
    let promptIds = given ?? (chat ? [] : promptTokens(context, loaded, prompt ?? ''));
    const ids: number[] = [];
    const stream = new TextStream();
    const text = (): string => continuationText(tokenizer, promptIds, ids);
    let writing = Promise.resolve();
    const { tokens, reason } = await withModels(context, async (child) => {
      const model = await openModel(context, child, checkpoint.path);
      // A template is a program of the checkpoint's: it runs in the model process, which may be ended.
      if (chat) promptIds = await model.promptIds({ prompt: prompt ?? '', chat, system: args.text('system') ?? null });
      const { maxPositions } = model.facts;
      if (promptIds.length > maxPositions)
        throw new MoeError(
          'input',
          'prompt-too-long',
          `The prompt has ${promptIds.length} tokens, the model takes ${maxPositions}: nothing can follow.`,
          { hint: 'Give a shorter prompt.' },
        );
      if (args.flag('experts') && model.facts.experts === null)
        context.log('note: the model is dense: no experts to tell of');
      return model.generate(promptIds, {
        ...sampling,
        stop: args.flag('ignore-eos')
          ? []
          : stopTokens(checkpoint, model.facts.eos, tokenizer.eosId, (message) => {
              context.log(`note: ${message}`);
            }),
        traces: args.flag('experts'),
        onToken: ({ id }) => {
          ids.push(id);
          if (json) return;
          const piece = stream.next(text());
          writing = writing.then(() => io.out(piece));
        },
      });
    });
    await writing;
    const result = {
      text: text(),
      ids,
      promptIds,
      reason,
      logprobs: tokens.map(({ logprob }) => logprob),
      ...(args.flag('experts') ? { experts: tokens.map(expertsOf) } : {}),
    };
    await emit(context, result, () => `${stream.next(result.text, true)}\n`);
    if (!json && reason !== 'stop')
      context.log(reason === 'length' ? `(ended at --max-tokens ${sampling.maxTokens})` : '(the context is full)');
    return 0;
  },
};

/** Per layer: the experts of each token that was run for this one (the whole prompt for the first), best first. */
function expertsOf({ experts }: GeneratedRemote): readonly { readonly layer: number; readonly tokens: number[][] }[] {
  return experts.map(({ layer, topK, chosen }) => ({
    layer,
    tokens: Array.from({ length: chosen.length / topK }, (_, i) => [...chosen.subarray(i * topK, (i + 1) * topK)]),
  }));
}

function promptTokens({ args }: Context, { tokenizer }: LoadedTokenizer, prompt: string): number[] {
  if (args.text('system') !== undefined) throw usageError('system-without-chat', '--system goes with --chat');
  const ids = tokenizer.encode(prompt);
  if (ids.length > 0) return ids;
  if (tokenizer.bosId !== undefined) return [tokenizer.bosId];
  throw usageError('no-tokens', 'the prompt is empty, and the tokenizer has no token to begin with');
}

/** Said before a model is loaded. */
function requireTemplate(checkpoint: Checkpoint, { chatTemplate }: LoadedTokenizer): void {
  if (chatTemplate !== undefined) return;
  throw usageError(
    'no-chat-template',
    `${checkpoint.path} has no chat template`,
    'Leave --chat away, or put a chat_template.jinja beside the weights.',
  );
}
