import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Row } from '../../src/eval/data/rows.ts';
import { RowReader } from '../../src/eval/data/rows.ts';
import { DataStore } from '../../src/eval/data/store.ts';
import { pyStrip } from '../../src/eval/python/text.ts';
import { requestTexts } from '../../src/eval/score-task.ts';
import { buildTask, sampleSize } from '../../src/eval/tasks/build.ts';
import { hellaswagPreprocess } from '../../src/eval/tasks/builtin.ts';
import { MMLU_GROUP_LIST, MMLU_SUBJECTS, mmluGroupOf, mmluSubject } from '../../src/eval/tasks/mmlu.ts';
import { builtinTask, leavesOf, selectTasks, taskNames } from '../../src/eval/tasks/registry.ts';
import { wikitextDetokenize } from '../../src/eval/tasks/rolling.ts';
import type { ChoiceTask, DocParts } from '../../src/eval/tasks/types.ts';
import { FIXTURES } from './helpers/shared.ts';

const reader = (row: Row): RowReader => new RowReader(row, { file: 'x.jsonl', where: 'line 1' });

function choiceTask(name: string): ChoiceTask {
  const task = builtinTask(name);
  if (task === undefined || task.outputType === 'loglikelihood_rolling') throw new Error(name);
  return task;
}

/** Requests of a row, 0-shot. */
function requests(name: string, row: Row): { parts: DocParts; texts: { context: string; continuation: string }[] } {
  const task = choiceTask(name);
  const parts = task.read(reader(row));
  return { parts, texts: requestTexts(task, { docId: 0, prefix: task.description, parts }) };
}

describe('task rules', () => {
  it('winogrande: partial scoring (field report G4-07)', () => {
    const { parts, texts } = requests('winogrande', {
      sentence: 'Mia lent Zoe the map because _ knew the valley.',
      option1: 'Mia',
      option2: 'Zoe',
      answer: '1',
    });
    expect(texts).toEqual([
      { context: 'Mia lent Zoe the map because Mia', continuation: ' knew the valley.' },
      { context: 'Mia lent Zoe the map because Zoe', continuation: ' knew the valley.' },
    ]);
    expect(parts).toMatchObject({ gold: 0, target: 'knew the valley.' });
    expect(choiceTask('winogrande').metrics).toEqual(['acc']);
    expect(choiceTask('winogrande').help).toContain('Partial scoring, by intention');
  });

  it('copa: two spaces as in the harness, one as written; a comma before the connector', () => {
    const row = { query: 'The girl fell, because', choices: ['It rained.', 'i ran.'], gold: 1 };
    expect(requests('copa', row).texts.map((t) => [t.context, t.continuation])).toEqual([
      ['The girl fell because', '  it rained.'],
      ['The girl fell because', '  i ran.'],
    ]);
    expect(requests('copa_as_written', row).texts.map((t) => [t.context, t.continuation])).toEqual([
      ['The girl fell, because', ' It rained.'],
      ['The girl fell, because', ' i ran.'],
    ]);
    expect(() => requests('copa', { question: 'why', premise: 'a.', choice1: 'b', choice2: 'c', label: 0 })).toThrow(
      '"cause" or "effect"',
    );
  });

  it('MMLU strips the question but not the choices', () => {
    const row = { question: ' Why?\u0085', subject: 'us_foreign_policy', choices: [' a', 'b ', 'c', 'd'], answer: 2 };
    expect(requests('mmlu_us_foreign_policy', row).texts[0]).toEqual({
      context:
        'The following are multiple choice questions (with answers) about us foreign policy.\n\nWhy?\nA.  a\nB. b \nC. c\nD. d\nAnswer:',
      continuation: ' A',
    });
    expect(requests('mmlu_us_foreign_policy_continuation', row).texts[1]).toEqual({
      context: 'The following are questions (with answers) about us foreign policy.\n\nQuestion: Why?\nAnswer:',
      continuation: ' b ',
    });
    expect(() => requests('mmlu_anatomy', { ...row, choices: ['a', 'b'] })).toThrow('field "choices"');
    expect(() => requests('mmlu_anatomy', { ...row, answer: 4 })).toThrow('a whole number from 0 to 3');
  });

  it('lambada splits at U+0020 only', () => {
    const { texts, parts } = requests('lambada_openai', { text: 'he saw the\u00a0old best\ndog' });
    expect(texts).toEqual([{ context: 'he saw the\u00a0old', continuation: ' best\ndog' }]);
    expect(parts.target).toBe(' best\ndog');
  });

  it('boolq takes super_glue’s label and google/boolq’s answer', () => {
    const row = { passage: 'P.', question: 'is it' };
    expect(requests('boolq', { ...row, label: 0 }).parts.gold).toBe(0);
    expect(requests('boolq', { ...row, answer: true }).parts.gold).toBe(1);
    expect(() => requests('boolq', row)).toThrow('field "label" should be 0 or 1');
  });

  it('arc: a key that is no label is an error, digits are labels too', () => {
    const choices = { text: ['a', 'b', 'c'], label: ['1', '2', '3'] };
    expect(requests('arc_easy', { question: 'q', choices, answerKey: '3' }).parts.gold).toBe(2);
    expect(() => requests('arc_easy', { question: 'q', choices, answerKey: 'C' })).toThrow('one of the labels 1, 2, 3');
    expect(() =>
      requests('arc_easy', { question: 'q', choices: { text: ['a', 'b'], label: ['A'] }, answerKey: 'A' }),
    ).toThrow('"choices.label"');
  });
});

