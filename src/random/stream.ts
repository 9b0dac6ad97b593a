/**
 * Random values by (seed, key, index): element i depends on nothing else. A uniform value has 53 random bits; a normal one
 * is the quantile of a 52-bit uniform value in the open interval (0, 1).
 */
import { createHash } from 'node:crypto';
import { normalQuantile } from './normal.ts';
import { philoxBlock } from './philox.ts';

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
const scratch = new Uint32Array(4);

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

/** Fills `out[0..count)` with uniform values in [0, 1): elements `first`, `first + 1`, … of the stream. */
export function fillUniform(out: FloatSink, stream: RandomStream, first: number, count = out.length): void {
  const { k0, k1, c2, c3 } = stream;
  let i = 0;
  while (i < count) {
    const index = first + i;
    const odd = index % 2;
    const block = (index - odd) / 2;
    philoxBlock(block % TWO_32, Math.floor(block / TWO_32), c2, c3, k0, k1, scratch);
    if (odd === 0) {
      out[i++] = (((scratch[0] ?? 0) >>> 5) * 67108864 + ((scratch[1] ?? 0) >>> 6)) * TWO_NEG_53;
    }
    if (i < count) out[i++] = (((scratch[2] ?? 0) >>> 5) * 67108864 + ((scratch[3] ?? 0) >>> 6)) * TWO_NEG_53;
  }
}

/** Fills `out[0..count)` with standard normal values: elements `first`, `first + 1`, … of the stream. */
export function fillNormal(out: FloatSink, stream: RandomStream, first: number, count = out.length): void {
  const { k0, k1, c2, c3 } = stream;
  let i = 0;
  while (i < count) {
    const index = first + i;
    const odd = index % 2;
    const block = (index - odd) / 2;
    philoxBlock(block % TWO_32, Math.floor(block / TWO_32), c2, c3, k0, k1, scratch);
    // The half keeps p inside (0, 1) and symmetric about ½; 53 bits hold it exactly.
    if (odd === 0) {
      out[i++] = normalQuantile(((scratch[0] ?? 0) * 1048576 + ((scratch[1] ?? 0) >>> 12) + 0.5) * TWO_NEG_52);
    }
    if (i < count) {
      out[i++] = normalQuantile(((scratch[2] ?? 0) * 1048576 + ((scratch[3] ?? 0) >>> 12) + 0.5) * TWO_NEG_52);
    }
  }
}
