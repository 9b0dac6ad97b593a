import { MoeError, messageOf } from '../common/errors.ts';
import type { ComparableDoc } from './compare.ts';

/** One metric of an imported file; a standard error of `[]`, "N/A", null or NaN is unknown, never 0. */
export interface ImportedMetric {
  readonly value: number | null;
  readonly stderr: number | null;
}

export interface ImportedTask {
  /** By metric name, "acc,none" and old "acc" alike; other filters keep their name: "exact_match,strict-match". */
  readonly metrics: ReadonlyMap<string, ImportedMetric>;
  readonly documents: number | null;
  readonly version: string | null;
  readonly numFewshot: number | null;
  readonly isGroup: boolean;
}

/** A results file of lm-evaluation-harness, or of ours. */
export interface ImportedRun {
  readonly model: string | null;
  readonly tasks: ReadonlyMap<string, ImportedTask>;
  readonly limit: number | null;
  readonly maxLength: number | null;
  /** Version of the harness when the file names one: decides about BOS (0.4.9.2). */
  readonly harnessVersion: string | null;
  readonly notes: readonly string[];
}

const bad = (file: string, message: string, cause?: unknown): MoeError =>
  new MoeError(
    'input',
    'bad-results-file',
    `${file} ${message}`,
    { file, hint: 'Expected a results_*.json of lm-evaluation-harness.' },
    { cause },
  );

export interface PythonJson {
  readonly value: unknown;
  /** Numbers that were NaN or infinite. */
  readonly nonFinite: number;
}

/** Parses JSON as Python writes it: NaN and Infinity outside texts become null. */
export function parsePythonJson(text: string): PythonJson {
  let nonFinite = 0;
  const clean = text.replace(/"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b/g, (token) => {
    if (token.startsWith('"')) return token;
    nonFinite++;
    return 'null';
  });
  return { value: JSON.parse(clean), nonFinite };
}

/** Reads a results file's text. `file` is named in errors. */
export function importHarnessResults(text: string, file: string): ImportedRun {
  return importedRun(resultsJson(text, file), file);
}

/** A results file's JSON. Throws `bad-results-file`. */
export function resultsJson(text: string, file: string): PythonJson {
  try {
    return parsePythonJson(text);
  } catch (cause) {
    throw bad(file, `is not JSON: ${messageOf(cause)}`, cause);
  }
}

/** What the JSON of a results file says. Throws `bad-results-file` where it is none. */
export function importedRun(parsed: PythonJson, file: string): ImportedRun {
  const root = record(parsed.value);
  const results = record(own(root, 'results'));
  if (results === undefined) throw bad(file, 'has no "results"');
  const groups = record(own(root, 'groups')) ?? {};
  const versions = record(own(root, 'versions'));
  const shots = record(own(root, 'n-shot'));
  const samples = record(own(root, 'n-samples'));
  const notes: string[] = [];
  if (parsed.nonFinite > 0) notes.push(`${file}: ${parsed.nonFinite} values are NaN or infinite; shown as unknown`);
  const tasks = new Map<string, ImportedTask>();
  for (const [name, value] of Object.entries(results)) {
    const entry = record(value);
    if (entry === undefined) {
      notes.push(`${file}: results["${name}"] is not a record; skipped`);
      continue;
    }
    const metrics = metricsOf(entry);
    if (metrics.size === 0 && !Object.hasOwn(groups, name)) notes.push(`${file}: results["${name}"] holds no metric`);
    const effective = record(own(samples, name));
    const version = own(versions, name);
    tasks.set(name, {
      metrics,
      documents:
        numberOf(own(entry, 'sample_len')) ?? numberOf(own(entry, 'samples')) ?? numberOf(own(effective, 'effective')),
      version: typeof version === 'string' || typeof version === 'number' ? String(version) : null,
      numFewshot: numberOf(own(shots, name)),
      isGroup: Object.hasOwn(groups, name),
    });
  }
  const config = record(own(root, 'config'));
  const model = own(root, 'model_name') ?? own(config, 'model_args') ?? own(config, 'model');
  const harness = own(root, 'lm_eval_version');
  return {
    model: typeof model === 'string' ? model : null,
    tasks,
    limit: numberOf(own(config, 'limit')),
    maxLength: numberOf(own(root, 'max_length')),
    harnessVersion: typeof harness === 'string' ? harness : null,
    notes,
  };
}

