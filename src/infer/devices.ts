/** Finds out where models run: every device is tried in a process of its own, so that its crash or silence harms nobody. */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { MoeError, messageOf } from '../common/errors.ts';
import { isJsonObject } from '../common/json.ts';
import { CUDA_LIBRARY, DEVICES, DEVICE_NAMES, cudaFolder, whyNotRun, whyNotTried } from '../devices/devices.ts';
import type { Device, DeviceChoice, DeviceState, RuntimeFacts } from '../devices/devices.ts';
import { InferProcess } from './client.ts';

export interface ProbeOptions {
  /** dist/infer.js. */
  readonly entry: string;
  readonly signal?: AbortSignal | undefined;
  /** A device that has not answered by then counts as not available. */
  readonly timeoutMs?: number;
  readonly execPath?: string;
}

/** Drivers compile kernels when first used. */
const TIMEOUT_MS = 60_000;

/** The runtime that the model process at `entry` will load. Looks at files only. */
export function runtimeFacts(entry: string): RuntimeFacts {
  let [folder, version]: [string | null, string | null] = [null, null];
  try {
    const file = createRequire(entry).resolve('onnxruntime-node/package.json');
    const found: unknown = JSON.parse(readFileSync(file, 'utf8'));
    folder = dirname(file);
    version = isJsonObject(found) && typeof found['version'] === 'string' ? found['version'] : null;
  } catch {
    // Nothing can be run then; whoever tries is told.
  }
  const cudaInstalled = folder !== null && existsSync(join(cudaFolder(folder), CUDA_LIBRARY));
  const installScript = folder !== null && existsSync(join(folder, 'script', 'install.js'));
  return { platform: process.platform, arch: process.arch, folder, version, cudaInstalled, installScript };
}

/** Tries a device: loads it and lets it compute something known. Throws only where the caller cancels. */
export async function probeDevice(device: Device, options: ProbeOptions): Promise<DeviceState> {
  const untried = whyNotTried(device, runtimeFacts(options.entry));
  if (untried !== null) return { device, available: false, why: untried, said: null };
  const { entry, signal, execPath, timeoutMs = TIMEOUT_MS } = options;
  const timeout = AbortSignal.timeout(timeoutMs);
  const child = new InferProcess({
    entry,
    signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
    ...(execPath === undefined ? {} : { execPath }),
  });
  try {
    await child.probe(device);
    return { device, available: true, why: null, said: null };
  } catch (error) {
    if (signal?.aborted === true) throw error;
    const failed = (why: string): DeviceState => ({ device, available: false, why, said: messageOf(error) });
    if (timeout.aborted) return failed(`it did not answer within ${timeoutMs / 1000} s`);
    if (!(error instanceof MoeError)) return failed(messageOf(error));
    const crashed = error.code.startsWith('job-') || error.code.startsWith('infer-');
    return failed(crashed ? `the process that tried it ended: ${error.message}` : whyNotRun(device, error.message));
  } finally {
    await child.close();
  }
}

/** All devices, one after another. */
export async function probeDevices(options: ProbeOptions): Promise<readonly DeviceState[]> {
  const states: DeviceState[] = [];
  for (const device of DEVICES) states.push(await probeDevice(device, options));
  return states;
}

export interface ChosenDevice {
  readonly device: Device;
  /** What to tell the user: that another device is used than was asked for, and why. */
  readonly note: string | null;
}

/**
 * The device for a wish: the wished one where it works, else the CPU with a note that says why. `auto` takes CUDA where its
 * provider was installed and works; other devices are used by name only. The CPU is not probed: its self-test runs anyway.
 */
export async function chooseDevice(wish: DeviceChoice, options: ProbeOptions): Promise<ChosenDevice> {
  if (wish === 'cpu') return { device: 'cpu', note: null };
  const device = wish === 'auto' ? 'cuda' : wish;
  // Nobody asked for it and nobody installed it: nothing to tell.
  if (wish === 'auto' && whyNotTried(device, runtimeFacts(options.entry)) !== null)
    return { device: 'cpu', note: null };
  const { available, why } = await probeDevice(device, options);
  if (available) return { device, note: null };
  return {
    device: 'cpu',
    note: `${DEVICE_NAMES[device]} (${device}) is not available here: ${why ?? 'unknown'}. The CPU is used. "moe devices" tells more.`,
  };
}
