import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { Tokenizer } from '@huggingface/tokenizers';
import { splitsAfterNewline } from '../../../src/eval/prefix-cache.ts';
import type { EvalTokenizer } from '../../../src/eval/scorer.ts';

const HERE = dirname(fileURLToPath(import.meta.url));
/** Reference material beside the repository; absent on most machines. */
export const SHARED = join(HERE, '..', '..', '..', '..', 'shared');
export const FIXTURES = join(HERE, '..', 'fixtures');

/** Is the file or folder below shared/ there? When not, says loudly what is skipped. */
export function haveShared(path: string, what: string): boolean {
  const there = existsSync(join(SHARED, path));
  // eslint config forbids the console in sources; a skipped test must be seen.
  if (!there) process.emitWarning(`SKIPPED: ${what} (needs shared/${path})`);
  return there;
}

/** JSON of a plain or gzipped file. */
export function readJson(path: string): unknown {
  const bytes = readFileSync(path);
  return JSON.parse((path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8'));
}

/** Token ids by a tokenizer.json, as evaluation wants them. */
export function tokenizerFrom(folder: string, special: { readonly bos: string; readonly eos: string }): EvalTokenizer {
  const json = asObject(readJson(join(folder, 'tokenizer.json')));
  const tokenizer = new Tokenizer(json, {
    clean_up_tokenization_spaces: false,
  });
  const bosId = tokenizer.token_to_id(special.bos);
  const eosId = tokenizer.token_to_id(special.eos);
  return {
    encode: (text, { addSpecial }) => tokenizer.encode(text, { add_special_tokens: addSpecial }).ids,
    decode: (ids) => tokenizer.decode([...ids], { skip_special_tokens: false, clean_up_tokenization_spaces: false }),
    ...(bosId === undefined ? {} : { bosId }),
    ...(eosId === undefined ? {} : { eosId }),
    splitsAfterNewline: splitsAfterNewline(json),
  };
}

function asObject(value: unknown): object {
  if (typeof value !== 'object' || value === null) throw new Error('expected a JSON object');
  return value;
}
