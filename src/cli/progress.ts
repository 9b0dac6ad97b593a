/** Progress on standard error: one line that redraws itself on a terminal, else a line every few seconds. */
import { durationText, shortBytes, visible } from '../report/text.ts';
import type { CliIo } from './io.ts';

/** What any long job tells; members that a job does not know are left out. */
export interface Step {
  /** Of `unit`, bytes unless it says otherwise. */
  readonly done: number;
  readonly total: number;
  readonly unit?: string;
  readonly bytesPerSecond?: number | null;
  readonly etaSeconds?: number | null;
  /** File or tensor touched last. */
  readonly at?: string;
}

const REDRAW_MS = 100;
const LINE_MS = 5000;

export class ProgressLine {
  private last: number;
  private drawn = false;

  constructor(
    private readonly io: CliIo,
    private readonly label: string,
    private readonly clock: () => number = () => performance.now(),
  ) {
    this.last = clock();
  }

  update(step: Step): void {
    const now = this.clock();
    if (now - this.last < (this.io.errIsTty ? REDRAW_MS : LINE_MS)) return;
    this.last = now;
    const line = progressText(this.label, step, this.io.errIsTty ? Math.max(40, this.io.columns) - 1 : Infinity);
    if (!this.io.errIsTty) {
      this.io.err(`${line}\n`);
      return;
    }
    this.drawn = true;
    this.io.err(`\r\u001b[2K${line}`);
  }

  /** Takes the line away, so that what follows starts clean. */
  end(): void {
    if (this.drawn) this.io.err('\r\u001b[2K');
    this.drawn = false;
  }
}

/** `Writing  42 %  4.0 of 9.5 GB  1.2 GB/s  5 s left  model-3.safetensors`, cut to `columns`. */
export function progressText(label: string, step: Step, columns: number): string {
  const share = step.total === 0 ? 1 : Math.min(1, step.done / step.total);
  const speed = step.bytesPerSecond;
  const eta = step.etaSeconds;
  const head = [
    `${label} ${String(Math.floor(share * 100)).padStart(3)} %`,
    step.unit === undefined
      ? `${shortBytes(step.done)} of ${shortBytes(step.total)}`
      : `${step.done} of ${step.total} ${step.unit}`,
    speed === undefined || speed === null ? null : `${shortBytes(Math.round(speed))}/s`,
    eta === undefined || eta === null || !Number.isFinite(eta) ? null : `${durationText(Math.max(0, eta))} left`,
  ]
    .filter((part) => part !== null)
    .join('  ');
  const room = columns - head.length - 2;
  const at = step.at === undefined ? '' : visible(step.at);
  if (at === '' || room < 8) return head.slice(0, Math.min(head.length, columns));
  return `${head}  ${at.length <= room ? at : `…${at.slice(at.length - room + 1)}`}`;
}
