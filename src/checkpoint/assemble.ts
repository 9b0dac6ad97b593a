/** Puts the files of a folder together: every tensor once, the index and the headers held against each other both ways. */
import { isSideWeights, shardName } from './classify.ts';
import { MAX_NAMES, listed, namesDetail } from './errors.ts';
import type { Selection } from './select.ts';
import type { CheckpointFile, Problem, SourceTensor } from './types.ts';
import type { WeightFile } from './weight-file.ts';
import { grouped } from '../common/errors.ts';
import { counted } from '../common/words.ts';
import { append } from '../common/lists.ts';

export interface Assembled {
  readonly tensors: Map<string, SourceTensor>;
  readonly files: readonly CheckpointFile[];
  readonly problems: readonly Problem[];
  readonly metadata: ReadonlyMap<string, string>;
  /** The index says of every tensor just what the headers say. */
  readonly indexAgrees?: boolean;
}

/**
 * `main`: the files that make up the checkpoint, in reading order. `unlisted`: files beside it; their tensors join where
 * they are not there yet and the file is no alternative copy.
 */
export function assemble(
  selection: Selection,
  main: readonly WeightFile[],
  unlisted: readonly WeightFile[],
): Assembled {
  const tensors = new Map<string, SourceTensor>();
  const problems: Problem[] = [];
  const metadata = new Map<string, string>();
  const duplicates = new Duplicates();
  let count = 0;
  // Half a million look-ups are saved by judging by the size afterwards: duplicates are the exception.
  for (const read of main) {
    for (const tensor of read.tensors) tensors.set(tensor.name, tensor);
    count += read.tensors.length;
  }
  if (tensors.size < count) keepFirst(main, tensors, duplicates);
  for (const read of main) {
    mergeMetadata(metadata, read.metadata);
    if (read.problem !== undefined) problems.push(read.problem);
  }
  const files = main.map((read) => read.file);
  for (const read of unlisted) {
    const joined = joinUnlisted(read, tensors, selection.index?.name ?? null, main, duplicates, problems);
    if (!joined) continue;
    files.push(read.file);
    mergeMetadata(metadata, read.metadata);
  }
  append(problems, duplicates.problems(tensors));
  const indexAgrees = selection.index !== null && checkIndex(selection.index, tensors, main, duplicates, problems);
  return { tensors, files, problems, metadata, indexAgrees };
}

/** Where a name lies in several files the first one holds. */
function keepFirst(main: readonly WeightFile[], tensors: Map<string, SourceTensor>, duplicates: Duplicates): void {
  tensors.clear();
  for (const read of main) {
    for (const tensor of read.tensors) {
      if (tensors.has(tensor.name)) duplicates.add(tensor.name, tensor.file);
      else tensors.set(tensor.name, tensor);
    }
  }
}

function mergeMetadata(into: Map<string, string>, from: ReadonlyMap<string, string>): void {
  // Aliases are few; a header full of metadata is not carried along.
  if (from.size > MAX_NAMES) return;
  for (const [key, value] of from) if (!into.has(key)) into.set(key, value);
}

/** Decides what an unlisted file is; true where its tensors joined the checkpoint. */
function joinUnlisted(
  read: WeightFile,
  tensors: Map<string, SourceTensor>,
  index: string | null,
  main: readonly WeightFile[],
  duplicates: Duplicates,
  problems: Problem[],
): boolean {
  const { name } = read.file;
  const fresh = read.tensors.filter((tensor) => !tensors.has(tensor.name));
  if (read.problem !== undefined && read.tensors.length === 0) {
    problems.push(read.problem);
    return sameSeries(name, main);
  }
  const copy = fresh.length < read.tensors.length && !sameSeries(name, main);
  if (read.tensors.length === 0 || copy || index === null || isSideWeights(name)) {
    problems.push({
      severity: 'info',
      code: 'unlisted-file',
      file: name,
      message:
        `${name} (${grouped(read.tensors.length)} tensors) is not part of the checkpoint that loaders take from this folder` +
        (copy ? ': it repeats tensors of it' : ''),
      hint: 'Open it by its own path to see it.',
    });
    return false;
  }
  for (const tensor of read.tensors) {
    if (tensors.has(tensor.name)) duplicates.add(tensor.name, tensor.file);
    else tensors.set(tensor.name, tensor);
  }
  const names = fresh.map((tensor) => tensor.name);
  problems.push({
    severity: 'error',
    code: 'unlisted-file',
    file: name,
    message:
      `${name} is not in ${index}: its ${grouped(names.length)} tensors (${listed(names)}) ` +
      'would be left at random values by a loader that follows the index',
    hint: 'Rebuild the index from the files.',
    details: namesDetail(names),
  });
  if (read.problem !== undefined) problems.push(read.problem);
  return true;
}

/** Is the name of the same series of shards as the listed files? */
function sameSeries(name: string, main: readonly WeightFile[]): boolean {
  const shard = shardName(name);
  if (shard === null) return false;
  return main.some(({ file }) => {
    const other = shardName(file.name);
    return other !== null && other.stem === shard.stem && other.of === shard.of;
  });
}

class Duplicates {
  private readonly byName = new Map<string, string[]>();

  add(name: string, file: string): void {
    const files = this.byName.get(name);
    if (files === undefined) this.byName.set(name, [file]);
    else files.push(file);
  }

