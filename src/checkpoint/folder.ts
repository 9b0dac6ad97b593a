/** Opening a folder of safetensors files. */
import { join } from 'node:path';
import { MoeError, grouped } from '../common/errors.ts';
import type { JsonObject } from '../common/json.ts';
import { shapeByRole, wantedTensors } from '../inspect/wanted.ts';
import { aliasesOf } from './aliases.ts';
import { assemble } from './assemble.ts';
import type { Assembled } from './assemble.ts';
import { classify } from './classify.ts';
import type { Contents } from './classify.ts';
import { assembleDcp, isDcp } from './dcp.ts';
import { freeBytes, pullHint } from './disk.ts';
import { PICKLE_HINT, listed, throwIfAborted, toProblem } from './errors.ts';
import { readConfigFile } from './json-file.ts';
import { forEachLimited } from './limited.ts';
import type { Entry } from './listing.ts';
import { missingFile, missingProblems, leftoverProblems } from './missing.ts';
import { planOnlyTensors } from './plan-only.ts';
import { selectFiles } from './select.ts';
import type { Selection } from './select.ts';
import { linkAsText, sidecarsOf } from './sidecars.ts';
import { filesOf } from './files-of.ts';
import type { Checkpoint, Problem } from './types.ts';
import { danglingProblem, readWeightFile, refusalOf } from './weight-file.ts';
import type { WeightFile } from './weight-file.ts';
import { append } from '../common/lists.ts';

/** Headers read at once: enough to hide the latency of a disk, few enough for memory. */
const CONCURRENCY = 8;

export interface FolderOptions {
  /** The path as the user gave it, absolute. */
  readonly path: string;
  /** An index that the user named. */
  readonly index?: string;
  /** Report a checkpoint of which nothing can be read instead of throwing. */
  readonly lenient: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly onHeader?: ((done: number, total: number) => void) | undefined;
}

/** Opens the safetensors checkpoint in a folder whose entries are given. */
export async function openFolder(
  folder: string,
  entries: readonly Entry[],
  options: FolderOptions,
): Promise<Checkpoint> {
  const contents = classify(entries);
  const config = await readConfig(folder, contents);
  const selection = await selectFiles(folder, contents, options.index);
  const { sidecars, problems: sidecarProblems } = await sidecarsOf(contents.others);
  const problems = [...config.problems, ...selection.problems];
  const base = {
    path: options.path,
    root: folder,
    format: 'hf' as const,
    config: config.value,
    configFloats: config.floats,
    gguf: null,
    index:
      selection.index === null
        ? null
        : {
            name: selection.index.name,
            weightMap: selection.index.parsed.weightMap,
            totalSize: selection.index.parsed.totalSize ?? null,
          },
    sidecars,
  };
  const present = new Map(contents.safetensors.map((entry) => [entry.name, entry]));
  if (
    !selection.main.some((name) => present.has(name)) &&
    contents.leftovers.length === 0 &&
    selection.unlisted.length === 0
  ) {
    if (config.value === null) throw noWeights(folder, contents, selection);
    if (contents.pickles.length > 0) throw pickleError(contents.pickles);
    const planned = planOnlyTensors(folder, config.value, selection.index);
    return {
      ...base,
      ...planned,
      aliases: new Map(),
      problems: [...problems, ...planned.problems, ...sidecarProblems],
      planOnly: true,
    };
  }
  const read = await readFiles(folder, selection, present, options);
  if (!options.lenient) throwIfUnreadable(read);
  const assembled = isDcp(read.main)
    ? dcp(read.main, config.value)
    : { ...assemble(selection, read.main, read.unlisted), pieces: undefined };
  const { tensors, files, pieces } = assembled;
  const missing = files.filter((file) => file.state === 'missing' && !present.has(file.name)).map((file) => file.name);
  for (const more of [
    await withFreeSpace(folder, assembled.problems),
    await missingProblems(folder, missing, contents.leftovers, (file) => tensorsListed(selection, file)),
    await leftoverProblems(folder, contents.leftovers, missing),
    ignored(contents),
    sidecarProblems,
  ])
    append(problems, more);
  // Half a million names are not kept twice.
  const index =
    assembled.indexAgrees === true && base.index !== null ? { ...base.index, weightMap: filesOf(tensors) } : base.index;
  return {
    ...base,
    index,
    tensors,
    aliases: aliasesOf(assembled.metadata, tensors),
    files,
    problems,
    planOnly: false,
    ...(pieces === undefined || pieces.size === 0 ? {} : { pieces }),
  };
}

interface ConfigRead {
  readonly value: JsonObject | null;
  readonly floats: readonly string[];
  readonly problems: readonly Problem[];
}

async function readConfig(folder: string, contents: Contents): Promise<ConfigRead> {
  const entry = contents.others.find(({ name }) => name === 'config.json');
  // A dead link is reported with the sidecars.
  if (entry === undefined || entry.kind === 'dangling') return { value: null, floats: [], problems: [] };
  try {
    const { config, floats, problems } = await readConfigFile(
      entry.kind === 'file' ? entry.real : join(folder, entry.name),
      entry.name,
    );
    return { value: config, floats, problems };
  } catch (error) {
    const problem = toProblem(error, entry.name);
    // Sidecars report pointers, config.json among them.
    return { value: null, floats: [], problems: problem.code === 'git-lfs-pointer' ? [] : [problem] };
  }
}

interface FilesRead {
  readonly main: readonly WeightFile[];
  readonly unlisted: readonly WeightFile[];
}

