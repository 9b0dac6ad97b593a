/** The tokenizer files of a checkpoint folder, or of any named texts (a GGUF's are generated). */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { MoeError, messageOf, systemCodeOf } from '../common/errors.ts';
import { isJsonObject } from '../common/json.ts';
import type { JsonObject } from '../common/json.ts';
import { chatTemplate } from './chat.ts';
import { TextTokenizer } from './tokenizer.ts';

export interface LoadedTokenizer {
  readonly tokenizer: TextTokenizer;
  readonly chatTemplate: string | undefined;
  /** The parsed tokenizer.json. */
  readonly tokenizerJson: JsonObject;
}

/** Gives the text of a file by name, or undefined where there is none. */
export type ReadText = (name: string) => string | undefined;

/** Loads from texts. Throws a MoeError `no-tokenizer` when there is no tokenizer.json. */
export function loadTokenizer(read: ReadText): LoadedTokenizer {
  const tokenizerJson = parse('tokenizer.json', read);
  if (tokenizerJson === undefined) {
    const old = ['tokenizer.model', 'spiece.model', 'vocab.json'].find((name) => read(name) !== undefined);
    throw new MoeError(
      'input',
      'no-tokenizer',
      old === undefined
        ? 'The checkpoint has no tokenizer.json.'
        : `The checkpoint has only ${old}, not tokenizer.json.`,
      {
        file: 'tokenizer.json',
        hint: 'Put the tokenizer.json of the model beside its weights; transformers writes one with AutoTokenizer.from_pretrained(…).save_pretrained(…).',
      },
    );
  }
  const tokenizerConfig = parse('tokenizer_config.json', read);
  const specialTokensMap = parse('special_tokens_map.json', read);
  const tokenizer = new TextTokenizer({
    tokenizerJson,
    ...(tokenizerConfig === undefined ? {} : { tokenizerConfig }),
    ...(specialTokensMap === undefined ? {} : { specialTokensMap }),
  });
  return { tokenizer, chatTemplate: chatTemplate(tokenizerConfig, read('chat_template.jinja')), tokenizerJson };
}

/** Loads from a folder on disk. */
export function loadTokenizerFolder(folder: string): LoadedTokenizer {
  return loadTokenizer((name) => {
    try {
      return fs.readFileSync(path.join(folder, name), 'utf8');
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return undefined;
      throw new MoeError(
        'input',
        'tokenizer-unreadable',
        `${name} cannot be read: ${messageOf(error)}`,
        { file: path.join(folder, name) },
        { cause: error },
      );
    }
  });
}

function parse(name: string, read: ReadText): JsonObject | undefined {
  const text = read(name);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch (error) {
    throw new MoeError(
      'input',
      'tokenizer-not-json',
      `${name} is not valid JSON: ${messageOf(error)}`,
      { file: name },
      { cause: error },
    );
  }
  if (!isJsonObject(value))
    throw new MoeError('input', 'tokenizer-not-json', `${name} is not a JSON object.`, { file: name });
  return value;
}
