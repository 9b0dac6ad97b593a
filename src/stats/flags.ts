/** Flags of experts that deserve a look: dead, equal to another, broken, or far from the others in size. */
import type { ExpertMetric } from '../protocol/checkpoint.ts';

export interface FlagFacts {
  readonly expert: number | 'shared';
  readonly norms: Readonly<Record<'gate' | 'up' | 'down', number | null>>;
  readonly all: number | null;
  readonly finite: boolean;
  /** Equal digests mean equal weights. */
  readonly digest: string;
}

export interface Flagged {
  readonly flags: ExpertMetric['flags'];
  readonly duplicateOf: number | null;
}

/** Deviations from the median that make an outlier: in robust standard deviations, and as a share of the median. */
const OUTLIER_DEVIATIONS = 5;
const OUTLIER_SHARE = 0.05;

/**
 * dead: one of its projections is all zeros, so that it adds nothing. duplicate: the same weights as an earlier expert.
 * outlier: its norm lies more than 5 robust standard deviations (of median deviations) and 5 % from the median.
 */
export function flagsOf(experts: readonly FlagFacts[]): ReadonlyMap<number, Flagged> {
  const out = new Map<number, Flagged>();
  const first = new Map<string, number>();
  const sizes = experts.map(({ all }) => all).filter((size): size is number => size !== null);
  const middle = median(sizes);
  const spread = 1.4826 * median(sizes.map((size) => Math.abs(size - middle)));
  const far = Math.max(OUTLIER_DEVIATIONS * spread, OUTLIER_SHARE * middle);
  for (const { expert, norms, all, finite, digest } of experts) {
    if (expert === 'shared') continue;
    const flags: ExpertMetric['flags'][number][] = [];
    const known = Object.values(norms).some((norm) => norm !== null);
    if (known && Object.values(norms).some((norm) => norm === 0)) flags.push('dead');
    const twin = known || !finite ? (first.get(digest) ?? null) : null;
    if (twin === null) first.set(digest, expert);
    else flags.push('duplicate');
    if (!finite) flags.push('not-finite');
    if (all !== null && sizes.length >= 4 && Math.abs(all - middle) > far) flags.push('outlier');
    out.set(expert, { flags, duplicateOf: twin });
  }
  return out;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  if (sorted.length === 0) return 0;
  return sorted.length % 2 === 1 ? (sorted[half] ?? 0) : ((sorted[half - 1] ?? 0) + (sorted[half] ?? 0)) / 2;
}
