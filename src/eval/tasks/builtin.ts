import type { RowReader } from '../data/rows.ts';
import { isRow, isStringList } from '../data/rows.ts';
import { pyCapitalize, pyLstrip, pyStrip } from '../python/text.ts';
import type { ChoiceTask, DocParts, FewshotRule } from './types.ts';

// Rules: reference section 2.2; task files of lm-evaluation-harness 0.4.13.

const DEFAULTS = {
  version: 1,
  description: '',
  targetDelimiter: ' ',
  fewshotDelimiter: '\n\n',
} as const;
const TRAIN_DROP: FewshotRule = { sampler: 'random', split: 'train', dropEvalDoc: true };
const TRAIN: FewshotRule = { sampler: 'random', split: 'train', dropEvalDoc: false };

/** Parts of a document with one context, whose target is the index of the right choice. */
function indexed(row: RowReader, context: string, choices: readonly string[], gold: number): DocParts {
  return {
    doc: row.row,
    contexts: [context],
    continuations: choices,
    choices,
    gold,
    target: gold,
    shot: { question: context, answer: choices[gold] ?? '' },
  };
}

/** HellaSwag's clean-up (reference section 2.5): strip comes before brackets go, so outer spaces may remain. */
export function hellaswagPreprocess(text: string): string {
  return dropBrackets(pyStrip(text).replaceAll(' [title]', '. ')).replaceAll('  ', ' ');
}

/** `re.sub(r"\[.*?\]", "", text)` in linear time: the closing bracket must stand on the same line. */
function dropBrackets(text: string): string {
  let out = '';
  let at = 0;
  let close = -1;
  let newline = -1;
  for (let open = text.indexOf('['); open >= 0;) {
    // Looked up again only once passed: an unmatched opening must not scan the rest anew.
    if (close < open) close = text.indexOf(']', open);
    if (close < 0) break;
    if (newline < open) newline = text.indexOf('\n', open);
    if (newline < 0) newline = text.length;
    if (newline < close) {
      open = text.indexOf('[', newline);
      continue;
    }
    out += text.slice(at, open);
    at = close + 1;
    open = text.indexOf('[', at);
  }
  return out + text.slice(at);
}

const hellaswag: ChoiceTask = {
  ...DEFAULTS,
  name: 'hellaswag',
  alias: 'hellaswag',
  outputType: 'multiple_choice',
  metrics: ['acc', 'acc_norm'],
  dataset: { stems: ['hellaswag'], hubId: 'Rowan/hellaswag', hubConfig: null },
  evalSplit: 'validation',
  fewshot: TRAIN_DROP,
  help: 'Which of four endings continues a short scene. acc_norm divides by the number of code points.',
  read: (row) => {
    const scene = `${row.string('activity_label')}: ${row.string('ctx_a')} ${pyCapitalize(row.string('ctx_b'))}`;
    const query = hellaswagPreprocess(scene);
    const choices = row.strings('endings', 2).map(hellaswagPreprocess);
    const gold = row.index('label', choices.length, true);
    return { ...indexed(row, query, choices, gold), doc: { ...row.row, query, choices, gold } };
  },
};

const piqa: ChoiceTask = {
  ...DEFAULTS,
  name: 'piqa',
  alias: 'piqa',
  outputType: 'multiple_choice',
  metrics: ['acc', 'acc_norm'],
  dataset: { stems: ['piqa'], hubId: 'baber/piqa', hubConfig: null },
  evalSplit: 'validation',
  fewshot: TRAIN_DROP,
  help: 'Which of two ways reaches an everyday goal. Fields keep their outer blanks, as in the harness.',
  read: (row) =>
    indexed(
      row,
      `Question: ${row.string('goal')}\nAnswer:`,
      [row.string('sol1'), row.string('sol2')],
      row.index('label', 2, true),
    ),
};

