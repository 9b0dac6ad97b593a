/** Chat templates: a conversation as the text that the model was trained on, by @huggingface/jinja. */
import { Template } from '@huggingface/jinja';
import { whileBlocking } from '../common/blocking.ts';
import { MoeError, messageOf } from '../common/errors.ts';
import { isJsonObject } from '../common/json.ts';
import type { JsonObject, JsonValue } from '../common/json.ts';
import type { TextTokenizer } from './tokenizer.ts';

export interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

/** The template of a checkpoint: chat_template.jinja wins over tokenizer_config.json, as in transformers. */
export function chatTemplate(
  tokenizerConfig: JsonObject | undefined,
  jinjaFile: string | undefined,
): string | undefined {
  if (jinjaFile !== undefined) return jinjaFile;
  const value =
    tokenizerConfig !== undefined && Object.hasOwn(tokenizerConfig, 'chat_template')
      ? tokenizerConfig['chat_template']
      : undefined;
  if (typeof value === 'string') return value;
  // Several templates by name: the one called "default".
  if (!Array.isArray(value)) return undefined;
  const chosen = value.find((item: JsonValue) => isJsonObject(item) && item['name'] === 'default');
  const text = isJsonObject(chosen) ? chosen['template'] : undefined;
  return typeof text === 'string' ? text : undefined;
}

/**
 * Renders a conversation. `addGenerationPrompt` ends it where the model's answer begins. The text holds its own special
 * tokens: encode it with `addSpecial: false`.
 */
export function renderChat(
  template: string,
  messages: readonly ChatMessage[],
  tokenizer: TextTokenizer,
  options: { readonly addGenerationPrompt: boolean; readonly variables?: JsonObject },
): string {
  const tokens = Object.fromEntries(
    (['bos_token', 'eos_token', 'unk_token', 'pad_token'] as const).flatMap((name) => {
      const text = tokenizer.special(name);
      return text === undefined ? [] : [[name, text] as const];
    }),
  );
  try {
    return whileBlocking(() =>
      new Template(template).render({
        ...tokens,
        ...options.variables,
        messages,
        add_generation_prompt: options.addGenerationPrompt,
      }),
    );
  } catch (error) {
    throw new MoeError(
      'input',
      'chat-template-failed',
      `The chat template cannot be rendered: ${messageOf(error)}`,
      { file: 'chat_template.jinja', hint: 'Check the roles of the messages, or give the prompt as plain text.' },
      { cause: error },
    );
  }
}
