/** The job that sums up which experts get which tokens of some texts. */
import { readFile } from 'node:fs/promises';
import { MoeError, grouped, messageOf } from '../common/errors.ts';
import type { JobResult, TraceParams } from '../protocol/jobs.ts';
import { PLAIN, plural } from '../report/text.ts';
import { traceText } from '../report/trace.ts';
import { modelInfo } from '../score/model-info.ts';
import { tokenizerOf } from '../score/tokenizer.ts';
import { windowsOf } from '../verify/logits.ts';
import { TOOL_VERSION } from '../write/version.ts';
import type { JobContext } from './context.ts';
import { plainJson } from './plain.ts';
import { openAll } from './planning.ts';
import { counted, withModels, writeResults } from './run-models.ts';

/** Tokens of a text that are run together. */
const WINDOW = 512;

export async function traceJob(params: TraceParams, context: JobContext): Promise<JobResult> {
  const { path, out } = params;
  const started = Date.now();
  const [checkpoint] = await openAll([path], context);
  if (checkpoint === undefined) throw new TypeError('nothing was opened');
  const { tokenizer } = tokenizerOf(checkpoint);
  const texts: { readonly name: string; readonly ids: readonly number[] }[] = [];
  const cut: string[] = [];
  for (const { name, file, text } of params.texts) {
    const words = text ?? (await textOf(file));
    const all = tokenizer.encode(words);
    const ids = all.slice(0, params.limit ?? Infinity);
    if (ids.length < all.length)
      cut.push(`Of ${name} the first ${grouped(ids.length)} of ${grouped(all.length)} tokens are traced.`);
    texts.push({ name, ids });
  }
  for (const note of cut) context.log('warning', note);
  const total = texts.reduce((sum, { ids }) => sum + ids.length, 0);
  if (total === 0) throw new MoeError('usage', 'no-tokens', 'The texts have no tokens, so there is nothing to trace');
  return withModels([path], params.device, context, async ({ models, device, note }) => {
    const [model] = models;
    if (model === undefined) throw new TypeError('nothing was opened');
    const { experts, maxPositions } = model.facts;
    if (experts === null)
      throw new MoeError('input', 'no-experts', `${path} is dense: there are no experts to trace.`, { file: path });
    let done = 0;
    for (const { name, ids } of texts) {
      for (const window of windowsOf(ids, Math.min(WINDOW, maxPositions))) {
        await model.observe([window], name);
        done += window.length;
        context.progress(counted('trace', done, total, name));
      }
    }
    const traces = await model.traceReport();
    if (traces === null) throw new TypeError('a model with experts gave no report');
    const info = modelInfo(checkpoint, device);
    const tool = `moe-workbench ${TOOL_VERSION}`;
    const file = {
      results: {},
      config: { model: tool, model_args: path, model_num_parameters: info.parameters, device },
      date: started / 1000,
      model_source: tool,
      model_name: info.name,
      total_evaluation_time_seconds: String((Date.now() - started) / 1000),
      moe_workbench: {
        engine: info.engine,
        device_note: note,
        notes: cut,
        fingerprint: info.fingerprint,
        texts: texts.map(({ name, ids }) => ({ name, tokens: ids.length })),
        traces,
      },
    };
    await writeResults(out, `${JSON.stringify(file, null, 1)}\n`);
    const dead = traces.layers.reduce((sum, layer) => sum + layer.dead.length, 0);
    const away = traces.maxVio === null ? '' : `, MaxVio ${traces.maxVio.toFixed(3)}`;
    return {
      ok: true,
      summary: `${plural(total, 'token')} over ${plural(traces.layers.length, 'layer')}${away}, ${plural(dead, 'dead expert')}`,
      text: [traceText(traces, PLAIN), ...cut].join('\n'),
      report: plainJson({ out, texts: file.moe_workbench.texts }),
    };
  });
}

async function textOf(file: string | null): Promise<string> {
  if (file === null) throw new TypeError('a text without text or file');
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(await readFile(file));
  } catch (error) {
    throw new MoeError(
      'input',
      'text-unreadable',
      `The text cannot be read: ${messageOf(error)}`,
      { file, hint: 'Expected a text file in UTF-8.' },
      { cause: error },
    );
  }
}