/** ARC's and OpenBookQA's choices: a record of two lists, or a list of records. Labels may be letters or digits. */
function labelledChoices(row: RowReader, answer: string): { texts: readonly string[]; gold: number } {
  const value = row.get('choices');
  let texts: readonly string[];
  let labels: readonly string[];
  if (Array.isArray(value) && value.every(isRow)) {
    texts = value.map((c) => c['text']).filter((t) => typeof t === 'string');
    labels = value.map((c) => c['label']).filter((l) => typeof l === 'string');
  } else {
    const choices = row.record('choices');
    texts = choices.strings('text', 2);
    labels = choices.strings('label', 2);
  }
  if (!isStringList(texts) || texts.length < 2 || texts.length !== labels.length) {
    throw row.fail('choices', 'texts with one label each');
  }
  const gold = labels.indexOf(answer);
  if (gold < 0) throw row.fail('answerKey', `one of the labels ${labels.join(', ')}`);
  return { texts, gold };
}

function arc(name: 'arc_easy' | 'arc_challenge', hubConfig: string): ChoiceTask {
  return {
    ...DEFAULTS,
    name,
    alias: name,
    outputType: 'multiple_choice',
    metrics: ['acc', 'acc_norm'],
    dataset: { stems: [name], hubId: 'allenai/ai2_arc', hubConfig },
    evalSplit: 'test',
    fewshot: TRAIN,
    help: 'School science questions with three to five choices, which are not shown in the prompt.',
    read: (row) => {
      const { texts, gold } = labelledChoices(row, row.string('answerKey'));
      return indexed(row, `Question: ${row.string('question')}\nAnswer:`, texts, gold);
    },
  };
}

const openbookqa: ChoiceTask = {
  ...DEFAULTS,
  name: 'openbookqa',
  alias: 'openbookqa',
  outputType: 'multiple_choice',
  metrics: ['acc', 'acc_norm'],
  dataset: { stems: ['openbookqa'], hubId: 'allenai/openbookqa', hubConfig: 'main' },
  evalSplit: 'test',
  fewshot: TRAIN,
  help: 'A sentence beginning and four ends; elementary science.',
  read: (row) => {
    const { texts, gold } = labelledChoices(row, pyLstrip(row.string('answerKey')));
    return indexed(row, row.string('question_stem'), texts, gold);
  },
};

const boolq: ChoiceTask = {
  ...DEFAULTS,
  name: 'boolq',
  alias: 'boolq',
  version: 2,
  outputType: 'multiple_choice',
  metrics: ['acc'],
  dataset: { stems: ['boolq'], hubId: 'aps/super_glue', hubConfig: 'boolq' },
  evalSplit: 'validation',
  fewshot: TRAIN_DROP,
  help: 'A passage and a question answered by no or yes.',
  read: (row) => {
    const label = row.has('label') ? row.index('label', 2) : booleanAnswer(row);
    return indexed(
      row,
      `${row.string('passage')}\nQuestion: ${row.string('question')}?\nAnswer:`,
      ['no', 'yes'],
      label,
    );
  },
};

// google/boolq stores `answer: true|false` where super_glue stores `label: 0|1`.
function booleanAnswer(row: RowReader): number {
  const answer = row.get('answer');
  if (typeof answer !== 'boolean') throw row.fail('label', '0 or 1');
  return answer ? 1 : 0;
}

/** COPA's context and choices as the file has them, from super_glue's fields or llm-foundry's (`query`, `choices`, `gold`). */
function copaFields(row: RowReader): { context: string; choices: readonly string[]; gold: number } {
  if (row.has('query')) {
    const choices = row.strings('choices', 2);
    return { context: row.string('query'), choices, gold: row.index('gold', choices.length) };
  }
  const question = row.string('question');
  if (question !== 'cause' && question !== 'effect') throw row.fail('question', '"cause" or "effect"');
  const premise = [...pyStrip(row.string('premise'))].slice(0, -1).join('');
  const choices = [row.string('choice1'), row.string('choice2')];
  const context = `${premise} ${question === 'cause' ? 'because' : 'therefore'}`;
  return { context, choices, gold: row.index('label', 2) };
}

function lowerFirst(text: string): string {
  const [first = '', ...rest] = text;
  return first.toLowerCase() + rest.join('');
}

