/** Where checkpoints lie: folders of a workspace from a list of files, and the hub's cache. Reads names only. No vscode here. */
import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { homedir } from 'node:os';
import { naturalCompare } from '../view/natural.ts';
import { append } from '../common/lists.ts';

export interface FoundCheckpoint {
  /** What is opened: a folder, or a lone file. */
  readonly path: string;
  readonly name: string;
  readonly files: number;
}

/** A job's working folder (src/write/place.ts): half a checkpoint, and nobody's to open. */
const WORKING = /(?:^|[\\/])\.[^\\/]+\.moe-partial-[^\\/]+[\\/]/;

const SHARD = /^(.*?)-\d{5}-of-\d{5}\.(safetensors|gguf)$/i;

/**
 * Groups weight files into checkpoints. A folder with a config, an index or shards is one checkpoint; other files (several
 * .gguf of one model, adapters) are one each. Working folders of running and interrupted jobs are left out.
 */
export function groupFiles(paths: readonly string[]): FoundCheckpoint[] {
  const folders = new Map<string, string[]>();
  for (const path of paths) {
    if (WORKING.test(path)) continue;
    const folder = dirname(path);
    const list = folders.get(folder);
    if (list === undefined) folders.set(folder, [path]);
    else list.push(path);
  }
  const found: FoundCheckpoint[] = [];
  for (const [folder, files] of folders) {
    const names = files.map((file) => basename(file));
    const tensors = files.filter((file) => /\.safetensors$/i.test(file));
    const whole = names.some((name) => /\.safetensors\.index\.json$/i.test(name) || name === 'config.json');
    if (whole) found.push({ path: folder, name: basename(folder), files: Math.max(1, tensors.length) });
    else for (const file of tensors) found.push({ path: file, name: basename(file), files: 1 });
    append(found, ggufs(files));
  }
  return found.sort((a, b) => naturalCompare(a.path, b.path));
}

/** Split GGUFs are one checkpoint, named by their first part. */
function ggufs(files: readonly string[]): FoundCheckpoint[] {
  const parts = new Map<string, string[]>();
  for (const file of files) {
    if (!/\.gguf$/i.test(file)) continue;
    const key = SHARD.exec(basename(file))?.[1] ?? basename(file);
    parts.set(key, [...(parts.get(key) ?? []), file]);
  }
  return [...parts.values()].map((list) => {
    const [first = ''] = list.sort(naturalCompare);
    return { path: first, name: basename(first), files: list.length };
  });
}

/** The hub's cache as its own tools find it. */
export function hubCacheFolder(
  configured: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
): string {
  if (configured !== '') return configured.replace(/^~(?=$|[\\/])/, homedir());
  const home = env['HF_HOME'] ?? join(env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'huggingface');
  return env['HF_HUB_CACHE'] ?? env['HUGGINGFACE_HUB_CACHE'] ?? join(home, 'hub');
}

/** Models of a hub cache that have weights of a format that is read. Looks at the newest snapshot's names; never writes. */
export async function hubModels(cache: string, limit = 500): Promise<FoundCheckpoint[]> {
  const names = await readdir(cache).catch(() => []);
  const found: FoundCheckpoint[] = [];
  for (const name of names.filter((one) => one.startsWith('models--')).slice(0, limit)) {
    const folder = join(cache, name);
    const snapshots = await readdir(join(folder, 'snapshots')).catch(() => []);
    for (const snapshot of snapshots) {
      const files = await readdir(join(folder, 'snapshots', snapshot)).catch(() => []);
      const weights = files.filter((file) => /\.(?:safetensors|gguf)$/i.test(file));
      const index = files.some((file) => /\.safetensors\.index\.json$/i.test(file));
      if (weights.length === 0 && !index) continue;
      found.push({
        path: folder,
        name: name.slice('models--'.length).replaceAll('--', '/'),
        files: Math.max(1, weights.length),
      });
      break;
    }
  }
  return found.sort((a, b) => naturalCompare(a.name, b.name));
}