describe('text clean-up', () => {
  const units = fc.constantFrom('[', ']', ' ', '\n', 'a', '[title]', ' [title]', '  ', '\u0085');
  it('hellaswag: equal to the harness’s regular expressions', () => {
    const naive = (text: string): string =>
      pyStrip(text)
        .replaceAll(' [title]', '. ')
        .replace(/\[[^\n]*?\]/g, '')
        .replaceAll('  ', ' ');
    fc.assert(
      fc.property(
        fc.array(units, { maxLength: 30 }),
        (parts) => hellaswagPreprocess(parts.join('')) === naive(parts.join('')),
      ),
      { numRuns: 500 },
    );
  });

  it('hellaswag: many unmatched brackets take linear time', () => {
    const start = performance.now();
    hellaswagPreprocess('['.repeat(200_000));
    hellaswagPreprocess('[\n'.repeat(200_000) + ']');
    expect(performance.now() - start).toBeLessThan(4000);
  });

  it('wikitext: equal to the harness’s regular expressions on pairs', () => {
    const pieces = fc.constantFrom(
      '(',
      ')',
      '[',
      ']',
      '"',
      "'",
      '{',
      '}',
      ' ',
      '\n',
      'x',
      ',',
      '=',
      's ',
      ' N ',
      '\u0085',
      ' @-@ ',
    );
    const space = '[\\s\\x1c-\\x1f\\x85]*'; // Python's \s; U+FEFF is not among the pieces
    const naive = (page: string): string => {
      let s = page.replaceAll("s '", "s'").replaceAll(' @-@ ', '-').replaceAll(' @,@ ', ',').replaceAll(' @.@ ', '.');
      for (const mark of [':', ';', '.', '!', '?', ',']) s = s.replaceAll(` ${mark} `, `${mark} `);
      s = s.replace(new RegExp(`\\(${space}([^)]*?)${space}\\)`, 'g'), '($1)');
      s = s.replace(new RegExp(`\\[${space}([^\\]]*?)${space}\\]`, 'g'), '[$1]');
      s = s.replace(new RegExp(`\\{${space}([^}]*?)${space}\\}`, 'g'), '{$1}');
      s = s.replace(new RegExp(`"${space}([^"]*?)${space}"`, 'g'), '"$1"');
      s = s.replace(new RegExp(`'${space}([^']*?)${space}'`, 'g'), "'$1'");
      s = s
        .replaceAll('= = = =', '====')
        .replaceAll('= = =', '===')
        .replaceAll('= =', '==')
        .replaceAll(' \u00b0 ', '\u00b0');
      return s.replaceAll(' \n', '\n').replaceAll('\n ', '\n').replaceAll(' N ', ' 1 ').replaceAll(" 's", "'s");
    };
    fc.assert(
      fc.property(
        fc.array(pieces, { maxLength: 40 }),
        (parts) => wikitextDetokenize(parts.join('')) === naive(parts.join('')),
      ),
      { numRuns: 500 },
    );
  });
});

