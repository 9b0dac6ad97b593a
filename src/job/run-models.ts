/** Models for a job: opened in a process of their own, which ends with the job and is killed when that is cancelled. */
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { MoeError, messageOf } from '../common/errors.ts';
import { writeWhole } from '../common/write-whole.ts';
import { cacheFolder } from '../infer/cache-folder.ts';
import { InferProcess } from '../infer/client.ts';
import type { RemoteModel } from '../infer/client.ts';
import { chooseDevice } from '../infer/devices.ts';
import { inferEntry } from '../infer/entry.ts';
import type { DeviceChoice, JobProgress } from '../protocol/jobs.ts';
import { stage } from './context.ts';
import type { JobContext } from './context.ts';

export interface OpenedModels {
  readonly models: readonly RemoteModel[];
  readonly device: Exclude<DeviceChoice, 'auto'>;
  /** Another device is used than was asked for: says so, and why. */
  readonly note: string | null;
}

/** Opens the checkpoints at `paths`, runs `use` with them, and ends their process. */
export async function withModels<T>(
  paths: readonly string[],
  device: DeviceChoice,
  context: JobContext,
  use: (opened: OpenedModels) => Promise<T>,
): Promise<T> {
  const { device: wanted, note } = await chooseDevice(device, { entry: inferEntry(), signal: context.signal });
  if (note !== null) context.log('warning', note);
  const child = new InferProcess({ entry: inferEntry(), signal: context.signal });
  try {
    const models: RemoteModel[] = [];
    try {
      for (const path of paths) models.push(await openModel(child, path, wanted, context));
    } catch (error) {
      if (wanted === 'cpu' || (error instanceof MoeError && error.kind === 'cancelled')) throw error;
      const why = `"${wanted}" cannot run this model (${messageOf(error)}): the CPU is used`;
      context.log('warning', why);
      return await withModels(paths, 'cpu', context, (opened) => use({ ...opened, note: why }));
    }
    return await use({ models, device: wanted, note });
  } finally {
    await child.close();
  }
}

async function openModel(
  child: InferProcess,
  path: string,
  device: OpenedModels['device'],
  context: JobContext,
): Promise<RemoteModel> {
  stage(context, 'prepare', path);
  const model = await child.open(path, {
    cacheFolder: cacheFolder(process.env),
    weights: 'stored',
    device,
    onProgress: ({ done, total }) => {
      context.progress(counted('prepare', done, total, path));
    },
  });
  for (const note of model.facts.notes) context.log('info', `${path}: ${note}`);
  return model;
}

/** Progress of something that is counted, whatever its unit. */
export function counted(phase: JobProgress['phase'], done: number, total: number, at: string): JobProgress {
  return {
    phase,
    bytesDone: done,
    bytesTotal: total,
    tensorsDone: 0,
    tensorsTotal: 0,
    at,
    bytesPerSecond: null,
    etaSeconds: null,
  };
}

/** Writes a results file. Throws MoeError `results-not-written`. */
export async function writeResults(file: string, text: string): Promise<void> {
  try {
    await mkdir(dirname(file), { recursive: true });
    await writeWhole(file, text);
  } catch (error) {
    throw new MoeError(
      'resources',
      'results-not-written',
      `The results cannot be written: ${messageOf(error)}`,
      { file, hint: 'Is the disk full, or the folder not to be written to?' },
      { cause: error },
    );
  }
}
