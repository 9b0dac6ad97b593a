import { readFile, readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { MoeError, messageOf } from '../../common/errors.ts';
import type { ParsedEvaluation } from '../../view/evaluation.ts';
import type { Command, Context } from '../command.ts';
import { emit } from '../output.ts';

export const evalCompare: Command = {
  spec: {
    name: 'eval-compare',
    summary: 'compare two evaluations, question by question',
    usage: ['A B [--metric NAME]'],
    about: [
      'A and B are results of moe eval or of lm-evaluation-harness (results_*.json, with its samples_*.jsonl beside it), samples files, or a folder that holds such results: the newest counts. B minus A.',
      'Questions that both answered are paired: how many became right or wrong (flips), by task and over all, the difference with its paired standard error, and McNemar’s exact test. Metrics without paired questions get the standard error of independent runs.',
    ],
    options: {
      metric: { type: 'string', value: 'NAME', help: 'what to pair: acc (default) or acc_norm' },
    },
    positionals: [2, 2],
  },
  async run(context) {
    const { args } = context;
    const metric = args.text('metric') ?? 'acc';
    const [first = '', second = ''] = args.positionals;
    const a = await evaluationAt(context, first);
    const b = await evaluationAt(context, second);
    const { compareEvaluations } = await import('../../view/evaluation.ts');
    const { file, parsed } = a;
    const compared = compareEvaluations(parsed, b.parsed, { name: parsed.evaluation.model, file }, metric);
    const side = ({ parsed: { evaluation }, file: path }: Found) => ({
      model: evaluation.model,
      file: path,
      partial: evaluation.partial,
      documents: evaluation.documents,
    });
    const rows = compared.rows.map((row) => ({ ...row, stderr: independentStderr(a.parsed, b.parsed, row) }));
    const report = { a: side(a), b: side(b), rows, paired: compared.paired, notes: compared.notes.map(inLetters) };
    if (rows.length === 0 && report.paired === null)
      throw new MoeError(
        'input',
        'nothing-to-compare',
        `The two runs have nothing in common. ${report.notes.join(' ')}`,
        {
          hint: 'Compare runs of the same tasks.',
        },
      );
    const { evalCompareText } = await import('../../report/eval-compare.ts');
    await emit(context, report, () => evalCompareText(report, context.style));
    return 0;
  },
};

/** The results editor speaks of the other run and of this one. */
function inLetters(note: string): string {
  return note.replace(/\bthe other run\b/gi, 'A').replace(/\bthis run\b/gi, 'B');
}

interface Found {
  readonly file: string;
  readonly parsed: ParsedEvaluation;
}

/** Results, samples, or the newest results in a folder. */
async function evaluationAt(context: Context, path: string): Promise<Found> {
  const { Evaluations } = await import('../../worker/evaluations.ts');
  const at = resolve(context.io.cwd, path);
  const facts = await stat(at).catch(() => null);
  const file = facts?.isDirectory() === true ? await newestResults(at, path) : at;
  if (file !== at) context.log(`note: ${path}: ${file} is the newest`);
  const parsed = /\.jsonl$/i.test(file) ? await samplesAt(file) : await new Evaluations().read(file);
  for (const note of parsed.evaluation.notes) context.log(`note: ${note}`);
  return { file, parsed };
}

/** The harness writes into a folder of its output path that is named by the model. */
async function newestResults(folder: string, shown: string): Promise<string> {
  const found: { readonly file: string; readonly time: number }[] = [];
  for (const name of await readdir(folder, { recursive: true })) {
    if (!/^results_.*\.json$/.test(basename(name))) continue;
    const file = join(folder, name);
    found.push({ file, time: (await stat(file)).mtimeMs });
  }
  const [newest] = found.sort((x, y) => y.time - x.time || (x.file < y.file ? 1 : -1));
  if (newest !== undefined) return newest.file;
  throw new MoeError('input', 'results-not-found', `There is no results_*.json in ${shown}`, {
    file: folder,
    hint: 'Name a results file, or a samples file.',
  });
}

/** A samples file alone: no scores, but every question. */
async function samplesAt(file: string): Promise<ParsedEvaluation> {
  const { importHarnessSamples } = await import('../../eval/import-results.ts');
  const { shortHashes } = await import('../../eval/documents.ts');
  const { parseEvaluation } = await import('../../view/evaluation.ts');
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new MoeError(
      'input',
      'results-unreadable',
      `${file} cannot be read: ${messageOf(error)}`,
      { file },
      { cause: error },
    );
  }
  const { docs, notes } = importHarnessSamples(text, file);
  const parsed = parseEvaluation('{"results": {}}', file);
  const evaluation = {
    ...parsed.evaluation,
    model: basename(file),
    documents: docs.length,
    notes: [...parsed.evaluation.notes, ...notes],
  };
  return { ...parsed, evaluation, docs: shortHashes(docs) };
}

/** Of the difference of two runs that share no questions; null where either's is unknown. */
function independentStderr(
  a: ParsedEvaluation,
  b: ParsedEvaluation,
  { task, metric }: { readonly task: string; readonly metric: string },
): number | null {
  const [left, right] = [a, b].map(({ imported }) => imported.tasks.get(task)?.metrics.get(metric)?.stderr ?? null);
  return left === null || right === null || left === undefined || right === undefined ? null : Math.hypot(left, right);
}
