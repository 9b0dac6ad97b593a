/** What is wrong with a recipe: every problem with its place, and all of them as one error. */
import { MoeError } from '../common/errors.ts';
import type { ErrorKind } from '../common/errors.ts';
import type { At, Source, Tree } from './tree.ts';

export type Path = readonly (string | number)[];

export interface RecipeProblem {
  readonly severity: 'error' | 'warning';
  /** Stable kebab-case code. */
  readonly code: string;
  /** Without the place. */
  readonly message: string;
  /** Dotted field, '' for the whole recipe. */
  readonly field: string;
  /** Who said it; undefined for relations between defaults. */
  readonly source?: Source;
  readonly at?: At;
  readonly hint?: string;
  /** True where the request itself cannot be met (exit 3) however it was spelled. */
  readonly impossible?: boolean;
}

/** `a.moe.yaml:3:10: experts: …`, with the place where there is one. */
export function problemLine(problem: RecipeProblem): string {
  const { source, at: place, field, message } = problem;
  const where =
    source === undefined || source.layer === 'default'
      ? ''
      : place === undefined || source.layer !== 'recipe'
        ? `${source.label}: `
        : `${source.label}:${place.line}:${place.column}: `;
  const named = field === '' || message.startsWith(field) || source?.label.startsWith(`--set ${field}=`) === true;
  return `${where}${named ? '' : `${field}: `}${message}`;
}

/** In reading order: the recipe's by place, then those of the command line. */
export function sortProblems(problems: readonly RecipeProblem[]): RecipeProblem[] {
  const rank = (problem: RecipeProblem): number => (problem.source?.layer === 'recipe' ? 0 : 1);
  return [...problems].sort(
    (a, b) =>
      rank(a) - rank(b) ||
      (a.at?.line ?? Infinity) - (b.at?.line ?? Infinity) ||
      (a.at?.column ?? 0) - (b.at?.column ?? 0) ||
      0,
  );
}

/** All problems as one error; its code is that of the only problem, else `recipe-invalid`. */
export function problemsError(problems: readonly RecipeProblem[]): MoeError {
  const errors = sortProblems(problems.filter((problem) => problem.severity === 'error'));
  const first = errors[0];
  const only = errors.length === 1 ? first : undefined;
  const kind: ErrorKind = errors.every(
    (problem) => problem.impossible !== true && (problem.source?.layer === 'set' || problem.source?.layer === 'src'),
  )
    ? 'usage'
    : 'input';
  const message =
    errors.length === 1 && first !== undefined
      ? problemLine(first)
      : `${errors.length} problems in the recipe:\n${errors.map((problem) => `  ${problemLine(problem)}${problem.hint === undefined ? '' : ` (${problem.hint})`}`).join('\n')}`;
  const file = errors.find((problem) => problem.source?.layer === 'recipe')?.source?.label;
  return new MoeError(kind, only?.code ?? 'recipe-invalid', message, {
    ...(file === undefined ? {} : { file }),
    ...(only === undefined || only.field === '' ? {} : { field: only.field }),
    ...(only?.hint === undefined ? {} : { hint: only.hint }),
    details: {
      ...(only?.at === undefined ? {} : { line: only.at.line, column: only.at.column }),
      problems: sortProblems(problems).map((problem) => problemJson(problem)),
    },
  });
}

/** A problem as plain JSON, for `--json` and editors. */
export function problemJson(problem: RecipeProblem): Record<string, unknown> {
  return {
    severity: problem.severity,
    code: problem.code,
    message: problem.message,
    field: problem.field,
    ...(problem.source === undefined ? {} : { from: problem.source.label }),
    ...(problem.at === undefined ? {} : { line: problem.at.line, column: problem.at.column }),
    ...(problem.hint === undefined ? {} : { hint: problem.hint }),
  };
}

/** `parents[0].path`. */
export function dotted(path: Path): string {
  return path.map((step, i) => (typeof step === 'number' ? `[${step}]` : i === 0 ? step : `.${step}`)).join('');
}

/** A problem at a node. */
export function at(
  node: Tree,
  path: Path,
  severity: 'error' | 'warning',
  code: string,
  message: string,
  hint?: string,
): RecipeProblem {
  return {
    severity,
    code,
    message,
    field: dotted(path),
    source: node.source,
    ...(node.at === undefined ? {} : { at: node.at }),
    ...(hint === undefined ? {} : { hint }),
  };
}
