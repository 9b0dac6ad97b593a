/** Models for commands: opened in a process of their own, which ends with the command. */
import { resolve } from 'node:path';
import type { Checkpoint } from '../checkpoint/types.ts';
import type { Device } from '../devices/devices.ts';
import type { GateRunner } from '../gates/types.ts';
import type { InferProcess, RemoteModel } from '../infer/client.ts';
import { usageError } from './command.ts';
import type { Context, OptionSpec } from './command.ts';
import { ProgressLine } from './progress.ts';
import { wholeOption } from './values.ts';

export const RUN_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  device: {
    type: 'string',
    value: 'NAME',
    help: 'auto, cpu, cuda, dml, coreml or webgpu (moe devices lists what works); auto: CUDA where it is installed, else the CPU',
  },
  threads: { type: 'string', value: 'N', help: 'threads of the runtime (default: one per physical core)' },
  weights: {
    type: 'string',
    value: 'MODE',
    help: 'stored: weights stay in the file’s pages, least memory; packed: a float32 copy in the kernels’ layout, faster',
  },
};

/** More than any machine has cores; each costs memory. */
const MOST_THREADS = 1024;

export interface ModelSettings {
  readonly weights?: 'stored' | 'packed';
  readonly maxLength?: number | undefined;
}

/** Opens the checkpoint at `path` (headers only); what is wrong with it is logged. */
export async function openPath(context: Context, path: string): Promise<Checkpoint> {
  const { openAll } = await import('./planning.ts');
  const [checkpoint] = await openAll([resolve(context.io.cwd, path)], context);
  if (checkpoint === undefined) throw new Error('nothing was opened');
  return checkpoint;
}

/** Runs `use` with a model process; it is ended afterwards, and killed at once on Ctrl-C. */
export async function withModels<T>(context: Context, use: (process: InferProcess) => Promise<T>): Promise<T> {
  const { InferProcess } = await import('../infer/client.ts');
  const child = new InferProcess({ entry: context.io.inferEntry, signal: context.io.signal });
  try {
    return await use(child);
  } finally {
    await child.close();
  }
}

/** One command asks once. */
const chosen = new WeakMap<Context, Promise<Device>>();

/** The device that --device wishes, or the CPU with a note that says why. */
export function deviceFor(context: Context): Promise<Device> {
  const known = chosen.get(context);
  if (known !== undefined) return known;
  const made = choose(context);
  chosen.set(context, made);
  return made;
}

async function choose(context: Context): Promise<Device> {
  const { DEVICES } = await import('../devices/devices.ts');
  const text = context.args.text('device') ?? 'auto';
  const wish = text === 'auto' ? text : DEVICES.find((device) => device === text);
  if (wish === undefined)
    throw usageError('bad-device', `--device is "${text}", expected auto, ${DEVICES.join(', ')}`, 'moe devices');
  const { chooseDevice } = await import('../infer/devices.ts');
  const { device, note } = await chooseDevice(wish, { entry: context.io.inferEntry, signal: context.io.signal });
  if (note !== null) context.log(`note: ${note}`);
  return device;
}

/** Opens a model in the process, with progress where its weights must be dequantised first. */
export async function openModel(
  context: Context,
  child: InferProcess,
  path: string,
  settings: ModelSettings = {},
): Promise<RemoteModel> {
  const { cacheFolder } = await import('../infer/cache-folder.ts');
  const line = new ProgressLine(context.io, 'Dequantising');
  try {
    const model = await child.open(path, {
      cacheFolder: cacheFolder(context.io.env),
      weights: weightsMode(context) ?? settings.weights ?? 'stored',
      threads: wholeOption(context, 'threads', 1, MOST_THREADS),
      device: await deviceFor(context),
      maxLength: settings.maxLength,
      onProgress: (progress) => {
        line.update(progress);
      },
    });
    for (const note of model.facts.notes) context.log(`note: ${path}: ${note}`);
    return model;
  } finally {
    line.end();
  }
}

/** Runs models for router rows that come from prompts. */
export async function gatesFor(context: Context): Promise<GateRunner> {
  const { cacheFolder } = await import('../infer/cache-folder.ts');
  const { gateRunner } = await import('../infer/gates.ts');
  return gateRunner({ entry: context.io.inferEntry, cacheFolder: cacheFolder(context.io.env) });
}

function weightsMode({ args }: Context): 'stored' | 'packed' | undefined {
  const mode = args.text('weights');
  if (mode === undefined || mode === 'stored' || mode === 'packed') return mode;
  throw usageError('bad-weights', `--weights is "${mode}", expected stored or packed`);
}
