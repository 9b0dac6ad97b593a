/** Whether input and output embeddings are one tensor: by the config, and by what is stored. */
import type { Checkpoint, Problem } from '../checkpoint/types.ts';
import type { JsonObject } from '../common/json.ts';
import type { Facts } from './facts.ts';
import { modelTypeOf, textSection } from './moe-config.ts';

/** Families whose class ties unless the config says otherwise (transformers 5). */
const TIED_BY_DEFAULT =
  /^(?:gemma\d*(?:_text|n|n_text)?|gpt2|bloom|opt|cohere\d*|phimoe_tied|smollm3|t5|switch_transformers|nllb_moe)$/;

export interface Tie {
  /** What a loader does: by the config, else by the family's default, else by whether a head is stored. */
  readonly tied: boolean;
  /** A head lies in the files although the model is tied: the same weights twice, counted once. */
  readonly storedTwice: boolean;
  readonly problems: readonly Problem[];
}

/** Judges tie_word_embeddings against the files. */
export function judgeTie(cp: Checkpoint, facts: Facts): Tie {
  const flag = cp.config === null ? null : tieFlag(cp.config);
  const aliased =
    cp.aliases.has('lm_head.weight') || [...cp.aliases].some(([hf]) => hf.endsWith('embed_tokens.weight'));
  const { embed, head } = facts;
  const headHere = head !== null && embed !== null;
  const tied = flag ?? (aliased || (embed !== null && head === null) || (cp.format === 'gguf' && head === null));
  const storedTwice = tied && headHere && sameShape(embed.shape, head.shape);
  const problems: Problem[] = [];
  if (flag === true && headHere) {
    problems.push({
      severity: 'warning',
      code: 'tied-with-head',
      file: head.file,
      tensor: head.name,
      message: `tie_word_embeddings is true, but ${head.name} is stored beside ${embed.name}; loaders use one of them`,
      hint: 'If their bytes differ, the flag or the file is wrong; an upcycle compares them and asks for `tie` then.',
    });
  }
  if (flag === false && embed !== null && head === null && !aliased && needsHead(cp)) {
    problems.push({
      severity: 'error',
      code: 'untied-without-head',
      tensor: 'lm_head.weight',
      message:
        'tie_word_embeddings is false (or its default), but lm_head.weight is in no file: a loader would leave the output head at random values',
      hint: 'Fetch the missing weights, or set tie_word_embeddings to true if the model is tied.',
    });
  }
  return { tied, storedTwice, problems };
}

/** The flag as written at either level of a composite config, else the family's default, else null. */
export function tieFlag(config: JsonObject): boolean | null {
  const { section } = textSection(config);
  for (const place of [section, config]) {
    const value = place['tie_word_embeddings'];
    if (typeof value === 'boolean') return value;
  }
  const family = modelTypeOf(section) ?? modelTypeOf(config);
  return family === null ? null : TIED_BY_DEFAULT.test(family);
}

/** A language model with a head, whose head is not merely in a file that could not be read. */
function needsHead(cp: Checkpoint): boolean {
  const listed = cp.config?.['architectures'];
  const architecture = Array.isArray(listed) ? String(listed[0] ?? '') : '';
  if (architecture !== '' && !/(?:CausalLM|LMHead|ConditionalGeneration)/.test(architecture)) return false;
  const whole = cp.files.every((file) => file.state === 'ok');
  return (whole || cp.planOnly) && cp.index?.weightMap.has('lm_head.weight') !== true;
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((dim, d) => dim === b[d]);
}