describe('registry', () => {
  it('57 subjects in four groups, sized as in the harness', () => {
    expect(Object.values(MMLU_SUBJECTS).map((s) => s.length)).toEqual([19, 13, 12, 13]);
    expect(
      leavesOf(MMLU_GROUP_LIST[0] ?? { name: '', alias: '', version: '', members: [], aggregate: [] }, MMLU_GROUP_LIST),
    ).toHaveLength(57);
    expect(mmluSubject('mmlu_anatomy_continuation')).toBe('anatomy');
    expect(mmluSubject('mmlu_stem')).toBeUndefined();
    expect(mmluGroupOf('virology')).toBe('other');
  });

  it('expands groups once, children before parents; aliases work', () => {
    const selection = selectTasks(['mmlu_stem', 'mmlu', ' lambada ', 'mmlu_anatomy']);
    expect(selection.tasks).toHaveLength(58);
    expect(selection.groups.map((g) => g.name)).toEqual([
      'mmlu_stem',
      'mmlu_other',
      'mmlu_social_sciences',
      'mmlu_humanities',
      'mmlu',
    ]);
    expect(selectTasks(['mmlu_continuation']).groups.map((g) => g.name)).toContain(
      'mmlu_continuation::social sciences',
    );
    expect(selectTasks(['mmlu_stem_continuation']).tasks).toHaveLength(19);
    for (const name of taskNames()) expect(() => selectTasks([name])).not.toThrow();
  });

  it('unknown names get suggestions', () => {
    expect(() => selectTasks(['helaswag'])).toThrow('there is no task "helaswag"');
    try {
      selectTasks(['helaswag']);
    } catch (error) {
      expect(error).toMatchObject({ kind: 'usage', code: 'unknown-task', place: { hint: 'Did you mean hellaswag?' } });
    }
    expect(() => selectTasks(['', ' '])).toThrow('no task was named');
    expect(() => selectTasks(['__proto__'])).toThrow('there is no task');
  });
});

describe('documents of a task', () => {
  let dir = '';
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'moe-task-'));
  });
  afterEach(async () => {
    await rm(dir, { recursive: true, force: true });
  });

  it('limit: first n, or a share rounded up', () => {
    expect(sampleSize(undefined, 7)).toBe(7);
    expect(sampleSize(3, 7)).toBe(3);
    expect(sampleSize(9, 7)).toBe(7);
    expect(sampleSize(0.3, 7)).toBe(3);
    expect(sampleSize(1, 7)).toBe(1);
    for (const bad of [0, -1, NaN]) expect(() => sampleSize(bad, 7)).toThrow('--limit must be above 0');
  });

  it('few-shots without their split, or with too few, are errors', async () => {
    await writeFile(join(dir, 'piqa_validation.jsonl'), '{"goal":"g","sol1":"a","sol2":"b","label":0}\n');
    const store = new DataStore({ path: dir, hubCache: false });
    await expect(buildTask(choiceTask('piqa'), store, { numFewshot: 2 })).rejects.toMatchObject({
      code: 'no-fewshot-data',
    });
    const fixtures = new DataStore({ path: join(FIXTURES, 'data'), hubCache: false });
    await expect(buildTask(choiceTask('mmlu_anatomy'), fixtures, { numFewshot: 4 })).rejects.toMatchObject({
      code: 'too-few-shots',
    });
    await expect(buildTask(choiceTask('piqa'), fixtures, { numFewshot: 1.5 })).rejects.toMatchObject({
      code: 'bad-num-fewshot',
    });
  });

  it('first_n few-shots are the first rows in file order', async () => {
    const store = new DataStore({ path: join(FIXTURES, 'data'), hubCache: false });
    const built = await buildTask(choiceTask('mmlu_anatomy'), store, { numFewshot: 2, limit: 1 });
    if (built?.kind !== 'choice') throw new Error('choice');
    const prefix = built.docs[0]?.prefix ?? '';
    expect(prefix.split('Answer:')).toHaveLength(3);
    expect(prefix).toContain(
      'Which tool can light a room?\nA. a lamp\nB. a cat\nC. a sea\nD. a song\nAnswer: A\n\nWhich tool can dig a hole?',
    );
  });

  it('a subject that the data lack is left out; an empty file is an error', async () => {
    const store = new DataStore({ path: join(FIXTURES, 'data'), hubCache: false });
    expect(await buildTask(choiceTask('mmlu_virology'), store, {})).toBeUndefined();
    await writeFile(join(dir, 'piqa_validation.jsonl'), '\n');
    await expect(buildTask(choiceTask('piqa'), new DataStore({ path: dir }), {})).rejects.toMatchObject({
      code: 'no-documents',
    });
  });
});
