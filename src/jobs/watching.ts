/** Looks at a file again and again, and promptly where the system can tell. */
import { watch } from 'node:fs';
import type { FSWatcher } from 'node:fs';

export class FolderWatcher {
  private timer: ReturnType<typeof setInterval> | null = null;
  private watcher: FSWatcher | null = null;

  /** `look` is called every `pollMs`, and when `name` in `folder` changes. */
  constructor(
    private readonly folder: string,
    private readonly name: string,
    private readonly pollMs: number,
    private readonly look: () => void,
  ) {}

  start(): void {
    if (this.timer !== null) return;
    this.timer = setInterval(this.look, this.pollMs);
    this.timer.unref();
    try {
      // Polling is the measure; watching only makes it prompt where the system can.
      this.watcher = watch(this.folder, { persistent: false }, (_, name) => {
        if (name === null || name === this.name) this.look();
      });
      this.watcher.on('error', () => {
        this.watcher?.close();
        this.watcher = null;
      });
    } catch {
      this.watcher = null;
    }
  }

  stop(): void {
    if (this.timer !== null) clearInterval(this.timer);
    this.timer = null;
    this.watcher?.close();
    this.watcher = null;
  }
}
