/** Tokens of a text and the experts that ran them, as steps of a generation bring them. No DOM. */
import type { GenerateStep } from '../../src/protocol/playground.ts';
import { t } from '../strings.ts';

export interface ShownToken {
  readonly id: number;
  readonly text: string;
  /** Its entry in the vocabulary: all there is to show of a part of a character. */
  readonly entry: string;
  readonly prompt: boolean;
  /** Natural logarithm of its probability; null for the prompt's. */
  readonly logprob: number | null;
  /** By layer: its experts, first choice first. Empty until it was run: a token that ends the text never is. */
  readonly experts: ReadonlyMap<number, readonly number[]>;
  /** By layer: what the router's softmax over all experts gave the first. */
  readonly shares: ReadonlyMap<number, number>;
}

/** The tokens after one more step. */
export function withStep(tokens: readonly ShownToken[], step: GenerateStep): ShownToken[] {
  const known = tokens.findIndex(({ experts }) => experts.size === 0);
  const from = known < 0 ? tokens.length : known;
  const next = tokens.map((token, at) => {
    if (at < from) return token;
    const experts = new Map<number, readonly number[]>();
    const shares = new Map<number, number>();
    for (const { layer, topK, chosen, shares: all } of step.ran) {
      const begin = (at - from) * topK;
      if (begin + topK <= chosen.length) experts.set(layer, chosen.slice(begin, begin + topK));
      const share = all[at - from];
      if (typeof share === 'number') shares.set(layer, share);
    }
    return experts.size === 0 ? token : { ...token, experts, shares };
  });
  for (const { id, text, entry, logprob } of step.tokens)
    next.push({
      id,
      text,
      entry,
      prompt: step.prompt,
      logprob: typeof logprob === 'number' ? logprob : null,
      experts: new Map(),
      shares: new Map(),
    });
  return next;
}

/** How often each expert was the first choice of a layer. */
export function firstCounts(tokens: readonly ShownToken[], layer: number, experts: number): number[] {
  const counts = new Array<number>(experts).fill(0);
  for (const token of tokens) {
    const first = token.experts.get(layer)?.[0];
    if (first !== undefined && first < experts) counts[first] = (counts[first] ?? 0) + 1;
  }
  return counts;
}

/** A token's text on one line: what cannot be seen is named. */
export function tokenText({ text, entry }: Pick<ShownToken, 'text' | 'entry'>): string {
  if (text === '') return entry;
  return text.replaceAll('\n', '↵').replaceAll('\t', '⇥');
}

/** What is said of one token. */
export function tokenWords(token: ShownToken, layer: number | null): string {
  const parts = [`${token.text === '' ? token.entry : JSON.stringify(token.text)} (${String(token.id)})`];
  parts.push(token.prompt ? t('prompt') : t('generated'));
  if (token.logprob !== null) parts.push(t('probability {0}', `${(Math.exp(token.logprob) * 100).toPrecision(3)} %`));
  if (layer !== null) {
    const chosen = token.experts.get(layer);
    parts.push(
      chosen === undefined
        ? t('not run: no token came after it')
        : t('experts of layer {0}: {1}', layer, chosen.join(', ')),
    );
    const share = token.shares.get(layer);
    if (share !== undefined) parts.push(t('router gave the first p {0}', share.toFixed(2)));
  }
  return parts.join('\n');
}
