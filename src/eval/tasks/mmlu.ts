import type { RowReader } from '../data/rows.ts';
import { pyStrip } from '../python/text.ts';
import type { ChoiceTask, DocParts, TaskGroup } from './types.ts';

/** Subjects by group, as in the harness's `mmlu/default/_mmlu*.yaml` (57 in all). */
export const MMLU_SUBJECTS = {
  stem: [
    'abstract_algebra',
    'anatomy',
    'astronomy',
    'college_biology',
    'college_chemistry',
    'college_computer_science',
    'college_mathematics',
    'college_physics',
    'computer_security',
    'conceptual_physics',
    'electrical_engineering',
    'elementary_mathematics',
    'high_school_biology',
    'high_school_chemistry',
    'high_school_computer_science',
    'high_school_mathematics',
    'high_school_physics',
    'high_school_statistics',
    'machine_learning',
  ],
  other: [
    'business_ethics',
    'clinical_knowledge',
    'college_medicine',
    'global_facts',
    'human_aging',
    'management',
    'marketing',
    'medical_genetics',
    'miscellaneous',
    'nutrition',
    'professional_accounting',
    'professional_medicine',
    'virology',
  ],
  social_sciences: [
    'econometrics',
    'high_school_geography',
    'high_school_government_and_politics',
    'high_school_macroeconomics',
    'high_school_microeconomics',
    'high_school_psychology',
    'human_sexuality',
    'professional_psychology',
    'public_relations',
    'security_studies',
    'sociology',
    'us_foreign_policy',
  ],
  humanities: [
    'formal_logic',
    'high_school_european_history',
    'high_school_us_history',
    'high_school_world_history',
    'international_law',
    'jurisprudence',
    'logical_fallacies',
    'moral_disputes',
    'moral_scenarios',
    'philosophy',
    'prehistory',
    'professional_law',
    'world_religions',
  ],
} as const satisfies Record<string, readonly string[]>;

export type MmluGroup = keyof typeof MMLU_SUBJECTS;
export const MMLU_GROUPS: readonly MmluGroup[] = ['stem', 'other', 'social_sciences', 'humanities'];

const ALL_SUBJECTS: readonly string[] = MMLU_GROUPS.flatMap((g) => [...MMLU_SUBJECTS[g]]).sort();
const LETTERS = ['A', 'B', 'C', 'D'] as const;

const BASE = {
  outputType: 'multiple_choice',
  version: 1,
  dataset: { stems: ['mmlu'], hubId: 'cais/mmlu', hubConfig: 'all', parts: ALL_SUBJECTS },
  evalSplit: 'test',
  targetDelimiter: ' ',
  fewshotDelimiter: '\n\n',
  fewshot: { sampler: 'first_n', split: 'dev', dropEvalDoc: false },
} as const satisfies Partial<ChoiceTask>;

function letterTask(subject: string): ChoiceTask {
  return {
    ...BASE,
    name: `mmlu_${subject}`,
    alias: subject,
    metrics: ['acc'],
    description: `The following are multiple choice questions (with answers) about ${subject.replaceAll('_', ' ')}.\n\n`,
    only: { field: 'subject', value: subject },
    help: 'Four choices shown as A to D; the letter with the highest likelihood after "Answer:" is the answer.',
    read: (row) => {
      const { question, choices, answer } = fields(row);
      const listed = choices.map((c, i) => `${LETTERS[i] ?? ''}. ${c}`).join('\n');
      return parts(row, `${question}\n${listed}\nAnswer:`, LETTERS, answer);
    },
  };
}

function continuationTask(subject: string): ChoiceTask {
  const name = `mmlu_${subject}_continuation`;
  return {
    ...BASE,
    name,
    alias: name,
    metrics: ['acc', 'acc_norm'],
    description: `The following are questions (with answers) about ${subject.replaceAll('_', ' ')}.\n\n`,
    only: { field: 'subject', value: subject },
    help: 'The same questions without letters: the choice text with the highest likelihood is the answer.',
    read: (row) => {
      const { question, choices, answer } = fields(row);
      return parts(row, `Question: ${question}\nAnswer:`, choices, answer);
    },
  };
}

function fields(row: RowReader): { question: string; choices: readonly string[]; answer: number } {
  const choices = row.strings('choices', 4);
  if (choices.length !== 4) throw row.fail('choices', 'a list of exactly 4 texts');
  // The question is stripped, the choices are not (reference section 2.3).
  return { question: pyStrip(row.string('question')), choices, answer: row.index('answer', 4) };
}

function parts(row: RowReader, context: string, choices: readonly string[], answer: number): DocParts {
  return {
    doc: row.row,
    contexts: [context],
    continuations: choices,
    choices,
    gold: answer,
    target: answer,
    shot: { question: context, answer: choices[answer] ?? '' },
  };
}

/** The 57 letter tasks `mmlu_<subject>` and the 57 tasks `mmlu_<subject>_continuation`. */
export const MMLU_TASKS: readonly ChoiceTask[] = [
  ...ALL_SUBJECTS.map(letterTask),
  ...ALL_SUBJECTS.map(continuationTask),
];

/** `mmlu`, its four groups, and the same for the continuation tasks, named as the harness names them. */
export const MMLU_GROUP_LIST: readonly TaskGroup[] = [
  group(
    'mmlu',
    'mmlu',
    MMLU_GROUPS.map((g) => `mmlu_${g}`),
  ),
  ...MMLU_GROUPS.map((g) =>
    group(
      `mmlu_${g}`,
      spaced(g),
      MMLU_SUBJECTS[g].map((s) => `mmlu_${s}`),
    ),
  ),
  group(
    'mmlu_continuation',
    'mmlu (continuation)',
    MMLU_GROUPS.map((g) => `mmlu_continuation::${spaced(g)}`),
  ),
  ...MMLU_GROUPS.map((g) => ({
    ...group(
      `mmlu_continuation::${spaced(g)}`,
      `mmlu_continuation::${spaced(g)}`,
      MMLU_SUBJECTS[g].map((s) => `mmlu_${s}_continuation`),
    ),
    version: 'N/A',
  })),
];

function group(name: string, alias: string, members: readonly string[]): TaskGroup {
  return { name, alias, version: '2', members, aggregate: ['acc'] };
}

function spaced(name: string): string {
  return name.replaceAll('_', ' ');
}

/** Subject of an MMLU task name, or undefined. */
export function mmluSubject(task: string): string | undefined {
  const subject = /^mmlu_(.+?)(_continuation)?$/.exec(task)?.[1];
  return subject !== undefined && ALL_SUBJECTS.includes(subject) ? subject : undefined;
}

/** Group of an MMLU subject, or undefined. */
export function mmluGroupOf(subject: string): MmluGroup | undefined {
  return MMLU_GROUPS.find((g) => (MMLU_SUBJECTS[g] as readonly string[]).includes(subject));
}
