import { mkdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import type { TraceReport } from '../../eval/trace-report.ts';
import type { Command } from '../command.ts';
import { usageError } from '../command.ts';
import { MoeError, messageOf } from '../../common/errors.ts';
import { RUN_OPTIONS, openModel, openPath, withModels } from '../models.ts';
import { emit } from '../output.ts';
import { checkOutputs, writeOutput } from '../outputs.ts';
import { ProgressLine } from '../progress.ts';
import { textFile, wholeOption } from '../values.ts';

/** Tokens of a text that are run together. */
const WINDOW = 512;
const CSV_FILES = ['experts.csv', 'layers.csv', 'domains.csv', 'coactivation.csv'];

export const trace: Command = {
  spec: {
    name: 'trace',
    summary: 'which experts of a Mixture-of-Experts get which tokens',
    usage: ['PATH --text FILE … [--csv DIR]'],
    about: [
      'Runs the texts through the model and sums up what its routers did, per layer: load and importance of every expert, entropy, MaxVio, co-activation, share by text, tokens that a capacity limit would drop, margins and bfloat16 ties. The JSON carries the definitions.',
      'Texts are cut into windows of 512 tokens, each begun anew. Would-be drops are counted over 1,024 tokens at a time.',
    ],
    options: {
      text: { type: 'string', multiple: true, value: 'FILE', help: 'text file, a domain of its own; may repeat' },
      limit: { type: 'string', value: 'N', help: 'only the first N tokens of each text' },
      csv: {
        type: 'string',
        value: 'DIR',
        help: 'write experts.csv, layers.csv, domains.csv and coactivation.csv there',
      },
      ...RUN_OPTIONS,
    },
    positionals: [1, 1000],
  },
  async run(context) {
    const { args, io } = context;
    const [path = '', ...more] = args.positionals;
    const files = [...args.texts('text'), ...more];
    if (args.texts('text').length === 0) throw usageError('text-missing', 'moe trace needs --text', 'moe help trace');
    const limit = wholeOption(context, 'limit', 1) ?? Infinity;
    const csv = args.text('csv');
    const folder = csv === undefined ? null : resolve(io.cwd, csv);
    if (folder !== null) await makeFolder(folder);
    const checkpoint = await openPath(context, path);
    const { firstTokens } = await import('../../score/first-tokens.ts');
    const { tokenizerOf } = await import('../../score/tokenizer.ts');
    const { windowsOf } = await import('../../verify/logits.ts');
    const { tokenizer } = tokenizerOf(checkpoint);
    const texts: { readonly file: string; readonly domain: string; readonly ids: number[] }[] = [];
    for (const file of files)
      texts.push({
        file,
        domain: basename(file),
        ids: firstTokens((text) => tokenizer.encode(text), await textFile(context, file), limit),
      });
    const total = texts.reduce((sum, { ids }) => sum + ids.length, 0);
    const line = new ProgressLine(io, 'Tracing');
    const report = await withModels(context, async (child) => {
      const model = await openModel(context, child, checkpoint.path);
      const { experts, maxPositions } = model.facts;
      if (experts === null)
        throw new MoeError('input', 'no-experts', `${path} is dense: there are no experts to trace.`, { file: path });
      let done = 0;
      try {
        for (const { domain, ids } of texts) {
          for (const window of windowsOf(ids, Math.min(WINDOW, maxPositions))) {
            await model.observe([window], domain);
            done += window.length;
            line.update({ done, total, unit: 'tokens', at: domain });
          }
        }
      } finally {
        line.end();
      }
      return model.traceReport();
    });
    if (report === null) throw new Error('a model with experts gave no report');
    const { traceText } = await import('../../report/trace.ts');
    const inputs = texts.map(({ file, domain, ids }) => ({ file, domain, tokens: ids.length }));
    await emit(context, { texts: inputs, ...report }, () => traceText(report, context.style));
    if (folder !== null) await writeCsv(folder, report);
    return 0;
  },
};

/** Made before the work, so that a trace does not end at a folder that cannot be. */
async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    throw new MoeError('input', 'cannot-write', `The folder ${folder} cannot be made: ${messageOf(error)}`, {
      file: folder,
    });
  }
  await Promise.all(CSV_FILES.map((name) => checkOutputs({ csv: join(folder, name) }, 'csv')));
}

async function writeCsv(folder: string, report: TraceReport): Promise<void> {
  const { coactivationCsv, domainsCsv, expertsCsv, layersCsv } = await import('../../eval/index.ts');
  const texts = [expertsCsv(report), layersCsv(report), domainsCsv(report), coactivationCsv(report)];
  for (const [i, text] of texts.entries()) await writeOutput(join(folder, CSV_FILES[i] ?? ''), text);
}
