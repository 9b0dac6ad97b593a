/** Progress of a write or verify, at most ten times a second. */

export interface ProgressEvent {
  readonly phase: 'write' | 'verify' | 'revert';
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly tensorsDone: number;
  readonly tensorsTotal: number;
  /** File that was touched last. */
  readonly file: string;
  /** Null until there is something to judge by. */
  readonly bytesPerSecond: number | null;
  readonly etaSeconds: number | null;
}

export type ProgressListener = (event: ProgressEvent) => void;

const INTERVAL_MS = 100;
/** Weight of the newest interval in the smoothed speed. */
const SMOOTHING = 0.1;

export class Progress {
  private bytesDone = 0;
  private tensorsDone = 0;
  private file = '';
  private lastTime = performance.now();
  private lastBytes = 0;
  private speed: number | null = null;

  constructor(
    private readonly phase: ProgressEvent['phase'],
    private readonly bytesTotal: number,
    private readonly tensorsTotal: number,
    private readonly listener: ProgressListener | undefined,
  ) {}

  add(bytes: number, file: string): void {
    this.bytesDone += bytes;
    this.file = file;
    this.tick(false);
  }

  tensors(count: number): void {
    this.tensorsDone += count;
  }

  /** What an earlier run had done already: counts, but not towards the speed. */
  skip(bytes: number, tensors: number): void {
    this.bytesDone += bytes;
    this.lastBytes += bytes;
    this.tensorsDone += tensors;
  }

  /** Reports now, whatever the interval: at the end. */
  flush(): void {
    this.tick(true);
  }

  private tick(force: boolean): void {
    if (this.listener === undefined) return;
    const now = performance.now();
    const elapsed = now - this.lastTime;
    if (elapsed < INTERVAL_MS && !force) return;
    if (elapsed > 0) {
      const current = ((this.bytesDone - this.lastBytes) * 1000) / elapsed;
      this.speed = this.speed === null ? current : this.speed + SMOOTHING * (current - this.speed);
    }
    this.lastTime = now;
    this.lastBytes = this.bytesDone;
    const left = this.bytesTotal - this.bytesDone;
    this.listener({
      phase: this.phase,
      bytesDone: this.bytesDone,
      bytesTotal: this.bytesTotal,
      tensorsDone: this.tensorsDone,
      tensorsTotal: this.tensorsTotal,
      file: this.file,
      bytesPerSecond: this.speed,
      etaSeconds: this.speed === null || this.speed <= 0 ? null : left / this.speed,
    });
  }
}
