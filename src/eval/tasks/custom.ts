import { readFile, stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import { MoeError, messageOf } from '../../common/errors.ts';
import type { DatasetSpec, SplitName } from '../data/locate.ts';
import type { RowReader } from '../data/rows.ts';
import { isRow, isStringList, typeName } from '../data/rows.ts';
import { isAsciiDigits } from '../python/text.ts';
import { taskNames } from './registry.ts';
import type { Template } from './template.ts';
import { parseTemplate } from './template.ts';
import type { ChoiceTask, DocParts, FewshotRule, MetricName } from './types.ts';

const MAX_TASK_FILE = 2 ** 20;
const METRICS: readonly MetricName[] = ['acc', 'acc_norm', 'acc_bytes', 'acc_mutual_info'];
/** Keys of the harness's task files that change nothing here. */
const IGNORED = new Set([
  'tag',
  'group',
  'should_decontaminate',
  'doc_to_decontamination_query',
  'repeats',
  'dataset_name',
]);
const KNOWN = new Set([
  ...['task', 'task_alias', 'data', 'fewshot_data', 'dataset_path', 'dataset_kwargs', 'output_type', 'description'],
  ...['doc_to_text', 'doc_to_choice', 'doc_to_target', 'target_delimiter', 'fewshot_delimiter', 'num_fewshot'],
  ...['fewshot_split', 'fewshot_config', 'training_split', 'validation_split', 'test_split', 'metric_list', 'metadata'],
]);

export interface LoadedTask {
  readonly task: ChoiceTask;
  /** What was assumed or ignored. */
  readonly notes: readonly string[];
}

/**
 * Loads a multiple-choice task from a file: YAML in the harness's words (`doc_to_text`, `doc_to_choice`, `doc_to_target`, with
 * `data: file.jsonl` or `dataset_kwargs.data_files`), or a bare jsonl/json/parquet file of records with a question, choices and
 * the right index.
 */
export async function loadTaskFile(path: string): Promise<LoadedTask> {
  const file = resolve(path);
  if (!/\.ya?ml$/i.test(file)) return bareTask(file);
  const { size } = await stat(file);
  if (size > MAX_TASK_FILE) throw bad(file, undefined, `holds ${size} bytes; a task file is at most ${MAX_TASK_FILE}`);
  return parseTaskYaml(await readFile(file, 'utf8'), file);
}

function bad(file: string, field: string | undefined, message: string, hint?: string): MoeError {
  const place = { file, ...(field === undefined ? {} : { field }), ...(hint === undefined ? {} : { hint }) };
  return new MoeError(
    'input',
    'bad-task-file',
    `${file}${field === undefined ? '' : `: "${field}"`} ${message}`,
    place,
  );
}

/** Parses the text of a YAML task file; `file` gives the folder that data files are relative to. */
export function parseTaskYaml(text: string, file: string): LoadedTask {
  const document = parseDocument(text);
  const [problem] = [...document.errors, ...document.warnings];
  if (problem !== undefined) {
    const tag = /unresolved tag/i.test(problem.message)
      ? 'Python functions (!function) cannot run here: write a template, or finished text into the data.'
      : undefined;
    throw bad(file, undefined, `is not usable YAML: ${messageOf(problem)}`, tag);
  }
  let root: unknown;
  try {
    root = document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    throw bad(file, undefined, `is not usable YAML: ${messageOf(error)}`);
  }
  if (!isRow(root)) throw bad(file, undefined, `should hold fields, found ${typeName(root)}`);
  const get = (name: string): unknown => (Object.hasOwn(root, name) ? (root[name] ?? undefined) : undefined);
  const notes: string[] = [];
  for (const key of Object.keys(root)) {
    if (IGNORED.has(key)) notes.push(`${file}: "${key}" has no effect here`);
    else if (!KNOWN.has(key)) throw bad(file, key, 'is not supported', `Supported: ${[...KNOWN].join(', ')}.`);
  }
  const string = (name: string, fallback?: string): string => {
    const value = get(name) ?? fallback;
    if (typeof value !== 'string') throw bad(file, name, `should be a text, found ${typeName(value)}`);
    return value;
  };
  const type = get('output_type') ?? 'multiple_choice';
  if (type !== 'multiple_choice')
    throw bad(file, 'output_type', `is ${JSON.stringify(type)}; only multiple_choice tasks can be added by a file`);
  const description = string('description', '');
  if (/\{[{%]/.test(description)) throw bad(file, 'description', 'must be plain text');
  const name = string('task');
  if (!/^[\w.:-]{1,100}$/.test(name) || name === '__proto__')
    throw bad(file, 'task', 'should be a short name of letters, digits, "_", "-", "." and ":"');
  const { dataset, evalSplit, fewshot } = dataOf(root, get, file);
  const shots = get('num_fewshot');
  if (shots !== undefined && (typeof shots !== 'number' || !Number.isInteger(shots) || shots < 0))
    throw bad(file, 'num_fewshot', 'should be a whole number');
  const metadata = get('metadata');
  if (taskNames().includes(name)) notes.push(`${file}: takes the place of the built-in task "${name}"`);
  const version = isRow(metadata) && typeof metadata['version'] === 'number' ? metadata['version'] : 'Yaml';
  return {
    task: {
      name,
      alias: string('task_alias', name),
      version,
      outputType: 'multiple_choice',
      metrics: metricsOf(get('metric_list'), file),
      dataset,
      evalSplit,
      help: `From ${basename(file)}.`,
      description,
      targetDelimiter: string('target_delimiter', ' '),
      fewshotDelimiter: string('fewshot_delimiter', '\n\n'),
      fewshot,
      ...(shots === undefined ? {} : { defaultFewshot: shots }),
      read: readerOf(string('doc_to_text'), get('doc_to_choice'), get('doc_to_target'), file),
    },
    notes,
  };
}

function metricsOf(list: unknown, file: string): MetricName[] {
  if (list === undefined) return ['acc', 'acc_norm'];
  if (Array.isArray(list) && list.length === 0)
    throw bad(file, 'metric_list', 'is empty', 'Leave it out for acc and acc_norm.');
  const names = Array.isArray(list) ? list.map((m: unknown) => (isRow(m) ? m['metric'] : m)) : [list];
  return names.map((name) => {
    const known = METRICS.find((m) => m === name);
    if (known === undefined)
      throw bad(file, 'metric_list', `holds ${JSON.stringify(name)}; supported: ${METRICS.join(', ')}`);
    return known;
  });
}

function dataOf(
  root: Readonly<Record<string, unknown>>,
  get: (name: string) => unknown,
  file: string,
): { dataset: DatasetSpec; evalSplit: SplitName; fewshot: FewshotRule } {
  const folder = dirname(file);
  const files: Partial<Record<SplitName, string>> = {};
  const kwargs = get('dataset_kwargs');
  const given = isRow(kwargs) ? kwargs['data_files'] : undefined;
  const splitOf = (name: unknown, field: string): SplitName => {
    const split = (['test', 'validation', 'train', 'dev'] as const).find((s) => s === name);
    if (split === undefined)
      throw bad(file, field, `should be test, validation, train or dev, found ${JSON.stringify(name)}`);
    return split;
  };
  if (isRow(given)) {
    for (const [split, value] of Object.entries(given)) {
      if (typeof value !== 'string') throw bad(file, `dataset_kwargs.data_files.${split}`, 'should be one file name');
      files[splitOf(split, 'dataset_kwargs.data_files')] = resolve(folder, value);
    }
  } else if (typeof given === 'string') files.test = resolve(folder, given);
  const data = get('data');
  if (typeof data === 'string') files.test = resolve(folder, data);
  const shotData = get('fewshot_data');
  if (typeof shotData === 'string') files.dev = resolve(folder, shotData);
  const path = get('dataset_path');
  if (Object.keys(files).length === 0) {
    if (typeof path !== 'string' || !/^[\w.-]+\/[\w.-]+$/.test(path)) {
      throw bad(file, 'data', 'is missing: name the file of the questions', 'For example: data: questions.jsonl');
    }
  }
  const test = get('test_split');
  const validation = get('validation_split');
  const training = get('training_split');
  const evalSplit = splitOf(test ?? validation ?? 'test', test === undefined ? 'validation_split' : 'test_split');
  const config = get('fewshot_config');
  const sampler = isRow(config) ? (config['sampler'] ?? 'default') : 'default';
  if (sampler !== 'default' && sampler !== 'first_n')
    throw bad(file, 'fewshot_config.sampler', 'should be default or first_n');
  const ownShots = typeof shotData === 'string' ? 'dev' : undefined;
  const fewshotSplit = get('fewshot_split') ?? ownShots;
  const split = splitOf(fewshotSplit ?? training ?? validation ?? evalSplit, 'fewshot_split');
  const hub = typeof path === 'string' ? path : basename(file);
  const config0 = typeof root['dataset_name'] === 'string' ? root['dataset_name'] : null;
  return {
    dataset: { stems: [basename(file).replace(/\.ya?ml$/i, '')], hubId: hub, hubConfig: config0, files },
    evalSplit,
    // The harness drops the scored record when few-shot and test split are the same, which includes both being unset.
    fewshot: {
      sampler: sampler === 'first_n' ? 'first_n' : 'random',
      split,
      dropEvalDoc: (fewshotSplit ?? null) === (test ?? null) || split === evalSplit,
    },
  };
}

/** Field name → that field; otherwise a template. As in the harness, a name that the record lacks is taken as text. */
function fieldOr(
  source: string,
  template: Template,
): { value: (row: RowReader) => ReturnType<Template['value']>; text: (row: RowReader) => string } {
  const isField = (row: RowReader): boolean => /^\w+$/.test(source) && row.has(source);
  return {
    value: (row) => (isField(row) ? (row.get(source) ?? null) : template.value(row)),
    text: (row) => (isField(row) ? row.string(source) : template.render(row)),
  };
}

function readerOf(
  docToText: string,
  docToChoice: unknown,
  docToTarget: unknown,
  file: string,
): (row: RowReader) => DocParts {
  const question = fieldOr(docToText, parseTemplate(docToText, `${file}: doc_to_text`));
  const choicesOf = choiceReader(docToChoice, file);
  const targetOf = targetReader(docToTarget, file);
  return (row) => {
    const context = question.text(row);
    const choices = choicesOf(row);
    const target = targetOf(row);
    const gold = typeof target === 'number' ? target : choices.indexOf(target);
    if (!Number.isInteger(gold) || gold < 0 || gold >= choices.length) {
      const shown = JSON.stringify(target).slice(0, 60);
      throw bad(
        row.place.file,
        'doc_to_target',
        `gives ${shown} at ${row.place.where}, which is not one of ${choices.length} choices`,
      );
    }
    const answer = choices[gold] ?? '';
    return {
      doc: row.row,
      contexts: [context],
      continuations: choices,
      choices,
      gold,
      target,
      shot: { question: context, answer },
    };
  };
}

function choiceReader(spec: unknown, file: string): (row: RowReader) => readonly string[] {
  const list = isRow(spec) ? Object.values(spec) : spec;
  if (isStringList(list) && list.length >= 2) return () => list;
  if (typeof spec !== 'string')
    throw bad(
      file,
      'doc_to_choice',
      `should be a list of at least 2 texts, a field or a template, found ${typeName(spec)}`,
    );
  const source = fieldOr(spec, parseTemplate(spec, `${file}: doc_to_choice`));
  return (row) => {
    const value = source.value(row);
    if (isStringList(value) && value.length >= 2) return value;
    throw bad(
      row.place.file,
      'doc_to_choice',
      `gives ${typeName(value)} at ${row.place.where}, not a list of at least 2 texts`,
    );
  };
}

function targetReader(spec: unknown, file: string): (row: RowReader) => number | string {
  if (typeof spec === 'number') return () => spec;
  if (typeof spec !== 'string')
    throw bad(file, 'doc_to_target', `should be a field, a template or an index, found ${typeName(spec)}`);
  const source = fieldOr(spec, parseTemplate(spec, `${file}: doc_to_target`));
  return (row) => {
    const value = source.value(row);
    if (typeof value === 'number') return value;
    if (typeof value !== 'string')
      throw bad(
        row.place.file,
        'doc_to_target',
        `gives ${typeName(value)} at ${row.place.where}, not an index or a choice`,
      );
    return isAsciiDigits(value) && value.length < 10 && !/^\w+$/.test(spec) ? Number(value) : value;
  };
}

const QUESTION_FIELDS = ['query', 'question', 'context', 'prompt'];
const GOLD_FIELDS = ['gold', 'label', 'answer'];

/** A data file alone: the fields are recognised per record, llm-foundry's `query`, `choices`, `gold` first. */
function bareTask(file: string): LoadedTask {
  const name = basename(file).replace(/\.\w+$/, '');
  const read = (row: RowReader): DocParts => {
    const field = QUESTION_FIELDS.find((f) => row.has(f));
    if (field === undefined) throw row.fail('query', `present (or one of ${QUESTION_FIELDS.join(', ')})`);
    const context = row.string(field);
    const choices = row.strings('choices', 2);
    const goldField = GOLD_FIELDS.find((f) => row.has(f));
    if (goldField === undefined) throw row.fail('gold', `present (or one of ${GOLD_FIELDS.join(', ')})`);
    const given = row.get(goldField);
    const gold =
      typeof given === 'string' && choices.includes(given)
        ? choices.indexOf(given)
        : row.index(goldField, choices.length, true);
    return {
      doc: row.row,
      contexts: [context],
      continuations: choices,
      choices,
      gold,
      target: gold,
      shot: { question: context, answer: choices[gold] ?? '' },
    };
  };
  return {
    task: {
      name,
      alias: name,
      version: 1,
      outputType: 'multiple_choice',
      metrics: ['acc', 'acc_norm'],
      dataset: { stems: [name], hubId: basename(file), hubConfig: null, files: { test: file } },
      evalSplit: 'test',
      help: `Records of ${basename(file)}: the question as it stands, one space before each choice.`,
      description: '',
      targetDelimiter: ' ',
      fewshotDelimiter: '\n\n',
      fewshot: { sampler: 'random', split: 'test', dropEvalDoc: true },
      read,
    },
    notes: [`${file}: scored as a multiple-choice task, one space before each choice`],
  };
}
