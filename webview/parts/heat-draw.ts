/** Draws the cells of a heat map on its canvas. */
import { numberText } from '../lib/format.ts';
import { inkOn, mix, place } from '../lib/scale.ts';
import type { Rgb } from '../lib/scale.ts';
import { colourOf, cssOf, isHighContrast } from './theme.ts';

/** A sign drawn in a cell beside its colour. */
export type CellMark = '' | '×' | '=' | '!' | '◆';

export interface HeatData {
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  /** Row by row; NaN: no value. */
  readonly values: ArrayLike<number>;
  readonly min: number;
  readonly max: number;
  /** What is said of a cell. */
  readonly describe: (row: number, column: number) => string;
  readonly mark?: (row: number, column: number) => CellMark;
}

const COLD: Rgb = [36, 70, 110];
const HOT: Rgb = [240, 160, 48];

/** Cells of `w` × `h` pixels in the colours of the theme of `element`; `ratio` device pixels to one. */
export function drawCells(
  context: CanvasRenderingContext2D,
  data: HeatData,
  { w, h, ratio }: { readonly w: number; readonly h: number; readonly ratio: number },
  element: Element,
): void {
  context.scale(ratio, ratio);
  const cold = colourOf(element, '--moe-cold', COLD);
  const hot = colourOf(element, '--moe-hot', HOT);
  const surface = colourOf(element, '--vscode-editor-background', [30, 30, 30]);
  const line = colourOf(element, '--vscode-foreground', [200, 200, 200]);
  const gap = w >= 6 && h >= 6 ? 1 : 0;
  const contrast = isHighContrast() && gap > 0;
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  const digits = w >= 44 && h >= 15;
  for (let row = 0; row < data.rows.length; row++)
    for (let column = 0; column < data.columns.length; column++) {
      const value = data.values[row * data.columns.length + column] ?? NaN;
      const share = place(value, data.min, data.max);
      const x = column * w;
      const y = row * h;
      const fill = share === null ? null : mix(cold, hot, share);
      if (fill !== null) {
        context.fillStyle = cssOf(fill);
        context.fillRect(x, y, w - gap, h - gap);
      } else {
        // No value: an empty cell with a stroke through it, whatever the theme.
        context.strokeStyle = cssOf(mix(surface, line, 0.35));
        context.lineWidth = 1;
        context.beginPath();
        context.moveTo(x + 1, y + h - gap - 1);
        context.lineTo(x + w - gap - 1, y + 1);
        context.stroke();
      }
      if (contrast) {
        context.strokeStyle = cssOf(line);
        context.lineWidth = 0.5;
        context.strokeRect(x + 0.5, y + 0.5, w - gap - 1, h - gap - 1);
      }
      const mark = data.mark?.(row, column) ?? '';
      if (mark === '' && !digits) continue;
      context.fillStyle = cssOf(fill === null ? line : inkOn(fill));
      if (mark !== '' && w >= 7) {
        context.font = `bold ${String(Math.min(14, Math.max(9, Math.min(w, h) - 3)))}px sans-serif`;
        context.fillText(mark, digits ? x + 8 : x + (w - gap) / 2, y + (h - gap) / 2 + 0.5);
      }
      if (digits && fill !== null) {
        context.font = '10px sans-serif';
        context.fillText(numberText(value, 3), x + (w - gap) / 2 + (mark === '' ? 0 : 6), y + (h - gap) / 2 + 0.5);
      }
    }
}

/** Labels that do not touch: every one, or every second, fifth, tenth … */
export function ticks(labels: readonly string[], size: number, room: number): [number, string][] {
  const longest = labels.reduce((most, label) => Math.max(most, label.length), 1);
  const need = room === 13 ? room : Math.max(room, longest * 6.6 + 6);
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((each) => each * size >= need) ?? 5000;
  return labels.flatMap((label, at): [number, string][] => (at % step === 0 ? [[at, label]] : []));
}
