/** The only place that talks to onnxruntime-node: sessions with the right options, runs, and errors for people. */
import { InferenceSession, listSupportedBackends, Tensor } from 'onnxruntime-node';
import { MoeError, messageOf } from '../common/errors.ts';
import type { Device } from '../devices/devices.ts';
import type { GraphBuilder, Value } from '../onnx/builder.ts';
import { shapeText } from '../onnx/dims.ts';

export interface SessionSettings {
  /** Folder that external weights are relative to. */
  readonly folder: string | null;
  /**
   * `stored`: weights stay in the file's pages, two-byte ones are widened just before their use: the least memory. `packed`:
   * they become float32 in the layout of the matrix kernels once, at creation: 4 to 6 bytes per parameter for every kind of
   * run, 5 % faster for long rows and much faster for single tokens of a two-byte model.
   */
  readonly weights: 'stored' | 'packed';
  readonly threads?: number;
  readonly device?: Device;
  /** The device must run everything itself; else what it cannot run goes to the CPU. */
  readonly alone?: boolean;
  /** Second try where the allocator misbehaves (Electron), and for the least anonymous memory. */
  readonly withoutArena?: boolean;
  /** Where to write a profile; for benchmarks. */
  readonly profile?: string;
}

export type Feeds = Readonly<Record<string, Tensor>>;
export type Results = ReadonlyMap<string, Tensor>;

/** A created session. Creation and runs block the thread: use it in a process of its own. */
export class Session {
  private constructor(
    private readonly session: InferenceSession,
    private readonly device: Device,
    private readonly inputs: readonly Value[],
  ) {}

  /** Creates a session from a finished graph. Throws a MoeError `session-failed` with ONNX Runtime's words. */
  static async create(graph: GraphBuilder, settings: SessionSettings): Promise<Session> {
    const options = sessionOptions(settings);
    const { device = 'cpu' } = settings;
    // ONNX Runtime would drop a device that it does not have and run on the CPU, with a warning that nobody reads.
    if (!listSupportedBackends().some(({ name }) => name === device))
      throw new MoeError(
        'input',
        'device-unavailable',
        `This ONNX Runtime has no device "${device}": backend not found.`,
        {
          hint: 'moe devices lists what works here.',
        },
      );
    try {
      return new Session(await InferenceSession.create(graph.serialize(), options), device, [...graph.inputs]);
    } catch (error) {
      throw new MoeError(
        'internal',
        'session-failed',
        `ONNX Runtime could not load the model: ${messageOf(error)}`,
        elsewhere(device),
        { cause: error },
      );
    }
  }

  get outputNames(): readonly string[] {
    return this.session.outputNames;
  }

  /** Runs the graph; `fetch` names the outputs wanted. Inputs are borrowed, outputs are copies. */
  async run(feeds: Feeds, fetch: readonly string[]): Promise<Results> {
    checkFeeds(this.inputs, feeds);
    try {
      const results = await this.session.run(feeds, fetch);
      return new Map(Object.entries(results));
    } catch (error) {
      throw new MoeError(
        'internal',
        'run-failed',
        `ONNX Runtime failed while running the model: ${messageOf(error)}`,
        elsewhere(this.device),
        { cause: error },
      );
    }
  }

  /** Frees the session's memory. */
  async release(): Promise<void> {
    await this.session.release();
  }
}

/**
 * Throws `bad-input` where a feed is not what the graph wants. ONNX Runtime's own words do not always name the input, and what
 * its binding throws for some inputs an Electron host cannot catch (microsoft/vscode#115185).
 */
function checkFeeds(inputs: readonly Value[], feeds: Feeds): void {
  const refuse = (name: string, what: string): MoeError =>
    new MoeError('internal', 'bad-input', `Input "${name}" of the graph ${what}.`, { field: name });
  for (const { name, type, shape } of inputs) {
    const feed = feeds[name];
    const wanted = `${type} ${shapeText(shape)}`;
    if (feed === undefined) throw refuse(name, `is missing; it wants ${wanted}`);
    const fits =
      feed.type === type &&
      feed.dims.length === shape.length &&
      shape.every((dim, axis) => typeof dim === 'string' || dim === feed.dims[axis]);
    if (!fits) throw refuse(name, `got ${feed.type} ${shapeText(feed.dims)}; it wants ${wanted}`);
  }
  const known = new Set(inputs.map(({ name }) => name));
  const extra = Object.keys(feeds).find((name) => !known.has(name));
  if (extra !== undefined) throw refuse(extra, 'does not exist');
}

/** What to do about a failure on a device other than the CPU. */
function elsewhere(device: Device): { readonly hint?: string } {
  return device === 'cpu'
    ? {}
    : { hint: `This ran on ${device}. Run it on the CPU: --device cpu, or the setting moe.device.` };
}

function sessionOptions(settings: SessionSettings): InferenceSession.SessionOptions {
  const packed = settings.weights === 'packed';
  const { device = 'cpu' } = settings;
  return {
    executionProviders: [device, ...(device === 'cpu' || settings.alone === true ? [] : ['cpu'])],
    // Constant folding would widen two-byte weights for good, float16 even when it is switched off by name.
    graphOptimizationLevel: packed ? 'basic' : 'disabled',
    enableMemPattern: false,
    enableCpuMemArena: settings.withoutArena !== true,
    executionMode: 'sequential',
    logSeverityLevel: 3,
    ...(settings.threads === undefined ? {} : { intraOpNumThreads: settings.threads }),
    ...(settings.profile === undefined ? {} : { enableProfiling: true, profileFilePrefix: settings.profile }),
    extra: {
      'session.disable_prepacking': packed ? '0' : '1',
      'session.intra_op.allow_spinning': '0',
      'session.set_denormal_as_zero': '1',
      ...(settings.alone === true && device !== 'cpu' ? { 'session.disable_cpu_ep_fallback': '1' } : {}),
      ...(settings.folder === null ? {} : { 'session.model_external_initializers_file_folder_path': settings.folder }),
    },
  };
}

/** A float32 tensor over `data` (borrowed). */
export function floats(data: Float32Array, dims: readonly number[]): Tensor {
  return new Tensor('float32', data, dims);
}

/** An int64 tensor. */
export function integers(values: readonly number[], dims: readonly number[]): Tensor {
  const data = new BigInt64Array(values.length);
  values.forEach((value, i) => {
    data[i] = BigInt(value);
  });
  return new Tensor('int64', data, dims);
}

/** The float32 data of an output. */
export function floatData(tensor: Tensor | undefined, name: string): Float32Array {
  if (tensor?.data instanceof Float32Array) return tensor.data;
  throw new MoeError('internal', 'unexpected-output', `ONNX Runtime gave no float32 output ${name}.`);
}

/** The int64 data of an output, as plain numbers. */
export function integerData(tensor: Tensor | undefined, name: string): number[] {
  if (tensor?.data instanceof BigInt64Array) return Array.from(tensor.data, Number);
  throw new MoeError('internal', 'unexpected-output', `ONNX Runtime gave no int64 output ${name}.`);
}
