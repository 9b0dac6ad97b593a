/** Watches the folders of a checkpoint, wherever they lie (also outside the workspace). No vscode here. */
import { watch } from 'node:fs';
import type { FSWatcher } from 'node:fs';

/** More folders than this are not watched one by one. */
const MAX_FOLDERS = 64;

/** Calls `changed` once things have been quiet for `quietMs` after a change. */
export function watchFolders(
  folders: readonly string[],
  changed: () => void,
  options: { readonly quietMs?: number; readonly log?: (message: string) => void } = {},
): { dispose(): void } {
  const { quietMs = 400, log = () => undefined } = options;
  let timer: ReturnType<typeof setTimeout> | null = null;
  const touch = (): void => {
    if (timer !== null) clearTimeout(timer);
    timer = setTimeout(changed, quietMs);
  };
  const watchers: FSWatcher[] = [];
  for (const folder of folders.slice(0, MAX_FOLDERS)) {
    try {
      const watcher = watch(folder, { persistent: false }, touch);
      watcher.on('error', (error) => {
        log(`${folder} is no longer watched: ${error.message}`);
      });
      watchers.push(watcher);
    } catch (error) {
      // No watches left, or a file system without any: Refresh still works.
      log(`${folder} cannot be watched: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return {
    dispose: () => {
      if (timer !== null) clearTimeout(timer);
      for (const watcher of watchers) watcher.close();
    },
  };
}
