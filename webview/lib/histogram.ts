/** A histogram in words. No DOM. */
import type { Of } from '../../src/protocol/define.ts';
import type { histogram } from '../../src/protocol/checkpoint.ts';
import { t } from '../strings.ts';
import { grouped, numberText, shareText } from './format.ts';

export type Histogram = Of<typeof histogram>;

/** One line: where most values lie, and what lies apart. */
export function histogramSummary(histogram: Histogram): string {
  const { counts, edges, zeros, outside } = histogram;
  const inside = counts.reduce((sum, count) => sum + count, 0);
  const all = inside + zeros + outside;
  if (all === 0) return t('There are no finite values.');
  let most = 0;
  for (const [at, count] of counts.entries()) if (count > (counts[most] ?? 0)) most = at;
  const parts: string[] = [];
  if (inside > 0) {
    const [low, high] = densest(counts, inside * 0.9);
    parts.push(
      t(
        '90 % of the values lie between {0} and {1};',
        numberText(edges[low] ?? NaN, 3),
        numberText(edges[high + 1] ?? NaN, 3),
      ),
      t(
        'most in {0} to {1} ({2}).',
        numberText(edges[most] ?? NaN, 3),
        numberText(edges[most + 1] ?? NaN, 3),
        shareText(counts[most] ?? 0, all),
      ),
    );
  }
  if (zeros > 0) parts.push(t('{0} are exactly zero ({1}).', grouped(zeros), shareText(zeros, all)));
  if (outside > 0) parts.push(t('{0} lie outside the bins.', grouped(outside)));
  return parts.join(' ');
}

/** The shortest run of bins that holds `need` values. */
export function densest(counts: readonly number[], need: number): readonly [number, number] {
  let best: readonly [number, number] = [0, counts.length - 1];
  let sum = 0;
  let low = 0;
  for (let high = 0; high < counts.length; high++) {
    sum += counts[high] ?? 0;
    while (low < high && sum - (counts[low] ?? 0) >= need) {
      sum -= counts[low] ?? 0;
      low++;
    }
    if (sum >= need && high - low < best[1] - best[0]) best = [low, high];
  }
  return best;
}
