/** Stop strings of generation tasks: where a text was cut, by what, and whether that hides answers (field report G4-08). */

/** The text kept, and the cut that made it, if any. */
export interface StopResult {
  readonly kept: string;
  /** UTF-16 offset of the cut in the generated text and the stop string that made it. */
  readonly cut?: { readonly at: number; readonly stop: string };
}

/** Cuts as the harness does: each stop string in turn, at its first occurrence in what is left. Empty ones are ignored. */
export function applyStopStrings(text: string, stops: readonly string[]): StopResult {
  let kept = text;
  let stop: string | undefined;
  for (const candidate of stops) {
    const at = candidate === '' ? -1 : kept.indexOf(candidate);
    if (at < 0) continue;
    kept = kept.slice(0, at);
    stop = candidate;
  }
  return stop === undefined ? { kept } : { kept, cut: { at: kept.length, stop } };
}

/** One generated answer after cutting. */
export interface CutSample extends StopResult {
  /** The extracted answer, or null. */
  readonly answer: string | null;
}

/** First capture group (or whole match) of `pattern` in the kept text. */
export function extractAnswer(kept: string, pattern: RegExp): string | null {
  const match = pattern.exec(kept);
  return match === null ? null : (match[1] ?? match[0]);
}

/** How often a stop string cut a text before any answer, by stop string. */
export interface CutSummary {
  readonly samples: number;
  readonly cutBeforeAnswer: number;
  readonly share: number;
  readonly byStop: readonly { readonly stop: string; readonly samples: number }[];
  /** Set when more than half were cut before an answer: the stop list, not the model, is the likely fault. */
  readonly warning?: string;
}

/** Summary over samples; warns above one half. */
export function summariseCuts(samples: readonly CutSample[]): CutSummary {
  const counts = new Map<string, number>();
  for (const { cut, answer } of samples) {
    if (cut !== undefined && answer === null) counts.set(cut.stop, (counts.get(cut.stop) ?? 0) + 1);
  }
  const byStop = [...counts].map(([stop, n]) => ({ stop, samples: n })).sort((a, b) => b.samples - a.samples);
  const cutBeforeAnswer = byStop.reduce((n, s) => n + s.samples, 0);
  const share = samples.length === 0 ? 0 : cutBeforeAnswer / samples.length;
  const summary = { samples: samples.length, cutBeforeAnswer, share, byStop };
  if (share <= 0.5) return summary;
  const worst = JSON.stringify(byStop[0]?.stop ?? '');
  const warning = `${cutBeforeAnswer} of ${samples.length} texts were cut before any answer, most by the stop string ${worst}: the score says more about the stop list than about the model`;
  return { ...summary, warning };
}
