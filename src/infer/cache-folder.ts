/** Where dequantised weights are kept. */
import { homedir } from 'node:os';
import { join } from 'node:path';

export type Environment = Readonly<Record<string, string | undefined>>;

/** MOE_CACHE, else the platform's own place for caches. What lies there may be deleted at any time. */
export function cacheFolder(
  env: Environment,
  platform: NodeJS.Platform = process.platform,
  home: string = homedir(),
): string {
  const set = (name: string): string | undefined => (env[name] === '' ? undefined : env[name]);
  const own = set('MOE_CACHE');
  if (own !== undefined) return own;
  if (platform === 'win32')
    return join(set('LOCALAPPDATA') ?? join(home, 'AppData', 'Local'), 'moe-workbench', 'cache');
  if (platform === 'darwin') return join(home, 'Library', 'Caches', 'moe-workbench');
  return join(set('XDG_CACHE_HOME') ?? join(home, '.cache'), 'moe-workbench');
}
