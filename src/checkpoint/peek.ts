/**
 * What a checkpoint seems to be, before any header is read: from a listing of the folder and config.json alone. For the first
 * moment of a view; what is true is told by `openCheckpoint`.
 */
import { stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { JsonObject } from '../common/json.ts';
import { isJsonObject } from '../common/json.ts';
import { classify } from './classify.ts';
import { chooseSnapshot, isHubModel } from './hub-cache.ts';
import { readConfigFile } from './json-file.ts';
import { listFolder } from './listing.ts';

export interface Peek {
  /** Weight files there, and their bytes on disk. */
  readonly files: number;
  readonly bytes: number;
  /** As config.json says, null where it does not. */
  readonly modelType: string | null;
  readonly layers: number | null;
  readonly hidden: number | null;
  readonly experts: number | null;
  readonly topK: number | null;
}

/** Null where nothing can be told quickly; never throws. */
export async function peekCheckpoint(path: string): Promise<Peek | null> {
  try {
    const target = resolve(path);
    const facts = await stat(target);
    if (facts.isDirectory()) return await peekFolder(target);
    if (/\.json$/i.test(target)) return await peekFolder(dirname(target));
    const config = await configIn(dirname(target));
    return { files: 1, bytes: facts.size, ...(/\.gguf$/i.test(target) ? NOTHING : config) };
  } catch {
    // Opening says what is wrong.
    return null;
  }
}

const NOTHING = { modelType: null, layers: null, hidden: null, experts: null, topK: null };

async function peekFolder(folder: string): Promise<Peek | null> {
  const entries = await listFolder(folder);
  if (isHubModel(folder, entries)) return peekFolder(await chooseSnapshot(folder));
  const { safetensors, gguf } = classify(entries);
  const files = (safetensors.length > 0 ? safetensors : gguf).filter(({ kind }) => kind === 'file');
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  return { files: files.length, bytes, ...(await configIn(folder)) };
}

async function configIn(folder: string): Promise<Omit<Peek, 'files' | 'bytes'>> {
  const path = join(folder, 'config.json');
  const read = await readConfigFile(path, basename(path)).catch(() => null);
  if (read === null) return NOTHING;
  const { config } = read;
  const inner = config['text_config'];
  const section = isJsonObject(inner) ? { ...config, ...inner } : config;
  const first = (...names: readonly string[]): number | null =>
    names.map((name) => positive(section, name)).find((value) => value !== null) ?? null;
  const type = config['model_type'];
  return {
    modelType: typeof type === 'string' ? type.slice(0, 100) : null,
    layers: first('num_hidden_layers', 'n_layer', 'num_layers'),
    hidden: first('hidden_size', 'n_embd', 'd_model'),
    experts: first('num_local_experts', 'num_experts', 'n_routed_experts'),
    topK: first('num_experts_per_tok', 'moe_topk', 'top_k'),
  };
}

function positive(section: JsonObject, name: string): number | null {
  const value = section[name];
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : null;
}
