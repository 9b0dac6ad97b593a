/** Where models can run: names, words for why a device is not available, and how to get it. Nothing is probed here. */
import { join } from 'node:path';

import type { Device } from '../common/device-names.ts';

export { DEVICES } from '../common/device-names.ts';
export type { Device, DeviceChoice } from '../common/device-names.ts';

/** Names for people. */
export const DEVICE_NAMES: Readonly<Record<Device, string>> = {
  cpu: 'CPU',
  cuda: 'NVIDIA CUDA',
  dml: 'DirectML',
  coreml: 'Core ML',
  webgpu: 'WebGPU',
};

/** Platforms (`platform-arch`) that onnxruntime-node 1.30 has a provider for, by the table in its README. */
const PLATFORMS: Readonly<Record<Device, readonly string[]>> = {
  cpu: ['linux-x64', 'linux-arm64', 'win32-x64', 'win32-arm64', 'darwin-x64', 'darwin-arm64'],
  cuda: ['linux-x64'],
  dml: ['win32-x64', 'win32-arm64'],
  coreml: ['darwin-x64', 'darwin-arm64'],
  webgpu: ['linux-x64', 'win32-x64', 'win32-arm64', 'darwin-x64', 'darwin-arm64'],
};

/** The runtime as it is installed here. */
export interface RuntimeFacts {
  /** `process.platform` and `process.arch`. */
  readonly platform: string;
  readonly arch: string;
  /** Folder of the package onnxruntime-node; null where it cannot be found. */
  readonly folder: string | null;
  /** Its version; null where the folder is. */
  readonly version: string | null;
  /** Whether the CUDA provider's library lies in it. */
  readonly cudaInstalled: boolean;
  /** Whether the package's own install script lies in it; the editor's extension ships without. */
  readonly installScript: boolean;
}

export interface DeviceState {
  readonly device: Device;
  readonly available: boolean;
  /** Null where it is available. */
  readonly why: string | null;
  /** What ONNX Runtime or the system said, verbatim; null where it said nothing. */
  readonly said: string | null;
}

/** Whether there is a provider for this platform at all. */
export function supportedHere(device: Device, { platform, arch }: RuntimeFacts): boolean {
  return PLATFORMS[device].includes(`${platform}-${arch}`);
}

/** Where the providers of Linux x64 lie inside the package. */
export function cudaFolder(folder: string): string {
  return join(folder, 'bin', 'napi-v6', 'linux', 'x64');
}
export const CUDA_LIBRARY = 'libonnxruntime_providers_cuda.so';

/** Why a device is not available, before it is tried; null where it is worth trying. */
export function whyNotTried(device: Device, facts: RuntimeFacts): string | null {
  if (!supportedHere(device, facts))
    return `ONNX Runtime for Node has no ${DEVICE_NAMES[device]} on ${facts.platform}-${facts.arch}; it has it on ${PLATFORMS[device].join(', ')}`;
  if (device === 'cuda' && !facts.cudaInstalled)
    return 'its provider is not installed (it does not come with the package)';
  return null;
}

/** ONNX Runtime's words about a device that was tried, in plain ones. */
export function whyNotRun(device: Device, said: string): string {
  if (/backend not found|no available backend/i.test(said)) return 'this build of ONNX Runtime does not have it';
  if (/Failed to get a WebGPU adapter/i.test(said)) return 'no graphics adapter was found';
  if (device === 'cuda' && /load (?:shared )?library|cannot open shared object/i.test(said))
    return 'its libraries cannot be loaded: CUDA 12, cuDNN 9 or the driver is missing';
  if (device === 'cuda' && /no CUDA-capable device|CUDA driver version|cudaGetDeviceCount|CUDA failure/i.test(said))
    return 'there is no usable NVIDIA GPU or its driver is too old';
  if (/fallback to CPU EP has been explicitly disabled/i.test(said))
    return 'it cannot run what models need: parts would run on the CPU';
  const [first = ''] = said.trim().split('\n');
  return first === '' ? 'it failed without saying why' : first;
}

export interface InstallStep {
  readonly what: string;
  /** For a shell, on one line. */
  readonly command: string | null;
}

/** How to install the CUDA provider, step by step; empty where that is impossible here. `again`: how devices are tried again. */
export function cudaInstallSteps(facts: RuntimeFacts, again: InstallStep): readonly InstallStep[] {
  const { folder, version } = facts;
  if (!supportedHere('cuda', facts) || folder === null || version === null) return [];
  const quoted = (path: string): string => `'${path.replaceAll("'", "'\\''")}'`;
  return [
    {
      what: 'The driver, CUDA 12 and cuDNN 9 must be installed, and their libraries be found (ldconfig or LD_LIBRARY_PATH)',
      command: 'nvidia-smi && ldconfig -p | grep -E "libcudart.so.12|libcudnn.so.9"',
    },
    facts.installScript
      ? {
          what: 'Fetch the provider from nuget.org (some hundred megabytes) with the script of onnxruntime-node',
          command: `node ${quoted(join(folder, 'script', 'install.js'))} --onnxruntime-node-install=cuda12`,
        }
      : {
          what: 'Fetch the provider from nuget.org (some hundred megabytes; again after an update of the extension)',
          command: `cd "$(mktemp -d)" && curl -fL -o ort-gpu.zip https://www.nuget.org/api/v2/package/Microsoft.ML.OnnxRuntime.Gpu.Linux/${version} && unzip -j ort-gpu.zip 'runtimes/linux-x64/native/libonnxruntime_providers_*.so' -d ${quoted(cudaFolder(folder))}`,
        },
    again,
  ];
}
