/** Checkpoints opened lately, in this and other workspaces. */
import { Emitter } from './emitter.ts';

interface Memory {
  get(key: string): unknown;
  update(key: string, value: unknown): PromiseLike<void>;
}

const KEY = 'recentCheckpoints';
const KEPT = 15;

export class Recents {
  private readonly changed = new Emitter();
  readonly onDidChange = this.changed.event;

  constructor(private readonly memory: Memory) {}

  /** Absolute paths, latest first. */
  list(): string[] {
    const stored = this.memory.get(KEY);
    return Array.isArray(stored) ? stored.filter((path): path is string => typeof path === 'string') : [];
  }

  add(path: string): void {
    const before = this.list();
    if (before[0] === path) return;
    void this.save([path, ...before.filter((one) => one !== path)].slice(0, KEPT));
  }

  remove(path: string): void {
    void this.save(this.list().filter((one) => one !== path));
  }

  private async save(paths: string[]): Promise<void> {
    await this.memory.update(KEY, paths);
    this.changed.fire();
  }
}
