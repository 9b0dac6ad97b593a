/**
 * Do two models compute the same? Their logits on the same tokens, position by position, and what the plan promised about
 * them. Pure: whoever runs the models hands the rows in.
 */
import type { MoeError } from '../common/errors.ts';
import type { ExactnessClass } from '../plan/types.ts';
import type { VerifyReport } from './verify.ts';

export interface LogitDifference {
  readonly positions: number;
  readonly vocabulary: number;
  /** Logits that are equal bit for bit, of positions × vocabulary. */
  readonly equalLogits: number;
  /** Largest |Δ| of any logit. */
  readonly maxAbs: number;
  /** ‖Δ‖₂ / ‖reference‖₂ over everything. */
  readonly relativeNorm: number;
  /** KL(reference ‖ model) of the next-token distributions, in nats, over positions. */
  readonly meanKl: number;
  readonly maxKl: number;
  /** Positions whose most likely token is the same (first one on ties). */
  readonly argmaxEqual: number;
  /** Logits of either model that are not finite; they enter no other number. */
  readonly nonFinite: number;
}

/** Relative norm up to which logits of equal models differ by rounding alone: float32, other order of sums. */
export const EXACT_LIMIT = 1e-5;

/** Sums over positions; keeps no logits. */
export class LogitComparison {
  #positions = 0;
  #equal = 0;
  #maxAbs = 0;
  #delta2 = 0;
  #norm2 = 0;
  #kl = 0;
  #maxKl = 0;
  #argmaxEqual = 0;
  #nonFinite = 0;

  constructor(private readonly vocabulary: number) {}

  /** Logits of one position, [vocabulary] each. */
  add(reference: Float32Array, model: Float32Array): void {
    this.#positions++;
    let [topA, topB] = [0, 0];
    let [maxA, maxB] = [-Infinity, -Infinity];
    for (let i = 0; i < this.vocabulary; i++) {
      const a = reference[i] ?? Number.NaN;
      const b = model[i] ?? Number.NaN;
      if (a === b) this.#equal++;
      if (!Number.isFinite(a) || !Number.isFinite(b)) {
        this.#nonFinite++;
        continue;
      }
      this.#maxAbs = Math.max(this.#maxAbs, Math.abs(a - b));
      this.#delta2 += (a - b) ** 2;
      this.#norm2 += a * a;
      if (a > maxA) [maxA, topA] = [a, i];
      if (b > maxB) [maxB, topB] = [b, i];
    }
    if (topA === topB) this.#argmaxEqual++;
    const kl = divergence(reference, model, maxA, maxB);
    this.#kl += kl;
    this.#maxKl = Math.max(this.#maxKl, kl);
  }

  result(): LogitDifference {
    return {
      positions: this.#positions,
      vocabulary: this.vocabulary,
      equalLogits: this.#equal,
      maxAbs: this.#maxAbs,
      relativeNorm: this.#delta2 === 0 ? 0 : Math.sqrt(this.#delta2 / this.#norm2),
      meanKl: this.#positions === 0 ? 0 : this.#kl / this.#positions,
      maxKl: this.#maxKl,
      argmaxEqual: this.#argmaxEqual,
      nonFinite: this.#nonFinite,
    };
  }
}

/** KL(a ‖ b) of softmaxes, at least 0 (rounding can make it slightly negative). */
function divergence(a: Float32Array, b: Float32Array, maxA: number, maxB: number): number {
  let [sumA, sumB, cross] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i] ?? Number.NaN, b[i] ?? Number.NaN];
    if (!Number.isFinite(x) || !Number.isFinite(y)) continue;
    const weight = Math.exp(x - maxA);
    sumA += weight;
    sumB += Math.exp(y - maxB);
    cross += weight * (x - maxA - (y - maxB));
  }
  return sumA === 0 ? 0 : Math.max(0, cross / sumA - Math.log(sumA) + Math.log(sumB));
}

