/** Numbers as people read them, from the core's own texts, under the names that the pages use. No DOM here. */
import type { Overview } from '../../src/protocol/checkpoint.ts';
import { secondsText, valueText } from '../../src/view/format.ts';
import { t } from '../strings.ts';

export {
  bytesLong,
  bytesShort as bytesText,
  countShort as shortCount,
  exactText,
  group as grouped,
  shapeText,
  valueText as numberText,
} from '../../src/view/format.ts';
export type { UnitBase } from '../../src/view/format.ts';
export { plural, rangesText, visible } from '../../src/report/text.ts';

/** What a checkpoint's files are. */
export function formatText(format: Overview['format']): string {
  switch (format) {
    case 'hf':
      return t('Hugging Face folder (safetensors)');
    case 'safetensors':
      return t('one safetensors file');
    case 'gguf':
      return t('GGUF file');
  }
}

/** `< 1 ms`, `34 ms`, `1.4 s`, `2 min 05 s`. */
export function durationText(seconds: number): string {
  if (seconds < 0.0005) return '< 1 ms';
  return seconds < 0.95 ? `${String(Math.round(seconds * 1000))} ms` : secondsText(seconds);
}

/** A part of a whole: `12.5 %`; never `0.0 %` or `100.0 %` for what is not, and `–` of nothing. */
export function shareText(part: number, whole: number): string {
  if (whole === 0) return '–';
  const percent = (part / whole) * 100;
  if (percent > 0 && percent < 0.1) return '< 0.1 %';
  if (percent < 100 && percent > 99.9) return '> 99.9 %';
  return `${percent.toFixed(1)} %`;
}

/** Floating-point operations: `428 MFLOP`, `3.25 GFLOP`. */
export function flopsText(flops: number): string {
  const steps: readonly (readonly [number, string])[] = [
    [1e15, 'PFLOP'],
    [1e12, 'TFLOP'],
    [1e9, 'GFLOP'],
    [1e6, 'MFLOP'],
    [1e3, 'kFLOP'],
  ];
  for (const [size, unit] of steps) if (flops >= size * 0.9995) return `${valueText(flops / size, 3)} ${unit}`;
  return `${valueText(flops, 3)} FLOP`;
}

/** A value of a config or recipe, on one line. */
export function jsonText(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '–');
}
