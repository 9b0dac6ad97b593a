/** Statistics of one tensor, streamed: memory is bounded by one chunk whatever the tensor's size. */
import { RangeReader } from '../checkpoint/read.ts';
import type { Checkpoint, SourceTensor } from '../checkpoint/types.ts';
import { MoeError } from '../common/errors.ts';
import { toMeasured } from '../protocol/wire.ts';
import type { BytesProgress, TensorStats } from '../protocol/checkpoint.ts';
import { requireCoding } from './codes.ts';
import type { CodeTable, Coding, Decoder } from './codes.ts';
import { HistogramCounter } from './histogram.ts';
import { Moments } from './moments.ts';
import { RadixSelection, quantilesBy } from './quantiles.ts';
import type { Quantile } from './quantiles.ts';
import { append } from '../common/lists.ts';

export interface StatsOptions {
  readonly bins: number;
  readonly scale: 'linear' | 'log';
  /** First values to hand out. */
  readonly first: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: BytesProgress) => void) | undefined;
}

/** Read at a time: quantised blocks grow up to eightfold when decoded. */
export const STATS_CHUNK_BYTES = 2 ** 20;

/**
 * Statistics of a stored tensor (GGUF blocks dequantised, in stored order). Exact, quantiles included.
 * @throws MoeError `unknown-tensor`, `stats-no-data`, `stats-dtype`, `file-truncated`, `cancelled`
 */
export async function tensorStatistics(cp: Checkpoint, name: string, options: StatsOptions): Promise<TensorStats> {
  const tensor = storedTensor(cp, name);
  const coding = requireCoding(tensor);
  const reader = new RangeReader(cp, { signal: options.signal, chunkBytes: STATS_CHUNK_BYTES });
  const started = performance.now();
  try {
    const pass = new Pass(reader, tensor, coding, options);
    const found =
      coding.kind === 'codes' ? await byCodes(pass, coding, options) : await byValues(pass, coding, options);
    const { moments, quantiles, how, histogram } = found;
    const { elements, finite, nan, positiveInfinite, negativeInfinite, zeros } = moments;
    const note = histogram?.note ?? null;
    const notes = note === null ? found.notes : [...found.notes, note];
    return {
      tensor: name,
      ...{ elements, finite, nan, positiveInfinite, negativeInfinite, zeros },
      ...moments.summary(),
      quantiles: { how, values: quantiles.filter(({ value }) => Number.isFinite(value)) },
      histogram: histogram?.result() ?? null,
      first: pass.first.map(toMeasured),
      bytesRead: pass.bytesRead,
      seconds: (performance.now() - started) / 1000,
      notes,
    };
  } finally {
    await reader.close();
  }
}

/** The tensor of that name with data at hand. */
export function storedTensor(cp: Checkpoint, name: string): SourceTensor {
  const tensor = cp.tensors.get(name);
  if (tensor === undefined) {
    throw new MoeError('input', 'unknown-tensor', `There is no tensor "${name}" here`, {
      tensor: name,
      hint: 'The files may have changed: open the checkpoint again.',
    });
  }
  if (tensor.begin < 0 || cp.planOnly) {
    throw new MoeError(
      'input',
      'stats-no-data',
      `The data of ${name} is not at hand: only config and index were found`,
      {
        tensor: name,
        file: tensor.file,
        hint: 'Fetch the weight files.',
      },
    );
  }
  return tensor;
}

interface Found {
  readonly moments: Moments;
  readonly quantiles: Quantile[];
  readonly how: string;
  readonly histogram: HistogramCounter | null;
  readonly notes: string[];
}

/** Reads the tensor, perhaps more than once; the first values are kept from the first time. */
class Pass {
  readonly first: number[] = [];
  bytesRead = 0;
  private passes = 0;

  constructor(
    private readonly reader: RangeReader,
    private readonly tensor: SourceTensor,
    private readonly coding: Coding,
    private readonly options: StatsOptions,
  ) {}