export interface LogitProof extends LogitDifference {
  /** What the plan promised. */
  readonly class: ExactnessClass;
  /** Relative norm that is still a pass; null where the class promises nothing to hold it to. */
  readonly limit: number | null;
  readonly ok: boolean;
  /** Every logit equal, bit for bit. */
  readonly bitEqual: boolean;
  /** The tokens that were run, in words. */
  readonly input: string;
}

/** Holds a difference against the plan's class: exact and bit-exact must keep the limit, the others only report. */
export function judgeLogits(difference: LogitDifference, exactness: ExactnessClass, input: string): LogitProof {
  const promised = exactness === 'exact' || exactness === 'bit-exact';
  const { positions, vocabulary, equalLogits, nonFinite, relativeNorm } = difference;
  return {
    ...difference,
    class: exactness,
    limit: promised ? EXACT_LIMIT : null,
    ok: positions > 0 && nonFinite === 0 && (!promised || relativeNorm <= EXACT_LIMIT),
    bitEqual: positions > 0 && equalLogits === positions * vocabulary,
    input,
  };
}

/** Token ids that stand in for a text where a checkpoint has no tokenizer: any order, all over the vocabulary. */
export function proofIds(vocabulary: number, count = 256): number[] {
  const ids: number[] = [];
  let state = 1;
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    ids.push(Math.floor((state / 2 ** 32) * vocabulary));
  }
  return ids;
}

/** Cuts ids into windows that a model can run. */
export function windowsOf(ids: readonly number[], longest: number): number[][] {
  const size = Math.max(1, Math.min(longest, 512));
  const windows: number[][] = [];
  for (let from = 0; from < ids.length; from += size) windows.push(ids.slice(from, from + size));
  return windows;
}

export interface ProvenReport extends VerifyReport {
  readonly logits: LogitProof;
}

/** The report of the bytes with that of the logits. */
export function withLogits(report: VerifyReport, proof: LogitProof): ProvenReport {
  const detail = proofText(proof);
  const shown = proof.ok && proof.limit !== null;
  return {
    ...report,
    ok: report.ok && proof.ok,
    checks: [...report.checks, { name: 'logits', ok: proof.ok, detail }],
    problems: proof.ok
      ? report.problems
      : [...report.problems, { code: 'logits-differ', message: `The models do not compute the same: ${detail}.` }],
    problemCount: report.problemCount + (proof.ok ? 0 : 1),
    proven: shown
      ? [...report.proven, `Both models compute the same on ${proof.input}: ${detail}.`]
      : [...report.proven],
    // Bytes alone could not tell; running them did.
    notProven: shown ? report.notProven.filter((claim) => !claim.startsWith('That both models')) : report.notProven,
    logits: proof,
  };
}

/** The report of damaged bytes where the models could not even be run: the damage stays in it, and what stopped the run comes along. */
export function withoutLogits(report: VerifyReport, error: MoeError): VerifyReport {
  const detail = `could not be run: ${error.message}`;
  return {
    ...report,
    ok: false,
    checks: [...report.checks, { name: 'logits', ok: false, detail }],
    problems: [...report.problems, { code: 'logits-not-run', message: `The models ${detail}` }],
    problemCount: report.problemCount + 1,
  };
}

/** `relative 3.2e-7 (limit 1e-5), max |Δ| 4.1e-6, KL 1.2e-13, argmax 64 of 64`. */
export function proofText(proof: LogitProof): string {
  const { positions, relativeNorm, limit, maxAbs, meanKl, argmaxEqual, nonFinite, bitEqual } = proof;
  if (nonFinite > 0) return `${nonFinite} logits are not finite numbers`;
  if (bitEqual) return `all logits of ${positions} positions equal bit for bit`;
  const short = (value: number): string => (value === 0 ? '0' : value.toExponential(1));
  const bound = limit === null ? 'no limit: the plan promises none' : `limit ${short(limit)}`;
  return `relative ${short(relativeNorm)} (${bound}), max |Δ| ${short(maxAbs)}, KL ${short(meanKl)} nats, argmax equal at ${argmaxEqual} of ${positions} positions`;
}
