/** Devices: tried in processes of their own, whose crash, silence and refusal become words; never a silent fallback. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { cudaInstallSteps, DEVICES, whyNotRun, whyNotTried } from '../../src/devices/devices.ts';
import { InferProcess } from '../../src/infer/client.ts';
import { chooseDevice, probeDevice, runtimeFacts } from '../../src/infer/devices.ts';
import { PLAIN } from '../../src/report/text.ts';
import { devicesText } from '../../src/report/devices.ts';
import { selfTest } from '../../src/runtime/self-test.ts';
import { cli, errorOf, scratch } from '../cli/helpers.ts';
import { bundleInfer, root } from '../infer/entry.ts';

let inferEntry = '';
const [folder, remove] = scratch();
beforeAll(async () => {
  inferEntry = await bundleInfer();
}, 60_000);
afterAll(remove);
// Processes start slowly on a busy machine.
vi.setConfig({ testTimeout: 120_000 });

const AGAIN = { what: 'Ask again', command: 'moe devices' };
const linux = {
  platform: 'linux',
  arch: 'x64',
  folder: "/it's/onnxruntime-node",
  cudaInstalled: false,
  version: '1.30.0',
  installScript: true,
};
const tiny = path.join(root, 'test/forward/fixtures/qwen3');

describe('words', () => {
  it('say what a platform does not have before anything is tried', () => {
    expect(whyNotTried('cpu', linux)).toBeNull();
    expect(whyNotTried('dml', linux)).toContain('no DirectML on linux-x64; it has it on win32-x64, win32-arm64');
    expect(whyNotTried('cuda', linux)).toContain('provider is not installed');
    expect(whyNotTried('cuda', { ...linux, cudaInstalled: true })).toBeNull();
    expect(whyNotTried('cuda', { ...linux, platform: 'win32' })).toContain('it has it on linux-x64');
    expect(whyNotTried('coreml', { ...linux, platform: 'darwin', arch: 'arm64' })).toBeNull();
  });

  // As onnxruntime-node 1.30 says them on Linux.
  it.each([
    [
      'webgpu',
      'ONNX Runtime could not load the model: /x/webgpu_context.cc:136 … was false. Failed to get a WebGPU adapter: No supported adapters',
      'no graphics adapter was found',
    ],
    [
      'cuda',
      'ONNX Runtime could not load the model: OrtSessionOptionsAppendExecutionProvider_Cuda: Failed to load shared library',
      'its libraries cannot be loaded: CUDA 12, cuDNN 9 or the driver is missing',
    ],
    ['dml', 'no available backend found. ERR: [dml] backend not found.', 'this build of ONNX Runtime does not have it'],
    [
      'cuda',
      'This session contains graph nodes that are assigned to the default CPU EP, but fallback to CPU EP has been explicitly disabled by the user.',
      'it cannot run what models need: parts would run on the CPU',
    ],
    ['cuda', 'something new\nand more', 'something new'],
  ] as const)('%s: %s', (device, said, why) => {
    expect(whyNotRun(device, said)).toBe(why);
  });

  it('the CUDA steps name the installed version and quote paths; there are none elsewhere', () => {
    const commands = (facts: typeof linux): string =>
      cudaInstallSteps(facts, AGAIN)
        .map(({ command }) => command)
        .join('\n');
    expect(commands(linux)).toContain(
      `node '/it'\\''s/onnxruntime-node/script/install.js' --onnxruntime-node-install=cuda12`,
    );
    const bare = commands({ ...linux, installScript: false });
    expect(bare).toContain('Microsoft.ML.OnnxRuntime.Gpu.Linux/1.30.0');
    expect(bare).toContain(`-d '/it'\\''s/onnxruntime-node/bin/napi-v6/linux/x64'`);
    expect(bare).not.toContain('install.js');
    expect(cudaInstallSteps({ ...linux, platform: 'darwin' }, AGAIN)).toEqual([]);
    expect(cudaInstallSteps({ ...linux, folder: null }, AGAIN)).toEqual([]);
  });

  it('the CUDA steps are those of the installed package', () => {
    const { folder: installed } = runtimeFacts(inferEntry);
    const script = fs.readFileSync(path.join(installed ?? '', 'script', 'install.js'), 'utf8');
    expect(script).toContain('--onnxruntime-node-install=cuda12');
    expect(script).toContain("'bin/napi-v6'");
    const metadata = fs.readFileSync(path.join(installed ?? '', 'script', 'install-metadata.js'), 'utf8');
    expect(metadata).toContain("path: 'runtimes/linux-x64/native/libonnxruntime_providers_cuda.so'");
    expect(metadata).toContain("name: 'Microsoft.ML.OnnxRuntime.Gpu.Linux'");
  });

  it('as text', () => {
    const text = devicesText(
      [
        { device: 'cpu', available: true, why: null, said: null },
        { device: 'cuda', available: false, why: 'its provider is not installed', said: null },
      ],
      [
        { what: 'first', command: 'a long command' },
        { what: 'second', command: null },
      ],
      PLAIN,
    );
    expect(text).toMatch(/^cpu +CPU +works$/m);
    expect(text).toMatch(/^cuda +NVIDIA CUDA +not available +its provider is not installed$/m);
    expect(text).toContain('1. first:\n   a long command\n2. second\n');
  });
});

describe('probing', () => {
  const script = (name: string, body: string): string => {
    const file = path.join(folder, `${name}.cjs`);
    fs.writeFileSync(file, body);
    return file;
  };

  it('the CPU computes', async () => {
    expect(await probeDevice('cpu', { entry: inferEntry })).toEqual({
      device: 'cpu',
      available: true,
      why: null,
      said: null,
    });
  });

  it('a crash is a reason', async () => {
    const entry = script('crash', 'process.abort();');
    const state = await probeDevice('cpu', { entry });
    expect(state.available).toBe(false);
    expect(state.why).toContain('the process that tried it ended');
    expect(state.why).toContain('SIGABRT');
  });

  it('a crash while a model is opened is told with what may help', async () => {
    const child = new InferProcess({ entry: script('crash-open', 'process.abort();') });
    try {
      await expect(child.open(tiny, { cacheFolder: folder, weights: 'stored' })).rejects.toMatchObject({
        code: 'job-crashed',
        place: { hint: expect.stringContaining('MOE_WITHOUT_ARENA=1') as string },
      });
    } finally {
      await child.close();
    }
  });

  it('MOE_WITHOUT_ARENA=1 gives the same numbers', async () => {
    const run = () => cli(['logits', tiny, '--ids', '1,2,3', '--json'], { inferEntry });
    const plain = await run();
    vi.stubEnv('MOE_WITHOUT_ARENA', '1');
    try {
      expect((await run()).json()).toEqual(plain.json());
    } finally {
      vi.unstubAllEnvs();
    }
  });

  it('silence is a reason', async () => {
    const entry = script('silent', 'process.on("message", () => undefined); setInterval(() => undefined, 1000);');
    const state = await probeDevice('cpu', { entry, timeoutMs: 500 });
    expect(state).toMatchObject({ available: false, why: 'it did not answer within 0.5 s' });
  });

  it('cancelling is no reason but a cancel', async () => {
    const entry = script('slow', 'process.on("message", () => undefined); setInterval(() => undefined, 1000);');
    const aborter = new AbortController();
    const asked = probeDevice('cpu', { entry, signal: aborter.signal });
    aborter.abort();
    await expect(asked).rejects.toMatchObject({ kind: 'cancelled' });
  });

  it('a device that this runtime lacks is refused, not dropped', async () => {
    const missing = process.platform === 'win32' ? 'coreml' : 'dml';
    await expect(selfTest({ device: missing })).rejects.toMatchObject({ code: 'device-unavailable' });
  });
});

describe('choosing', () => {
  const impossible = process.platform === 'darwin' ? 'dml' : 'coreml';

  it('the CPU where what was asked for is not there, and says why', async () => {
    expect(await chooseDevice('cpu', { entry: inferEntry })).toEqual({ device: 'cpu', note: null });
    const { device, note } = await chooseDevice(impossible, { entry: inferEntry });
    expect(device).toBe('cpu');
    expect(note).toMatch(/is not available here: ONNX Runtime for Node has no .*The CPU is used/);
  });

  it('auto says nothing where nothing was installed', async () => {
    if (runtimeFacts(inferEntry).cudaInstalled) return;
    expect(await chooseDevice('auto', { entry: inferEntry })).toEqual({ device: 'cpu', note: null });
  });

  it('moe logits --device: the note, and the same numbers', async () => {
    const run = (...more: string[]) => cli(['logits', tiny, '--ids', '1,2,3', '--json', ...more], { inferEntry });
    const fallen = await run('--device', impossible);
    expect(fallen.code).toBe(0);
    expect(fallen.err).toContain(`(${impossible}) is not available here`);
    const plain = await run();
    expect(plain.err).toBe('');
    expect(fallen.json()).toEqual(plain.json());
    expect(errorOf(await run('--device', 'gpu'))).toMatchObject({ code: 'bad-device' });
  });

  it('moe devices: every device with its state', async () => {
    const ran = await cli(['devices', '--json'], { inferEntry });
    const { devices, runtime } = ran.json() as {
      devices: { device: string; available: boolean; why: string | null }[];
      runtime: object;
    };
    expect(devices.map(({ device }) => device)).toEqual([...DEVICES]);
    expect(devices[0]).toMatchObject({ device: 'cpu', available: true });
    for (const { available, why } of devices) expect(available).toBe(why === null);
    expect(runtime).toMatchObject({ version: '1.30.0', platform: process.platform });
  });
});