  async *chunks(of: number): AsyncGenerator<Buffer> {
    const { tensor, coding, options } = this;
    const what =
      this.passes === 0 ? `reading ${tensor.name}` : `reading ${tensor.name} again for quantiles and histogram`;
    const total = tensor.bytes * of;
    const wanted = Math.min(options.first, 1000);
    for await (const chunk of this.reader.chunks(tensor.file, tensor.begin, tensor.bytes, coding.unit)) {
      if (this.passes === 0 && this.first.length < wanted) this.takeFirst(chunk, wanted);
      yield chunk;
      this.bytesRead += chunk.length;
      options.onProgress?.({ bytesDone: this.bytesRead, bytesTotal: total, what });
    }
    this.passes++;
  }

  private takeFirst(chunk: Buffer, wanted: number): void {
    const { coding } = this;
    const missing = wanted - this.first.length;
    if (coding.kind === 'decoded') {
      const units = Math.ceil(missing / coding.perUnit);
      append(this.first, coding.decode(chunk.subarray(0, units * coding.unit)).slice(0, missing));
      return;
    }
    const perByte = coding.bits === 4 ? 2 : 1;
    for (let i = 0; i < missing && i < (chunk.length / coding.unit) * perByte; i++) {
      const code =
        coding.bits === 16
          ? chunk.readUInt16LE(2 * i)
          : coding.bits === 8
            ? (chunk[i] ?? 0)
            : ((chunk[i >> 1] ?? 0) >> (4 * (i & 1))) & 15;
      this.first.push(coding.values[code] ?? NaN);
    }
  }
}

/** One pass: every code is counted, and all else follows from the counts. */
async function byCodes(pass: Pass, { bits, values }: CodeTable, options: StatsOptions): Promise<Found> {
  let counts = new Float64Array(bits === 16 ? 65_536 : 256);
  for await (const chunk of pass.chunks(1)) {
    const codes = bits === 16 ? new Uint16Array(chunk.buffer, chunk.byteOffset, chunk.length >> 1) : chunk;
    for (const code of codes) counts[code] = (counts[code] ?? 0) + 1;
  }
  if (bits === 4) {
    const nibbles = new Float64Array(16);
    for (const [byte, count] of counts.entries()) {
      nibbles[byte & 15] = (nibbles[byte & 15] ?? 0) + count;
      nibbles[byte >> 4] = (nibbles[byte >> 4] ?? 0) + count;
    }
    counts = nibbles;
  }
  const moments = new Moments();
  const used: [value: number, count: number][] = [];
  for (const [code, count] of counts.entries()) {
    if (count === 0) continue;
    const value = values[code] ?? NaN;
    moments.addCounted(value, count);
    if (Number.isFinite(value)) used.push([value, count]);
  }
  used.sort(([a], [b]) => a - b);
  const histogram = HistogramCounter.over(moments, options.scale, options.bins);
  for (const [value, count] of used) histogram?.addCounted(value, count);
  const upTo: number[] = [];
  let sum = 0;
  for (const [, count] of used) upTo.push((sum += count));
  const at = (rank: number): number => {
    let [low, high] = [0, upTo.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((upTo[middle] ?? 0) > rank) high = middle;
      else low = middle + 1;
    }
    return used[low]?.[0] ?? NaN;
  };
  return { moments, quantiles: quantilesBy(moments.finite, at), how: 'exact', histogram, notes: [] };
}

/** Two passes: sums and high halves first, then bins and low halves. */
async function byValues(pass: Pass, coding: Decoder, options: StatsOptions): Promise<Found> {
  const moments = new Moments();
  const selection = new RadixSelection();
  const singles = (values: Float32Array | Float64Array): Float32Array =>
    values instanceof Float32Array ? values : Float32Array.from(values);
  for await (const chunk of pass.chunks(2)) {
    const values = coding.decode(chunk);
    moments.add(values);
    selection.count(singles(values));
  }
  selection.choose();
  const histogram = HistogramCounter.over(moments, options.scale, options.bins);
  for await (const chunk of pass.chunks(2)) {
    const values = coding.decode(chunk);
    selection.refine(singles(values));
    histogram?.add(values);
  }
  const notes: string[] = [];
  if (coding.quantised) notes.push('Values are dequantised, in the order in which they are stored.');
  const how = coding.single ? 'exact' : 'of the values rounded to float32';
  if (!coding.single) notes.push('Quantiles are of the values rounded to float32.');
  return { moments, quantiles: selection.quantiles(), how, histogram, notes };
}
