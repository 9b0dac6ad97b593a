/** GGUF blocks as a float32 value; only the blocks that a range touches are read. */
import type { SourceTensor } from '../checkpoint/types.ts';
import { MoeError } from '../common/errors.ts';
import { dequantise, unsupportedType } from '../gguf/dequant.ts';
import type { GgmlType } from '../gguf/ggml-types.ts';
import { ggmlTypeByName } from '../gguf/ggml-types.ts';
import type { SourceSet } from './sources.ts';
import { BLOCK_ELEMENTS, Value, bytePool } from './value.ts';

export class DequantiseValue extends Value {
  private readonly type: GgmlType;
  private readonly floats = new Float32Array(BLOCK_ELEMENTS + 512);

  constructor(
    private readonly sources: SourceSet,
    private readonly from: number,
    private readonly tensor: SourceTensor,
  ) {
    super('F32', tensor.shape);
    const type = ggmlTypeByName(tensor.dtype);
    if (type?.decoded !== true) {
      throw type === undefined
        ? new MoeError('input', 'unsupported-dtype', `"${tensor.name}" is ${tensor.dtype}, which is no GGUF type.`, {
            tensor: tensor.name,
          })
        : unsupportedType(type, tensor.file, tensor.name);
    }
    this.type = type;
    const expected = (this.elements / type.blockElements) * type.blockBytes;
    if (expected !== tensor.bytes) {
      throw new MoeError(
        'input',
        'gguf-block-length',
        `"${tensor.name}" has ${String(tensor.bytes)} bytes where ${type.name} needs ${String(expected)}.`,
        { file: tensor.file, tensor: tensor.name, byte: tensor.begin },
      );
    }
  }

  /** The float32 values [begin, end), at most BLOCK_ELEMENTS. */
  private values(begin: number, end: number, scattered: boolean): Float32Array {
    const { blockElements, blockBytes } = this.type;
    const first = Math.floor(begin / blockElements);
    const last = Math.ceil(end / blockElements);
    const stored = bytePool.take((last - first) * blockBytes);
    if (scattered) this.sources.readDirect(this.from, this.tensor, first * blockBytes, stored);
    else this.sources.readCached(this.from, this.tensor, first * blockBytes, stored);
    const out = this.floats.subarray(0, (last - first) * blockElements);
    dequantise(this.type, stored, out);
    bytePool.give(stored);
    return out.subarray(begin - first * blockElements, end - first * blockElements);
  }

  override numbers(begin: number, end: number, out: Float64Array, scattered = false): void {
    out.set(this.values(begin, end, scattered));
  }

  override read(begin: number, end: number, out: Buffer, scattered = false): void {
    for (let at = begin; at < end; at += BLOCK_ELEMENTS) {
      const stop = Math.min(end, at + BLOCK_ELEMENTS);
      const values = this.values(at, stop, scattered);
      Buffer.from(values.buffer, values.byteOffset, values.byteLength).copy(out, (at - begin) * 4);
    }
  }
}
