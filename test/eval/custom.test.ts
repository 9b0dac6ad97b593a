import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Row } from '../../src/eval/data/rows.ts';
import { RowReader } from '../../src/eval/data/rows.ts';
import { runEvaluation } from '../../src/eval/run.ts';
import type { EvaluationRun } from '../../src/eval/run-types.ts';
import { sampleLines } from '../../src/eval/samples.ts';
import { loadTaskFile, parseTaskYaml } from '../../src/eval/tasks/custom.ts';
import { parseTemplate } from '../../src/eval/tasks/template.ts';
import type { ChoiceTask } from '../../src/eval/tasks/types.ts';
import { HashScorer, toyTokenizer } from './helpers/fake-scorer.ts';
import { FIXTURES } from './helpers/shared.ts';

let dir = '';
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'moe-custom-'));
});
afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

const reader = (row: Row): RowReader => new RowReader(row, { file: 'x.jsonl', where: 'line 3' });
const render = (source: string, row: Row): string => parseTemplate(source, 't.yaml: f').render(reader(row));

describe('templates (the part of Jinja that task files use)', () => {
  const row = {
    q: '  Why? \u0085',
    c: ['x', 'y'],
    deep: { text: ['A', 'B'], label: ['1', '2'] },
    key: '2',
    n: 3,
    half: 0.5,
  };

  it.each([
    ['Q: {{q.strip()}}\nA. {{c[0]}}\n', 'Q: Why?\nA. x\n'],
    ['{{ deep.label.index(key) }}', '1'],
    ['{{c[-1]}}{{deep["text"][0]}}{{n}}{{half}}', 'yA30.5'],
    ['{{ c|join(", ") }}|{{ (q|trim) + "!" }}', 'x, y|Why?!'],
    ["{{'a b c'.split(' ')[:-1]|join('_')}}{{' '+'a b c'.split(' ')[-1]}}", 'a_b c'],
    ['{{ "}}" }}', '}}'],
    ['{{ c|length }}{{ key|int + 1 }}{{ q.replace("?", "$&").strip() }}', '23Why$&'],
    ['no fields', 'no fields'],
  ])('%j', (source, expected) => {
    expect(render(source, row)).toBe(expected);
  });

  it('a lone expression has a value, not only a text', () => {
    expect(parseTemplate('{{[q.strip(), c[1]]}}', 'f').value(reader(row))).toEqual(['Why?', 'y']);
    expect(parseTemplate('{{ deep.text }}', 'f').value(reader(row))).toEqual(['A', 'B']);
  });

  it.each([
    ['{% if q %}x{% endif %}', 'is a Jinja statement'],
    ['{{ q', '"{{" without "}}"'],
    ['{{ q ~ c }}', 'unexpected "~"'],
    ['{{ absent }}', 'field "absent" should be present'],
    ['{{ constructor }}', 'field "constructor"'],
    ['{{ deep.nothing }}', 'a record has no field "nothing"'],
    ['{{ c[7] }}', 'index 7 is outside a list of 2'],
    ['{{ c }}', 'a text is needed, found a list'],
    ['{{ q.eval() }}', '"eval" with 0 arguments does not apply to a string'],
    ['{{ c.index("z") }}', '"z" is not in the list'],
    ['{{ q + n }}', '"+" joins two texts or two numbers'],
    [`{{ ${'('.repeat(100)}q${')'.repeat(100)} }}`, 'nested too deeply'],
  ])('%j fails: %s', (source, message) => {
    expect(() => render(source, row)).toThrow(message);
  });

  it('never throws anything but a message for people, and always ends', () => {
    const piece = fc.constantFrom(
      '{{',
      '}}',
      'q',
      '.',
      '[',
      ']',
      '(',
      ')',
      '"',
      "'",
      '|',
      '+',
      '-',
      ':',
      ',',
      '0',
      ' ',
      'strip',
      '\\',
      '{%',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 24 }), (parts) => {
        try {
          render(parts.join(''), row);
        } catch (error) {
          expect(error).toHaveProperty('name', 'MoeError');
        }
      }),
      { numRuns: 400 },
    );
  });
});

const PIQA = `task: my_piqa
dataset_path: json
dataset_kwargs: { data_files: { validation: ${join(FIXTURES, 'data/piqa_validation.jsonl')}, train: ${join(FIXTURES, 'data/piqa_train.jsonl')} } }
output_type: multiple_choice
training_split: train
validation_split: validation
test_split: null
doc_to_text: "Question: {{goal}}\\nAnswer:"
doc_to_target: label
doc_to_choice: "{{[sol1, sol2]}}"
should_decontaminate: true
metric_list:
  - { metric: acc, aggregation: mean, higher_is_better: true }
  - { metric: acc_norm }
metadata: { version: 1.0 }
`;

