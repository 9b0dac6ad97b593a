/**
 * Scoring one text too long for one run: its pieces go through one after the other, each seeing the keys and values of those
 * before it, so that neither the attention matrices nor the logits grow with the square or the whole of its length.
 */
import { MoeError } from '../common/errors.ts';
import type { ScoreOptions, ScoreRequest, ScoreResult } from '../eval/scorer.ts';
import { maskName, maskWindows } from '../model/forward.ts';
import { causalMask, pastMask } from '../model/masks.ts';
import { KeyValueCache } from './generate.ts';
import { routerTraces, traceNames } from './model.ts';
import type { RunnableModel } from './model.ts';
import type { TraceSink } from './scorer.ts';
import { floatData, floats, integerData, integers } from './session.ts';
import type { Feeds } from './session.ts';

/** Tokens of a text from which on it is run in pieces. */
export const LONG_TEXT = 2048;
const PIECE = 512;

/** Log-likelihood of the continuation, as `ModelScorer` gives it. */
export async function scoreLongText(
  model: RunnableModel,
  request: ScoreRequest,
  options: Pick<ScoreOptions, 'signal'> & { readonly traces?: TraceSink },
): Promise<ScoreResult> {
  const { contextIds, continuationIds, trace } = request;
  const sink = options.traces;
  const all = [...contextIds, ...continuationIds];
  const ids = all.slice(0, -1);
  model.checkIds(all);
  const traced = sink !== undefined;
  const session = await model.session({ rows: 'chosen', head: 'targets', cache: true, traces: traced });
  const cache = new KeyValueCache(model.spec);
  let logprob = 0;
  let isGreedy = true;
  for (let start = 0; start < ids.length; start += PIECE) {
    if (options.signal?.aborted === true) throw new MoeError('cancelled', 'cancelled', 'Scoring was cancelled.');
    const piece = ids.slice(start, start + PIECE);
    cache.reserve(start);
    // Position p predicts token p + 1; the continuation begins at token contextIds.length.
    const at = piece.flatMap((_, i) => (start + i + 1 >= contextIds.length ? [i] : []));
    const targets = at.map((i) => all[start + i + 1] ?? 0);
    // A run without targets would fetch nothing but keys and values: one token stands in.
    const asked = at.length > 0 ? { at, targets } : { at: [0], targets: [0] };
    const results = await session.run(
      {
        ...pieceFeeds(model, cache, piece, ids.length),
        rows: integers(asked.at, [asked.at.length]),
        targets: integers(asked.targets, [asked.targets.length]),
      },
      [
        'logprob',
        'greedy',
        ...model.spec.layers.flatMap(({ index }) => [`present_key.${index}`, `present_value.${index}`]),
        ...(traced ? traceNames(model.spec) : []),
      ],
    );
    const found = floatData(results.get('logprob'), 'logprob');
    const greedy = integerData(results.get('greedy'), 'greedy');
    targets.forEach((target, i) => {
      logprob += found[i] ?? Number.NaN;
      isGreedy &&= greedy[i] === target;
    });
    cache.reserve(start + piece.length);
    for (const { index } of model.spec.layers) {
      const key = floatData(results.get(`present_key.${index}`), 'present_key');
      cache.append(index, key, floatData(results.get(`present_value.${index}`), 'present_value'), piece.length);
    }
    cache.commit(piece.length);
    sink?.observe(
      routerTraces(model.spec, results),
      {
        places: piece.map((_, i) => i),
        ids: piece,
        counted: piece.map((_, i) => start + i >= (trace?.skipTokens ?? 0)),
      },
      trace?.domain,
    );
  }
  return { logprob, isGreedy };
}

/** `total`: where frequencies depend on a text's length, it is that of the whole text. */
function pieceFeeds(model: RunnableModel, cache: KeyValueCache, piece: readonly number[], total: number): Feeds {
  const start = cache.filled;
  const length = piece.length;
  const masks = maskWindows(model.spec).flatMap((window) => [
    [maskName(window), floats(causalMask(length, window), [1, 1, length, length])] as const,
    [
      maskName(window, true),
      floats(pastMask(length, start, start, cache.capacity, window), [1, 1, length, cache.capacity]),
    ] as const,
  ]);
  return {
    input_ids: integers(piece, [1, length]),
    position_ids: integers(
      piece.map((_, i) => start + i),
      [1, length],
    ),
    ...Object.fromEntries(masks),
    ...model.ropeFeeds(total),
    ...cache.feeds(),
  };
}
