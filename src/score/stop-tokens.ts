/** Tokens that end a generated text. */
import type { Checkpoint } from '../checkpoint/types.ts';
import { parseJson } from './small-json.ts';
import { sidecarText } from './tokenizer.ts';

/** generation_config.json's, as transformers takes them, else those of the config, else the tokenizer's own. */
export function stopTokens(
  checkpoint: Checkpoint,
  ofConfig: readonly number[],
  ofTokenizer: number | undefined,
  note: (message: string) => void = () => undefined,
): readonly number[] {
  const text = sidecarText(checkpoint, 'generation_config.json');
  const config = parseJson(text);
  if (text !== undefined && config === undefined)
    note('generation_config.json is no JSON object: the end tokens that it may name are not known');
  const value = config?.['eos_token_id'];
  const listed = (Array.isArray(value) ? value : [value]).filter(
    (id): id is number => typeof id === 'number' && Number.isSafeInteger(id) && id >= 0,
  );
  if (listed.length > 0) return listed;
  if (ofConfig.length > 0) return ofConfig;
  return ofTokenizer === undefined ? [] : [ofTokenizer];
}