function run(tasks: string[], custom: ChoiceTask[] = [], numFewshot?: number): Promise<EvaluationRun> {
  const scorer = new HashScorer(toyTokenizer({ addsBos: true }), 4096);
  return runEvaluation({
    tasks,
    customTasks: new Map(custom.map((t) => [t.name, t])),
    data: { path: join(FIXTURES, 'data'), hubCache: false },
    scorer,
    model: { name: 'm' },
    ...(numFewshot === undefined ? {} : { numFewshot }),
  });
}

describe('task files', () => {
  it.each([
    ['an alias without its anchor', 'metadata: *nope', /is not usable YAML/],
    [
      'aliases without end',
      `a: &a [1]\n${'bcdefghij'.replace(/./g, (c) => `${c}: &${c} [${`*${String.fromCharCode(c.charCodeAt(0) - 1)},`.repeat(9)}]\n`)}`,
      /is not usable YAML/,
    ],
    ['a name that is no key', 'task: __proto__', /"task" should be a short name/],
    ['no metric', 'task: t\nmetric_list: []', /"metric_list" is empty/],
  ])('%s', (_, text, message) => {
    const whole = `${text}\n${/^task:/m.test(text) ? '' : 'task: t\n'}data: d.jsonl\ndoc_to_text: "{{q}}"\ndoc_to_choice: ["a", "b"]\ndoc_to_target: 0\n`;
    expect(() => parseTaskYaml(whole, 't.yaml')).toThrow(message);
  });

  it.each([0, 3])('the harness’s own piqa file gives the built-in task’s samples, %d-shot', async (shots) => {
    const { task, notes } = parseTaskYaml(PIQA, join(dir, 'my_piqa.yaml'));
    expect(notes).toEqual([expect.stringContaining('"should_decontaminate" has no effect')]);
    const mine = await run(['my_piqa'], [task], shots);
    const builtin = await run(['piqa'], [], shots);
    const lines = (r: EvaluationRun): string[] => [...sampleLines(r)].map((l) => l.replace('"my_piqa"', '"piqa"'));
    expect(lines(mine)).toEqual(lines(builtin));
  });

  it('ARC’s and MMLU’s templates give the built-in samples', async () => {
    const arc = parseTaskYaml(
      `task: my_arc\ndata: ${join(FIXTURES, 'data/arc_easy_test.jsonl')}\ndoc_to_text: "Question: {{question}}\\nAnswer:"\ndoc_to_target: "{{choices.label.index(answerKey)}}"\ndoc_to_choice: "{{choices.text}}"\n`,
      join(dir, 'a.yaml'),
    ).task;
    const lines = async (names: string[], custom: ChoiceTask[] = []): Promise<string[]> =>
      [...sampleLines(await run(names, custom))].map((l) => l.replace('"my_arc"', '"arc_easy"'));
    expect(await lines(['my_arc'], [arc])).toEqual(await lines(['arc_easy']));
  });

  it('choices as a list, gold as one of them, relative data, description, delimiter, a default of few-shots', async () => {
    await writeFile(join(dir, 'q.jsonl'), '{"s":"Sky?","a":"yes"}\n{"s":"Sea?","a":"no"}\n{"s":"Sun?","a":"yes"}\n');
    const yaml =
      'task: sky\ndata: q.jsonl\ndescription: "Answer.\\n"\ntarget_delimiter: "->"\ndoc_to_text: s\ndoc_to_choice: ["no", "yes"]\ndoc_to_target: a\nnum_fewshot: 1\nfewshot_config: { sampler: first_n }\nmetric_list: [acc, acc_bytes]\n';
    await writeFile(join(dir, 'sky.yaml'), yaml);
    const { task } = await loadTaskFile(join(dir, 'sky.yaml'));
    const result = await run(['sky'], [task]);
    const samples = [...sampleLines(result)].map(
      (l) =>
        JSON.parse(l) as {
          arguments: { gen_args_1: { arg_0: string; arg_1: string } };
          target: string;
          metrics: string[];
        },
    );
    // Examples come from the scored split, so each document is left out of its own prompt.
    expect(samples.map((s) => s.arguments.gen_args_1.arg_0)).toEqual([
      'Answer.\nSea?->no\n\nSky?',
      'Answer.\nSky?->yes\n\nSea?',
      'Answer.\nSky?->yes\n\nSun?',
    ]);
    expect(samples[0]).toMatchObject({ target: 'yes', metrics: ['acc', 'acc_bytes'] });
    expect(samples[0]?.arguments.gen_args_1.arg_1).toBe('->yes');
  });

  it('acc_mutual_info subtracts the unconditional log-likelihood, as the harness has it', async () => {
    await writeFile(join(dir, 'q.jsonl'), '{"query":"Q","choices":["a","b"],"gold":0}\n');
    const { task } = parseTaskYaml(
      'task: mi\ndata: q.jsonl\ndoc_to_text: query\ndoc_to_choice: choices\ndoc_to_target: gold\nmetric_list: [acc, acc_mutual_info]\n',
      join(dir, 'mi.yaml'),
    );
    const scorer = new HashScorer(toyTokenizer(), 99);
    // Conditional a −2, b −1; unconditional a −9, b −1: raw picks b, the gain picks a.
    scorer.loglikelihoods = (requests) =>
      Promise.resolve(
        requests.map((r) => ({
          logprob: r.continuationIds.at(-1) === 98 + 3 ? -1 : r.contextIds[0] === 1 ? -9 : -2,
          isGreedy: false,
        })),
      );
    const result = await runEvaluation({
      tasks: ['mi'],
      customTasks: new Map([['mi', task]]),
      data: {},
      scorer,
      model: { name: 'm' },
    });
    expect(result.tasks[0]?.metrics.get('acc')?.value).toBe(0);
    expect(result.tasks[0]?.metrics.get('acc_mutual_info')?.value).toBe(1);
  });

  it('a bare jsonl file is a task', async () => {
    await writeFile(
      join(dir, 'mine.jsonl'),
      '{"query":"Q","choices":["a","b"],"gold":1}\n{"question":"R","choices":["c","d"],"answer":"c"}\n',
    );
    const { task, notes } = await loadTaskFile(join(dir, 'mine.jsonl'));
    expect(notes).toHaveLength(1);
    const result = await run(['mine'], [task]);
    const [scored] = result.tasks;
    if (scored?.kind !== 'choice') throw new Error('choice');
    expect(scored.docs.map((d) => [d.source.parts.contexts[0], d.source.parts.gold])).toEqual([
      ['Q', 1],
      ['R', 0],
    ]);
  });

  it.each([
    ['doc_to_text: x', '"task" should be a text, found nothing'],
    ['task: t\ndoc_to_text: x', '"data" is missing'],
    ['task: "a b"\ndata: x.jsonl', '"task" should be a short name'],
    ['task: t\ndata: x.jsonl\nprocess_docs: f', '"process_docs" is not supported'],
    ['task: t\ndata: x.jsonl\noutput_type: generate_until', 'only multiple_choice tasks'],
    ['task: t\ndata: x.jsonl\ndoc_to_text: !function utils.f', 'is not usable YAML'],
    ['task: [', 'is not usable YAML'],
    ['- 1', 'should hold fields, found a list'],
    [
      'task: t\ndata: x.jsonl\ndoc_to_text: q\ndoc_to_choice: [a]\ndoc_to_target: 0',
      '"doc_to_choice" should be a list of at least 2 texts',
    ],
    [
      'task: t\ndata: x.jsonl\ndoc_to_text: q\ndoc_to_choice: [a, b]',
      '"doc_to_target" should be a field, a template or an index',
    ],
    ['task: t\ndata: x.jsonl\ndoc_to_text: q\nmetric_list: [bleu]', '"metric_list" holds "bleu"'],
    ['task: t\ndata: x.jsonl\ndescription: "{{q}}"\ndoc_to_text: q', '"description" must be plain text'],
    [
      'task: t\ndata: x.jsonl\nvalidation_split: val\ndoc_to_text: q',
      '"validation_split" should be test, validation, train or dev',
    ],
  ])('%j is refused', (yaml, message) => {
    expect(() => parseTaskYaml(yaml, 'f.yaml')).toThrow(message);
  });

  it('a target outside the choices names the line', async () => {
    await writeFile(join(dir, 'q.jsonl'), '{"q":"Q","g":0}\n{"q":"R","g":5}\n');
    const { task } = parseTaskYaml(
      'task: t\ndata: q.jsonl\ndoc_to_text: q\ndoc_to_choice: [a, b]\ndoc_to_target: g\n',
      join(dir, 't.yaml'),
    );
    await expect(run(['t'], [task])).rejects.toThrow('gives 5 at line 2, which is not one of 2 choices');
  });
});