  has(name: string, file: string): boolean {
    return this.byName.get(name)?.includes(file) ?? false;
  }

  problems(tensors: ReadonlyMap<string, SourceTensor>): Problem[] {
    const names = [...this.byName.keys()];
    const [first] = names;
    if (first === undefined) return [];
    const kept = tensors.get(first)?.file ?? '';
    return [
      {
        severity: 'error',
        code: 'duplicate-tensor',
        tensor: first,
        file: this.byName.get(first)?.[0] ?? kept,
        message:
          `${counted(names.length, 'tensor lies', 'tensors lie')} in more than one file (${listed(names)}); ` +
          `${first} is taken from ${kept}, and also lies in ${listed(this.byName.get(first) ?? [])}`,
        hint: 'Which copy holds is ambiguous: remove the wrong file, or rebuild the index.',
        details: namesDetail(names),
      },
    ];
  }
}

function checkIndex(
  index: NonNullable<Selection['index']>,
  tensors: ReadonlyMap<string, SourceTensor>,
  main: readonly WeightFile[],
  duplicates: Duplicates,
  problems: Problem[],
): boolean {
  const { weightMap } = index.parsed;
  const states = new Map(main.map(({ file }) => [file.name, file.state]));
  const absent: string[] = [];
  const elsewhere: string[] = [];
  const lost = new Map<string, string[]>();
  let place = '';
  let found = 0;
  let right = 0;
  for (const [name, file] of weightMap) {
    const tensor = tensors.get(name);
    if (tensor !== undefined) found++;
    if (tensor?.file === file) {
      right++;
      continue;
    }
    if (tensor !== undefined && duplicates.has(name, file)) continue;
    if (states.get(file) !== 'ok') {
      const names = lost.get(file);
      if (names === undefined) lost.set(file, [name]);
      else names.push(name);
    } else if (tensor === undefined) absent.push(name);
    else {
      if (elsewhere.length === 0) place = `the index says ${file}, but it lies in ${tensor.file}`;
      elsewhere.push(name);
    }
  }
  if (absent.length > 0) {
    problems.push({
      severity: 'error',
      code: 'index-tensor-missing',
      file: weightMap.get(absent[0] ?? '') ?? index.name,
      tensor: absent[0] ?? '',
      message: `${counted(absent.length, 'tensor', 'tensors')} of ${index.name} ${absent.length === 1 ? 'is' : 'are'} not in the file that it names: ${listed(absent)}`,
      hint: 'Fetch the file again, or rebuild the index from the files.',
      details: namesDetail(absent),
    });
  }
  if (elsewhere.length > 0) {
    problems.push({
      severity: 'error',
      code: 'index-wrong-file',
      file: index.name,
      tensor: elsewhere[0] ?? '',
      message: `${counted(elsewhere.length, 'tensor lies', 'tensors lie')} in another file than ${index.name} says: ${listed(elsewhere)}; of the first ${place}`,
      hint: 'Rebuild the index from the files.',
      details: namesDetail(elsewhere),
    });
  }
  for (const [file, names] of lost) {
    problems.push({
      severity: 'error',
      code: 'tensors-unreadable',
      file,
      message: `${counted(names.length, 'tensor', 'tensors')} that ${index.name} places in ${file} cannot be read: ${listed(names)}`,
      details: namesDetail(names),
    });
  }
  if (found < tensors.size) checkUnlistedTensors(index.name, weightMap, states, tensors, problems);
  checkTotalSize(index, tensors, states, problems);
  return right === tensors.size && right === weightMap.size;
}

/** Tensors in a listed file that the index does not mention. */
function checkUnlistedTensors(
  indexName: string,
  weightMap: ReadonlyMap<string, string>,
  states: ReadonlyMap<string, unknown>,
  tensors: ReadonlyMap<string, SourceTensor>,
  problems: Problem[],
): void {
  const names: string[] = [];
  for (const { name, file } of tensors.values()) if (states.has(file) && !weightMap.has(name)) names.push(name);
  if (names.length === 0) return;
  problems.push({
    severity: 'error',
    code: 'unlisted-tensors',
    file: tensors.get(names[0] ?? '')?.file ?? indexName,
    tensor: names[0] ?? '',
    message: `${counted(names.length, 'tensor lies', 'tensors lie')} in the files but not in ${indexName}: ${listed(names)}`,
    hint: 'Rebuild the index from the files.',
    details: namesDetail(names),
  });
}

function checkTotalSize(
  index: NonNullable<Selection['index']>,
  tensors: ReadonlyMap<string, SourceTensor>,
  states: ReadonlyMap<string, CheckpointFile['state']>,
  problems: Problem[],
): void {
  const { totalSize } = index.parsed;
  if (totalSize === undefined || [...states.values()].some((state) => state !== 'ok')) return;
  let bytes = 0;
  for (const tensor of tensors.values()) bytes += tensor.bytes;
  if (bytes === totalSize) return;
  problems.push({
    severity: 'warning',
    code: 'index-total-size',
    file: index.name,
    message: `${index.name} gives total_size ${grouped(totalSize)}, but the tensors have ${grouped(bytes)} bytes`,
    hint: 'Rebuild the index from the files.',
    details: { totalSize, bytes },
  });
}
