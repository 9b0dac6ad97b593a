/** Serves the router lab: runs the dense model of a recipe in a process of its own, which ends with the request. */
import { readFile, stat } from 'node:fs/promises';
import { MoeError, messageOf } from '../common/errors.ts';
import { cacheFolder } from '../infer/cache-folder.ts';
import { InferProcess } from '../infer/client.ts';
import { chooseDevice } from '../infer/devices.ts';
import { inferEntry } from '../infer/entry.ts';
import { buildPlan } from '../plan/build.ts';
import type { Endpoint } from '../protocol/host.ts';
import { workerLab } from '../protocol/lab.ts';
import type { LabReportView } from '../protocol/lab.ts';
import { labWindows, usualCandidates } from '../router-lab/candidates.ts';
import { routerLab } from '../router-lab/lab.ts';
import type { LabReport } from '../router-lab/lab.ts';
import { tokenizerOf } from '../score/tokenizer.ts';
import { PROOF_TEXT } from '../verify/proof-text.ts';
import type { Checkpoints } from './checkpoints.ts';
import { readRecipe } from './serve-plans.ts';

/** A text is read whole, only its first tokens are run. */
const MAX_TEXT_BYTES = 2 ** 26;

export function serveLab(endpoint: Endpoint, checkpoints: Checkpoints): void {
  endpoint.handle(workerLab, async ({ plan: request, texts, limit, device: wish }, { signal, progress }) => {
    const started = performance.now();
    const { loaded } = readRecipe(request, null);
    if (loaded === null || loaded.basePath === null)
      throw new MoeError('usage', 'recipe-not-ready', 'The recipe has errors, or names no dense checkpoint', {
        hint: 'Mend it first: the lab runs what it describes.',
      });
    const { recipe } = loaded;
    const sources = [];
    for (const path of [loaded.basePath, ...loaded.parentPaths]) {
      const { entry } = await checkpoints.entryOf(path, { lenient: false, fresh: false, signal });
      sources.push(entry.cp);
    }
    const [base] = sources;
    if (base === undefined) throw new TypeError('nothing was opened');
    if (base.planOnly)
      throw new MoeError(
        'input',
        'plan-only',
        `Only config and index of ${base.path} are at hand: there are no weights to run`,
      );
    const { tokenizer } = tokenizerOf(base);
    const words = [];
    for (const one of texts) words.push(one.text ?? (one.file === null ? PROOF_TEXT : await textOf(one.file)));
    const entry = inferEntry();
    const { device, note } = await chooseDevice(wish, { entry, signal });
    const child = new InferProcess({ entry, signal });
    try {
      progress({ done: 0, total: 0, what: 'Loading the dense model' });
      const model = await child.open(base.path, {
        cacheFolder: cacheFolder(process.env),
        weights: 'stored',
        device,
        onProgress: ({ done, total }) => {
          progress({ done: Math.round(done), total: Math.round(total), what: 'Dequantising' });
        },
      });
      const { maxPositions } = model.facts;
      const { tokens, whole, windows } = labWindows((text) => tokenizer.encode(text), words, limit, maxPositions);
      if (windows.length === 0)
        throw new MoeError('usage', 'no-tokens', 'The text has no tokens, so there is nothing to run');
      const report = await routerLab(
        {
          maxPositions,
          hidden: (rows, layers, take) => model.hidden(rows, layers, take),
          routerLogits: (rows, layers, routers, onText) => model.routerLogits(rows, layers, routers, onText),
        },
        {
          recipe,
          checkpoints: sources,
          candidates: usualCandidates(recipe),
          windows,
          signal,
          onProgress: ({ done, total }) => {
            progress({ done, total, what: 'Running the text' });
          },
        },
      );
      return viewOf(report, {
        hash: buildPlan(recipe, sources).hash,
        texts: texts.map(({ name }, i) => ({ name, tokens: tokens[i] ?? 0, whole: whole[i] ?? true })),
        device,
        seconds: (performance.now() - started) / 1000,
        notes: note === null ? [] : [note],
      });
    } finally {
      await child.close();
    }
  });
}

function viewOf(
  report: LabReport,
  about: Pick<LabReportView, 'hash' | 'texts' | 'device' | 'seconds' | 'notes'>,
): LabReportView {
  const { experts, topK, tokens, results, notes } = report;
  return {
    ...about,
    experts,
    topK,
    tokens,
    results: results.map(({ init, std, layers, maxVio, warnings }) => ({
      init,
      std,
      maxVio,
      warnings: [...warnings],
      load: Float32Array.from(layers.flatMap(({ load }) => load)),
      layers: layers.map(
        ({ layer, routerEntropy, loadEntropy, maxVio: own, dead, cold, condition, bf16TieRate, margin, drops }) => ({
          layer,
          routerEntropy,
          loadEntropy,
          maxVio: own,
          dead: [...dead],
          cold: [...cold],
          condition: typeof condition === 'number' ? condition : null,
          dependent: condition === 'infinite',
          bf16TieRate,
          marginMean: margin?.mean ?? null,
          drops: drops.map(({ factor, convention, share }) => ({ factor, convention, share })),
        }),
      ),
    })),
    notes: [...about.notes, ...notes],
  };
}

async function textOf(file: string): Promise<string> {
  const hint = 'Expected a text file in UTF-8.';
  try {
    if ((await stat(file)).size > MAX_TEXT_BYTES)
      throw new MoeError('input', 'text-too-large', 'The text is larger than 64 MiB', {
        file,
        hint: 'Give a part of it.',
      });
    return new TextDecoder('utf-8', { fatal: true }).decode(await readFile(file));
  } catch (error) {
    if (error instanceof MoeError) throw error;
    throw new MoeError(
      'input',
      'text-unreadable',
      `The text cannot be read: ${messageOf(error)}`,
      { file, hint },
      { cause: error },
    );
  }
}
