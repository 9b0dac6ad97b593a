/** Scores in words. No DOM. */
import type { Evaluation, EvalSubject, Paired, ResultsJob } from '../../src/protocol/results.ts';
import { t } from '../strings.ts';
import { durationText, grouped } from './format.ts';

/** A score as tables show it; null: unknown. */
export function scoreText(value: number | null): string {
  return value === null ? t('unknown') : Math.abs(value) >= 1000 ? value.toPrecision(6) : value.toFixed(4);
}

/** "+0.0123", so that the direction is never lost. */
export function differenceText(value: number | null): string {
  if (value === null) return t('unknown');
  // -0.0000 would name a direction that is not there.
  const text = Math.abs(value).toFixed(4);
  return Number(text) === 0 ? text : `${value > 0 ? '+' : '−'}${text}`;
}

/** Half the width of a 95 % interval. */
export const Z95 = 1.959964;

/** A p-value as it is reported. */
export function pText(p: number): string {
  return p < 0.001 ? 'p < 0.001' : `p = ${p.toFixed(3)}`;
}

/** What McNemar's test says, in a sentence. */
export function verdict(paired: Paired): string {
  const flips = paired.gained + paired.lost;
  if (flips === 0) return t('Both runs give the same answer to every question.');
  if (paired.p >= 0.05)
    return t('No evidence that one is better: flips this uneven come by chance ({0}, McNemar).', pText(paired.p));
  return paired.gained > paired.lost
    ? t('This run is better: so many more gains than losses are unlikely by chance ({0}, McNemar).', pText(paired.p))
    : t(
        'The other run is better: so many more losses than gains are unlikely by chance ({0}, McNemar).',
        pText(paired.p),
      );
}

/** The comparison's numbers in a sentence. */
export function pairedText(paired: Paired): string {
  return t(
    'On {0} questions that both answered this run is right on {1}, the other on {2}; {3} were gained, {4} lost.',
    grouped(paired.documents),
    percent(paired.scoreB),
    percent(paired.scoreA),
    grouped(paired.gained),
    grouped(paired.lost),
  );
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** Best, worst and how many are above chance: what the chart of subjects shows. */
export function subjectsText(subjects: readonly EvalSubject[], chance: number): string {
  const sorted = [...subjects].sort((a, b) => b.value - a.value);
  const [best] = sorted;
  const worst = sorted.at(-1);
  if (best === undefined || worst === undefined) return '';
  const above = subjects.filter(({ value, stderr }) => stderr !== null && value - Z95 * stderr > chance).length;
  return t(
    '{0} subjects: from {1} ({2}) to {3} ({4}). {5} are above guessing ({6}) beyond their 95 % interval.',
    grouped(subjects.length),
    worst.label,
    scoreText(worst.value),
    best.label,
    scoreText(best.value),
    grouped(above),
    String(chance),
  );
}

/** Where a running evaluation is: "1,203 of 4,000 requests, 2 min left". */
export function runningText({ progress }: ResultsJob): string {
  if (progress === null || progress.bytesTotal === 0) return '';
  const unit = progress.phase === 'score' ? 'requests' : progress.phase === 'trace' ? 'tokens' : '';
  const done =
    unit === 'requests'
      ? t('{0} of {1} requests', grouped(progress.bytesDone), grouped(progress.bytesTotal))
      : unit === 'tokens'
        ? t('{0} of {1} tokens', grouped(progress.bytesDone), grouped(progress.bytesTotal))
        : `${String(Math.floor((progress.bytesDone / progress.bytesTotal) * 100))} %`;
  const left = progress.etaSeconds;
  return left === null ? done : t('{0}, {1} left', done, durationText(left));
}

/** One line about finished results. */
export function evaluationLine({ rows, traces, documents }: Evaluation): string {
  if (rows.length === 0)
    return traces === null
      ? t('No results')
      : t('Expert statistics over {0} tokens', grouped(traces.layers[0]?.tokens ?? 0));
  const [first] = rows;
  const metric = first?.metrics[0];
  const score = metric === undefined ? '' : `${first?.task ?? ''} ${metric.name} ${scoreText(metric.value)}`;
  return documents === 0 ? score : t('{0}, {1} documents', score, grouped(documents));
}
