/** Serves what is asked about evaluations: which tasks have data, results files, their comparison, expert statistics. */
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { openCheckpoint } from '../checkpoint/open.ts';
import { MoeError, messageOf } from '../common/errors.ts';
import { writeWhole } from '../common/write-whole.ts';
import { coactivationCsv, domainsCsv, expertsCsv, layersCsv, traceJson } from '../eval/trace-export.ts';
import { offeredTasks } from '../eval/offers.ts';
import type { Endpoint } from '../protocol/host.ts';
import {
  workerEvaluation,
  workerEvaluationCompare,
  workerEvaluationLayer,
  workerEvaluationText,
  workerExportTraces,
  workerSaveEvaluation,
  workerTasks,
} from '../protocol/worker-eval.ts';
import { tokenizerOf } from '../score/tokenizer.ts';
import { compareEvaluations, evaluationMarkdown } from '../view/evaluation.ts';
import type { ParsedEvaluation } from '../view/evaluation.ts';
import { traceLayerOf } from '../view/traces.ts';
import { Evaluations } from './evaluations.ts';

type Words = (id: number) => string;

export function serveEvaluations(endpoint: Endpoint): void {
  const files = new Evaluations();
  const words = new Map<string, Words>();

  endpoint.handle(workerTasks, async ({ data }) => ({
    tasks: await offeredTasks(data === null ? {} : { path: data }),
  }));
  endpoint.handle(workerEvaluation, async ({ file }) => {
    const { evaluation, begun } = await files.read(file);
    return { evaluation, begun };
  });
  endpoint.handle(workerEvaluationCompare, async ({ other, file }) => {
    const [a, b] = [await files.read(other), await files.read(file)];
    return compareEvaluations(a, b, { name: nameOf(a), file: other });
  });
  endpoint.handle(workerEvaluationLayer, async ({ file, layer: number }) => {
    const parsed = await files.read(file);
    const found = parsed.traces === null ? null : traceLayerOf(parsed.traces, number);
    if (found === null)
      throw new MoeError('input', 'no-such-layer', `${file} says nothing of the experts of layer ${String(number)}`);
    const { coactivation, domains, layer } = found;
    const { path } = parsed.evaluation;
    let say = path === null ? null : (words.get(path) ?? null);
    if (say === null && path !== null && layer.vocabulary.top.length > 0) {
      say = await wordsOf(path);
      words.set(path, say);
    }
    const vocabulary = layer.vocabulary.top.map(({ tokenId, occurrences, expert, share }) => ({
      token: say?.(tokenId) ?? `token ${String(tokenId)}`,
      occurrences,
      expert,
      share,
    }));
    return { layer: number, coactivation, domains, vocabulary };
  });
  endpoint.handle(workerEvaluationText, async ({ file, format }) => {
    const { evaluation } = await files.read(file);
    if (format === 'markdown') return { text: evaluationMarkdown(evaluation) };
    const { traces: _, ...rest } = evaluation;
    return { text: `${JSON.stringify(rest, null, 2)}\n` };
  });
  endpoint.handle(workerExportTraces, async ({ file, to, format }) => {
    const { traces } = await files.read(file);
    if (traces === null) throw new MoeError('input', 'no-traces', `${file} has no expert statistics`, { file });
    if (format === 'json') {
      await write(to, traceJson(traces));
      return { files: [to] };
    }
    await mkdir(to, { recursive: true });
    const parts: readonly (readonly [string, string])[] = [
      ['experts.csv', expertsCsv(traces)],
      ['layers.csv', layersCsv(traces)],
      ['domains.csv', domainsCsv(traces)],
      ['coactivation.csv', coactivationCsv(traces)],
    ];
    for (const [name, text] of parts) await write(join(to, name), text);
    return { files: parts.map(([name]) => join(to, name)) };
  });
  endpoint.handle(workerSaveEvaluation, async ({ file, to }) => {
    try {
      await copyFile(file, to);
    } catch (error) {
      throw notWritten(to, error);
    }
    return {};
  });
}

function nameOf({ evaluation: { model, date } }: ParsedEvaluation): string {
  return date === null ? model : `${model}, ${date.slice(0, 16).replace('T', ' ')}`;
}

/** Tokens in words where the checkpoint is still there; else their numbers. */
async function wordsOf(path: string): Promise<Words> {
  try {
    const { tokenizer } = tokenizerOf(await openCheckpoint(path));
    return (id) => tokenizer.decode([id]);
  } catch {
    return (id) => `token ${String(id)}`;
  }
}

async function write(file: string, text: string): Promise<void> {
  try {
    await writeWhole(file, text);
  } catch (error) {
    throw notWritten(file, error);
  }
}

function notWritten(file: string, error: unknown): MoeError {
  return new MoeError(
    'resources',
    'not-written',
    `${file} cannot be written: ${messageOf(error)}`,
    { file },
    { cause: error },
  );
}