async function readFiles(
  folder: string,
  selection: Selection,
  present: ReadonlyMap<string, Entry>,
  { signal, onHeader }: FolderOptions,
): Promise<FilesRead> {
  const names = [...selection.main, ...selection.unlisted.map((entry) => entry.name)];
  const read = new Map<string, WeightFile>();
  await forEachLimited(names, CONCURRENCY, async (name) => {
    throwIfAborted(signal);
    const entry = present.get(name);
    read.set(name, entry === undefined ? missingFile(folder, name) : await readWeightFile(folder, entry));
    onHeader?.(read.size, names.length);
  });
  const get = (name: string): WeightFile => {
    const file = read.get(name) ?? missingFile(folder, name);
    const entry = present.get(name);
    return entry?.linkAsText === true && file.problem === undefined ? { ...file, problem: linkAsText(entry) } : file;
  };
  return { main: selection.main.map(get), unlisted: selection.unlisted.map((entry) => get(entry.name)) };
}

/** A single file that is refused, and nothing beside it: that is the answer, not a list with nothing in it. */
function throwIfUnreadable({ main, unlisted }: FilesRead): void {
  const [only] = main;
  const refusal = only === undefined ? null : refusalOf(only);
  if (main.length === 1 && unlisted.length === 0 && refusal !== null) throw refusal;
}

function dcp(
  main: readonly WeightFile[],
  config: JsonObject | null,
): Assembled & { readonly pieces: Checkpoint['pieces'] } {
  const wanted = config === null ? null : wantedTensors(config).tensors;
  const shapes = new Map(wanted?.map(({ name, shape }) => [name, shape]));
  const shapeOf = (name: string): readonly number[] | null =>
    shapes.get(name) ?? (config === null ? null : shapeByRole(name, config));
  const { tensors, pieces, problems } = assembleDcp(main, shapeOf);
  return {
    tensors,
    pieces,
    files: main.map(({ file }) => file),
    problems: [...main.flatMap(({ problem }) => problem ?? []), ...problems],
    metadata: new Map(),
  };
}

function tensorsListed(selection: Selection, file: string): number | null {
  if (selection.index === null) return null;
  let count = 0;
  for (const name of selection.index.parsed.weightMap.values()) if (name === file) count++;
  return count;
}

/** Several Git LFS pointers: what pulling them all needs, and what is free. */
async function withFreeSpace(folder: string, problems: readonly Problem[]): Promise<Problem[]> {
  const pointers = problems.filter((problem) => problem.code === 'git-lfs-pointer');
  if (pointers.length < 2) return [...problems];
  const needed = pointers.reduce((sum, { details }) => sum + sizeIn(details), 0);
  const free = await freeBytes(folder);
  return problems.map((problem) =>
    problem.code === 'git-lfs-pointer'
      ? {
          ...problem,
          hint: pullHint(needed, pointers.length, free),
          details: { ...problem.details, neededBytes: needed, freeBytes: free },
        }
      : problem,
  );
}

function sizeIn(details: Problem['details']): number {
  return typeof details?.['size'] === 'number' ? details['size'] : 0;
}

function ignored(contents: Contents): Problem[] {
  const problems: Problem[] = [];
  const say = (code: string, [one, many]: readonly [string, string], files: readonly Entry[]): void => {
    if (files.length === 0) return;
    problems.push({
      severity: 'info',
      code,
      file: files[0]?.name ?? '',
      message: `${files.length === 1 ? `1 ${one} is` : `${grouped(files.length)} ${many} are`} not read: ${listed(files.map((entry) => entry.name))}`,
    });
  };
  say(
    'pickle-ignored',
    ['pickle file beside the safetensors files', 'pickle files beside the safetensors files'],
    contents.pickles,
  );
  say('foreign-ignored', ['weight file of another format', 'weight files of other formats'], contents.foreign);
  say(
    'gguf-ignored',
    ['GGUF file beside the safetensors files', 'GGUF files beside the safetensors files'],
    contents.gguf,
  );
  return problems;
}

/** The error for a folder that has only pickles. */
export function pickleError(pickles: readonly Entry[]): MoeError {
  const names = pickles.map((entry) => entry.name);
  return new MoeError(
    'input',
    'pickle-refused',
    `The folder has only Python pickles as weights (${listed(names)}), which are not opened`,
    { file: names[0] ?? '', hint: PICKLE_HINT, details: { files: names.slice(0, 100) } },
  );
}

function noWeights(folder: string, contents: Contents, selection: Selection): MoeError {
  if (contents.pickles.length > 0) return pickleError(contents.pickles);
  const dead = contents.others.find((entry) => entry.kind === 'dangling');
  if (dead !== undefined) {
    const { code, message, hint } = danglingProblem(dead);
    return new MoeError('input', code, message, { file: dead.name, ...(hint === undefined ? {} : { hint }) });
  }
  if (selection.index !== null) {
    return new MoeError(
      'input',
      'no-weights',
      `${folder} has ${selection.index.name} but neither the files that it names nor a config.json`,
      { file: selection.index.name, hint: 'Fetch the weight files, or config.json to plan without them.' },
    );
  }
  const foreign = contents.foreign.map((entry) => entry.name);
  const inner = contents.folders.map((entry) => entry.name);
  const found =
    foreign.length > 0
      ? `; it has weights of a format that is not read: ${listed(foreign)}`
      : inner.length > 0
        ? `; it has the folders ${listed(inner)}`
        : '';
  return new MoeError(
    'input',
    'no-checkpoint',
    `${folder} holds no checkpoint (no .safetensors, .gguf or config.json)${found}`,
    {
      file: folder,
      hint: 'Name the folder that holds config.json and model.safetensors, or a .safetensors or .gguf file.',
    },
  );
}