const NOT_METRICS = new Set(['alias', 'name', 'sample_len', 'samples', 'sample_count']);

function metricsOf(entry: Readonly<Record<string, unknown>>): Map<string, ImportedMetric> {
  const found = new Map<string, { value: number | null; stderr: number | null }>();
  const slot = (name: string): { value: number | null; stderr: number | null } => {
    const old = found.get(name) ?? { value: null, stderr: null };
    found.set(name, old);
    return old;
  };
  for (const [key, value] of Object.entries(entry)) {
    if (NOT_METRICS.has(key)) continue;
    const [metric = '', filter] = key.split(',', 2);
    const suffix = filter === undefined || filter === 'none' ? '' : `,${filter}`;
    if (metric.endsWith('_stderr')) slot(metric.slice(0, -'_stderr'.length) + suffix).stderr = numberOf(value);
    else if (typeof value === 'number' || value === null) slot(metric + suffix).value = numberOf(value);
  }
  return found;
}

/**
 * Reads samples of the harness (`samples_<task>_<date>.jsonl`) or of ours (each line carries `task`) for a paired comparison.
 * Lines with another filter than "none" are skipped and counted.
 */
export function importHarnessSamples(
  text: string,
  file: string,
): { readonly docs: readonly ComparableDoc[]; readonly notes: readonly string[] } {
  const fromName = /samples_(.+?)_\d{4}-\d{2}-\d{2}T[^/\\]*\.jsonl$/.exec(file)?.[1];
  const docs: ComparableDoc[] = [];
  let filtered = 0;
  for (const [i, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    let sample: Readonly<Record<string, unknown>> | undefined;
    try {
      sample = record(parsePythonJson(line).value);
    } catch (cause) {
      throw bad(file, `line ${i + 1} is not JSON: ${messageOf(cause)}`, cause);
    }
    const filter = own(sample, 'filter');
    if (typeof filter === 'string' && filter !== 'none') {
      filtered++;
      continue;
    }
    const task = own(sample, 'task') ?? fromName;
    const docId = own(sample, 'doc_id');
    if (typeof task !== 'string') throw bad(file, `line ${i + 1} names no task, and neither does the file name`);
    if (typeof docId !== 'number') throw bad(file, `line ${i + 1} has no "doc_id"`);
    docs.push({
      task,
      docId,
      docHash: textOf(own(sample, 'doc_hash')),
      promptHash: textOf(own(sample, 'prompt_hash')),
      values: valuesOf(sample),
    });
  }
  const notes = filtered > 0 ? [`${file}: ${filtered} lines of other filters than "none" skipped`] : [];
  return { docs, notes };
}

function valuesOf(sample: Readonly<Record<string, unknown>> | undefined): Map<string, number> {
  const listed = own(sample, 'metrics');
  const names = Array.isArray(listed)
    ? listed.filter((n) => typeof n === 'string')
    : ['acc', 'acc_norm', 'acc_bytes', 'perplexity'];
  const values = new Map<string, number>();
  for (const name of names) {
    const value = own(sample, name);
    if (typeof value === 'number') values.set(name, value);
    else if (typeof value === 'boolean') values.set(name, value ? 1 : 0);
  }
  return values;
}

function record(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : undefined;
}

function own(value: Readonly<Record<string, unknown>> | undefined, name: string): unknown {
  return value !== undefined && Object.hasOwn(value, name) ? value[name] : undefined;
}

function numberOf(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}