const copa: ChoiceTask = {
  ...DEFAULTS,
  name: 'copa',
  alias: 'copa',
  outputType: 'multiple_choice',
  metrics: ['acc'],
  dataset: { stems: ['copa'], hubId: 'aps/super_glue', hubConfig: 'copa' },
  evalSplit: 'validation',
  fewshot: TRAIN_DROP,
  help: 'Cause or effect of a premise. As in the harness, two spaces stand before each choice; copa_as_written has one.',
  read: (row) => {
    const { context: written, choices, gold } = copaFields(row);
    const context = written.replace(/,? (because|therefore)$/, ' $1'); // some files have a comma that the harness has not
    const spaced = choices.map((c) => ` ${lowerFirst(c)}`);
    const target = spaced[gold] ?? '';
    return { ...indexed(row, context, spaced, gold), target, shot: { question: context, answer: target } };
  },
};

const copaAsWritten: ChoiceTask = {
  ...copa,
  name: 'copa_as_written',
  alias: 'copa (one space)',
  help: 'COPA with one space before each choice, as the data file is written. Not the wording of the harness.',
  read: (row) => {
    const { context, choices, gold } = copaFields(row);
    return indexed(row, context, choices, gold);
  },
};

const winogrande: ChoiceTask = {
  ...DEFAULTS,
  name: 'winogrande',
  alias: 'winogrande',
  outputType: 'multiple_choice',
  metrics: ['acc'],
  dataset: { stems: ['winogrande', 'winogrande_xl'], hubId: 'allenai/winogrande', hubConfig: 'winogrande_xl' },
  evalSplit: 'validation',
  fewshot: TRAIN_DROP,
  help:
    'Partial scoring, by intention: each option is put into the blank as context, and the same rest of the sentence is scored ' +
    'after it. The continuation therefore does not hold the answer, and acc_norm would equal acc.',
  read: (row) => {
    const sentence = row.string('sentence');
    const blank = sentence.indexOf('_');
    if (blank < 0) throw row.fail('sentence', 'a text with one "_"');
    const answer = row.string('answer');
    if (answer !== '1' && answer !== '2') throw row.fail('answer', '"1" or "2"');
    const gold = answer === '1' ? 0 : 1;
    const contexts = [row.string('option1'), row.string('option2')].map((option) => sentence.slice(0, blank) + option);
    const rest = pyStrip(sentence.slice(blank + 1));
    return {
      doc: row.row,
      contexts,
      continuations: contexts.map(() => rest),
      choices: contexts,
      gold,
      target: rest,
      shot: { question: contexts[gold] ?? '', answer: rest },
    };
  },
};

function lambada(name: 'lambada_openai' | 'lambada_standard', hubId: string, stems: readonly string[]): ChoiceTask {
  return {
    ...DEFAULTS,
    name,
    alias: name,
    outputType: 'loglikelihood',
    metrics: ['perplexity', 'acc'],
    dataset: { stems, hubId, hubConfig: null },
    evalSplit: 'test',
    fewshot: { sampler: 'random', split: name === 'lambada_openai' ? 'test' : 'validation', dropEvalDoc: false },
    help: 'The last word of a passage: acc counts words predicted greedily, perplexity is over the word.',
    read: (row) => {
      const words = row.string('text').split(' '); // U+0020 only: some last words hold a newline
      const context = words.slice(0, -1).join(' ');
      const target = ` ${words.at(-1) ?? ''}`;
      return {
        doc: row.row,
        contexts: [context],
        continuations: [target],
        choices: [target],
        gold: undefined,
        target,
        shot: { question: context, answer: target },
      };
    },
  };
}

/** Every built-in task that scores continuations, except MMLU. */
export const CHOICE_TASKS: readonly ChoiceTask[] = [
  hellaswag,
  piqa,
  arc('arc_easy', 'ARC-Easy'),
  arc('arc_challenge', 'ARC-Challenge'),
  copa,
  copaAsWritten,
  winogrande,
  openbookqa,
  boolq,
  lambada('lambada_openai', 'EleutherAI/lambada_openai', ['lambada_openai', 'lambada']),
  lambada('lambada_standard', 'cimec/lambada', ['lambada_standard']),
];
