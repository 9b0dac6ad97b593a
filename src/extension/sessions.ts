/** All open checkpoints of the window, shared by path, and which of them is looked at. No vscode here. */
import { resolve } from 'node:path';
import type { ViewerPlace } from '../protocol/viewer.ts';
import { CheckpointSession } from './checkpoint-session.ts';
import type { SessionOptions } from './checkpoint-session.ts';
import { Emitter } from './emitter.ts';

/** A tab that is moved closes and opens again: its checkpoint stays open that long. */
const GRACE_MS = 5000;

export interface SessionRef {
  readonly session: CheckpointSession;
  dispose(): void;
}

/** A viewer, as the sidebar sees it. */
export interface ActiveViewer {
  readonly session: CheckpointSession;
  readonly reveal: (place: ViewerPlace) => void;
}

export class CheckpointSessions {
  private readonly open = new Map<string, { readonly session: CheckpointSession; uses: number }>();
  private readonly closing = new Map<string, ReturnType<typeof setTimeout>>();
  private viewer: ActiveViewer | null = null;
  private following: { dispose(): void }[] = [];
  private readonly activeChanged = new Emitter();
  private readonly metricsChanged = new Emitter();
  private readonly anyChanged = new Emitter<CheckpointSession>();

  /** Another checkpoint is looked at, or what is known of it changed. */
  readonly onDidChangeActive = this.activeChanged.event;
  /** Metrics of the active checkpoint's experts have come. */
  readonly onDidChangeMetrics = this.metricsChanged.event;
  /** Any open checkpoint was read, or closed. */
  readonly onDidChangeAny = this.anyChanged.event;

  constructor(private readonly options: SessionOptions & { readonly graceMs?: number }) {}

  acquire(path: string): SessionRef {
    const key = resolve(path);
    const timer = this.closing.get(key);
    if (timer !== undefined) clearTimeout(timer);
    this.closing.delete(key);
    let known = this.open.get(key);
    if (known === undefined) {
      const session = new CheckpointSession(key, this.options);
      session.onDidChange(() => {
        this.anyChanged.fire(session);
      });
      known = { session, uses: 0 };
      this.open.set(key, known);
    }
    const entry = known;
    entry.uses++;
    let released = false;
    return {
      session: entry.session,
      dispose: () => {
        if (released) return;
        released = true;
        entry.uses--;
        if (entry.uses > 0) return;
        const closing = setTimeout(() => {
          this.closing.delete(key);
          if (this.open.get(key) === entry) this.open.delete(key);
          if (this.viewer?.session === entry.session) this.setActive(null);
          entry.session.dispose();
        }, this.options.graceMs ?? GRACE_MS);
        closing.unref();
        this.closing.set(key, closing);
      },
    };
  }

  all(): readonly CheckpointSession[] {
    return [...this.open.values()].map(({ session }) => session);
  }

  get(path: string): CheckpointSession | null {
    return this.open.get(resolve(path))?.session ?? null;
  }

  get active(): ActiveViewer | null {
    return this.viewer;
  }

  setActive(viewer: ActiveViewer | null): void {
    if (this.viewer === viewer) return;
    for (const one of this.following) one.dispose();
    this.viewer = viewer;
    this.following =
      viewer === null
        ? []
        : [
            viewer.session.onDidChange(() => {
              this.activeChanged.fire();
            }),
            viewer.session.onDidChangeMetrics(() => {
              this.metricsChanged.fire();
            }),
          ];
    this.activeChanged.fire();
  }

  /** The viewer closed: the sidebar keeps nothing of it. */
  closed(viewer: ActiveViewer): void {
    if (this.viewer === viewer) this.setActive(null);
  }

  dispose(): void {
    for (const timer of this.closing.values()) clearTimeout(timer);
    for (const one of this.following) one.dispose();
    for (const { session } of this.open.values()) session.dispose();
    this.open.clear();
  }
}
