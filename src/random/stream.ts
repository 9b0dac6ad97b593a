/**
 * Random values by (seed, key, index): element i depends on nothing else. A uniform value has 53 random bits; a normal one
 * is the quantile of a 52-bit uniform value in the open interval (0, 1). Element i comes from words 2·(i mod 2) and
 * 2·(i mod 2) + 1 of Philox block ⌊i/2⌋.
 */
import { createHash } from 'node:crypto';
import { normalQuantile } from './normal.ts';
import { BULK_BLOCKS, plainPhilox, wasmPhilox } from './philox-wasm.ts';
import type { BulkPhilox } from './philox-wasm.ts';

/** Where a stream's values go. */
export type FloatSink = Float64Array | Float32Array;

/** A named stream: the Philox key and the upper half of its counter, both from a hash of seed and key. */
export interface RandomStream {
  readonly k0: number;
  readonly k1: number;
  readonly c2: number;
  readonly c3: number;
}

const TWO_32 = 4294967296;
const TWO_NEG_52 = 2.220446049250313e-16;
const TWO_NEG_53 = 1.1102230246251565e-16;
const ELEMENTS = BULK_BLOCKS * 2;

let bulk: BulkPhilox | undefined;

/** The stream of (seed, key). 128 bits of sha256 tell streams apart. */
export function randomStream(seed: number, key: string): RandomStream {
  const digest = createHash('sha256')
    .update(`moe-workbench/random@1\n${String(seed)}\n${key}`, 'utf8')
    .digest();
  return {
    k0: digest.readUInt32LE(0),
    k1: digest.readUInt32LE(4),
    c2: digest.readUInt32LE(8),
    c3: digest.readUInt32LE(12),
  };
}

/** Words of the blocks that hold elements `first` to `first + count`; element `first` begins at word 2·(first mod 2). */
function wordsOf({ k0, k1, c2, c3 }: RandomStream, first: number, count: number): Uint32Array {
  bulk ??= wasmPhilox() ?? plainPhilox();
  const block = Math.floor(first / 2);
  const blocks = Math.floor((first + count + 1) / 2) - block;
  return bulk(blocks, block % TWO_32, Math.floor(block / TWO_32), c2, c3, k0, k1);
}

/** Fills `out[0..count)` with uniform values in [0, 1): elements `first`, `first + 1`, … of the stream. */
export function fillUniform(out: FloatSink, stream: RandomStream, first: number, count = out.length): void {
  for (let done = 0; done < count;) {
    const odd = (first + done) % 2;
    const part = Math.min(count - done, ELEMENTS - odd);
    const words = wordsOf(stream, first + done, part);
    for (let i = 0, w = odd * 2; i < part; i++, w += 2) {
      out[done + i] = (((words[w] ?? 0) >>> 5) * 67108864 + ((words[w + 1] ?? 0) >>> 6)) * TWO_NEG_53;
    }
    done += part;
  }
}

/**
 * Fills `out[0..count)` with standard normal values: elements `first`, `first + 1`, … of the stream. With `wanted`, only
 * where it is not 0; the other places of `out` keep what they hold.
 */
export function fillNormal(
  out: FloatSink,
  stream: RandomStream,
  first: number,
  count = out.length,
  wanted?: Uint8Array,
): void {
  for (let done = 0; done < count;) {
    const odd = (first + done) % 2;
    const part = Math.min(count - done, ELEMENTS - odd);
    const words = wordsOf(stream, first + done, part);
    for (let i = 0, w = odd * 2; i < part; i++, w += 2) {
      if (wanted?.[done + i] === 0) continue;
      // The half keeps p inside (0, 1) and symmetric about ½; 53 bits hold it exactly.
      out[done + i] = normalQuantile(((words[w] ?? 0) * 1048576 + ((words[w + 1] ?? 0) >>> 12) + 0.5) * TWO_NEG_52);
    }
    done += part;
  }
}
