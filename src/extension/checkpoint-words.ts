/** A checkpoint in a few words, for trees and the status bar. No vscode here. */
import type { Overview } from '../protocol/checkpoint.ts';
import { shortCount } from '../report/text.ts';
import { t } from './words.ts';

/** "mixtral, 8 experts, top-2, 1.2B (0.4B active)". */
export function kindWords(overview: Overview): string {
  const { modelType, experts, parameters, kind } = overview;
  const parts: string[] = [
    modelType ?? (kind === 'unknown' ? t('unknown family') : kind === 'moe' ? t('mixture of experts') : t('dense')),
  ];
  if (experts !== null) {
    parts.push(t('{0} experts', experts.perLayer));
    if (experts.topK !== null) parts.push(`top-${String(experts.topK)}`);
  }
  if (parameters.total !== null) {
    const active = parameters.active !== null && parameters.active !== parameters.total;
    const total = shortCount(parameters.total);
    parts.push(active ? t('{0} ({1} active)', total, shortCount(parameters.active ?? 0)) : total);
  }
  return parts.join(', ');
}

/** The dtype that most tensors have, with a mark where there are others. */
export function mainDtype(overview: Overview): string {
  const sorted = [...overview.dtypes].sort((a, b) => b.tensors - a.tensors);
  const [first] = sorted;
  return first === undefined ? '' : `${first.dtype}${sorted.length > 1 ? '+' : ''}`;
}
