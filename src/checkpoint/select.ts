/** Which weight files of a folder make up the checkpoint, decided as transformers decides it, and what speaks against it. */
import { join } from 'node:path';
import { readIndex } from 'safetensors-js';
import type { SafetensorsIndex } from 'safetensors-js';
import { isSideWeights, shardFile, shardName } from './classify.ts';
import type { Contents, ShardName } from './classify.ts';
import { listed, toMoeError, toProblem } from './errors.ts';
import type { Entry } from './listing.ts';
import type { Problem } from './types.ts';

export interface Selection {
  readonly index: { readonly name: string; readonly parsed: SafetensorsIndex } | null;
  /** Names of the files that make up the checkpoint, in reading order; some may not exist. */
  readonly main: readonly string[];
  /** Files beside them that may hold tensors which belong to it. */
  readonly unlisted: readonly Entry[];
  readonly problems: readonly Problem[];
}

const DEFAULT_INDEX = 'model.safetensors.index.json';
const SINGLE = 'model.safetensors';

/**
 * `wantedIndex`: the index that the user named; unreadable, it is thrown. Otherwise model.safetensors is read first, then
 * the index, then a series of shards, then whatever there is.
 */
export async function selectFiles(folder: string, contents: Contents, wantedIndex?: string): Promise<Selection> {
  const problems: Problem[] = [];
  const single = contents.safetensors.find((entry) => entry.name === SINGLE);
  const chosen = chooseIndex(contents, wantedIndex, problems);
  let index: Selection['index'] = null;
  if (chosen !== undefined) {
    try {
      index = { name: chosen, parsed: await readIndex(join(folder, chosen)) };
    } catch (error) {
      if (wantedIndex !== undefined) throw toMoeError(error, chosen);
      problems.push(toProblem(error, chosen));
    }
  }
  if (index !== null) reportIndex(index, problems);
  const viaIndex =
    index !== null && (single === undefined || wantedIndex !== undefined || index.parsed.files.includes(SINGLE));
  if (index !== null && viaIndex) {
    return withUnlisted(index, index.parsed.files, contents, problems);
  }
  if (index !== null) {
    problems.push({
      severity: 'warning',
      code: 'two-checkpoints',
      file: SINGLE,
      message: `The folder holds ${SINGLE} and ${index.name}, which lists other files; loaders take ${SINGLE}, and so it is shown here`,
      hint: `Remove the one that is not wanted, or open ${index.name} to see the other.`,
    });
  }
  if (single !== undefined) return withUnlisted(null, [SINGLE], contents, problems);
  return withUnlisted(null, withoutIndex(contents, chosen !== undefined, problems), contents, problems);
}

function chooseIndex(contents: Contents, wanted: string | undefined, problems: Problem[]): string | undefined {
  if (wanted !== undefined) return wanted;
  const names = contents.indexes.map((entry) => entry.name);
  const chosen = names.includes(DEFAULT_INDEX) ? DEFAULT_INDEX : names[0];
  if (chosen !== undefined && names.length > 1) {
    problems.push({
      severity: 'warning',
      code: 'several-indexes',
      file: chosen,
      message: `The folder holds ${String(names.length)} indexes (${listed(names)}); ${chosen} is read`,
      hint: 'Open another one by its own path.',
    });
  }
  return chosen;
}

function reportIndex({ name, parsed }: NonNullable<Selection['index']>, problems: Problem[]): void {
  if (parsed.duplicateCount > 0) {
    problems.push({
      severity: 'error',
      code: 'index-duplicate-entry',
      file: name,
      message: `${name} lists ${String(parsed.duplicateCount)} tensor(s) twice: ${listed(parsed.duplicates.map((d) => d.name))}`,
      hint: 'Rebuild the index from the files.',
      details: { duplicates: parsed.duplicates.slice(0, 100) },
    });
  }
}

/** Files of a folder without a usable index. */
function withoutIndex(contents: Contents, hadIndex: boolean, problems: Problem[]): string[] {
  const usual = contents.safetensors.filter((entry) => !isSideWeights(entry.name));
  const files = usual.length > 0 ? usual : contents.safetensors;
  const series = new Map<string, ShardName[]>();
  for (const source of [...files, ...contents.leftovers]) {
    const shard = shardName(source.name.replace(/(\.safetensors).*$/i, '$1'));
    if (shard === null) continue;
    const key = `${shard.stem}/${String(shard.of)}`;
    series.set(key, [...(series.get(key) ?? []), shard]);
  }
  const keys = [...series.keys()];
  const key = keys.find((name) => name.startsWith('model/')) ?? keys[0];
  const first = key === undefined ? undefined : series.get(key)?.[0];
  // A shard count that could only come from a hostile name is not expanded.
  if (first !== undefined && first.of <= 10_000 && !first.stem.startsWith('shard-')) {
    if (!hadIndex) problems.push(missingIndex(first));
    return Array.from({ length: first.of }, (_, i) => shardFile(first, i + 1));
  }
  if (files.length > 1 && first === undefined && !hadIndex) problems.push(missingIndex(null));
  return files.map((entry) => entry.name);
}

function missingIndex(shard: ShardName | null): Problem {
  const what = shard === null ? 'Several weight files' : `${String(shard.of)} shards`;
  return {
    severity: 'error',
    code: 'missing-index',
    message: `${what} lie here without ${DEFAULT_INDEX}; loaders look for it`,
    hint: 'Rebuild the index from the files.',
  };
}

function withUnlisted(
  index: Selection['index'],
  main: readonly string[],
  contents: Contents,
  problems: readonly Problem[],
): Selection {
  const chosen = new Set(main);
  const unlisted = contents.safetensors.filter((entry) => !chosen.has(entry.name));
  return { index, main, unlisted, problems };
}
