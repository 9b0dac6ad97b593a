/** A checkpoint in a few words, for trees and the status bar. No vscode here. */
import type { Overview } from '../protocol/checkpoint.ts';
import { shortCount } from '../report/text.ts';

/** "mixtral, 8 experts, top-2, 1.2B (0.4B active)". */
export function kindWords(overview: Overview): string {
  const { modelType, experts, parameters, kind } = overview;
  const parts: string[] = [modelType ?? (kind === 'unknown' ? 'unknown family' : kind)];
  if (experts !== null) {
    parts.push(`${String(experts.perLayer)} experts`);
    if (experts.topK !== null) parts.push(`top-${String(experts.topK)}`);
  }
  if (parameters.total !== null) {
    const active = parameters.active !== null && parameters.active !== parameters.total;
    parts.push(`${shortCount(parameters.total)}${active ? ` (${shortCount(parameters.active ?? 0)} active)` : ''}`);
  }
  return parts.join(', ');
}

/** The dtype that most tensors have, with a mark where there are others. */
export function mainDtype(overview: Overview): string {
  const sorted = [...overview.dtypes].sort((a, b) => b.tensors - a.tensors);
  const [first] = sorted;
  return first === undefined ? '' : `${first.dtype}${sorted.length > 1 ? '+' : ''}`;
}
