/** safetensors-js: strict, streaming, dependency-free safetensors for Node. */
export { DTYPES, DTYPE_BITS, isDtype, dtypeRank, tensorBytes } from './dtype.ts';
export type { Dtype } from './dtype.ts';
export { SafetensorsError } from './errors.ts';
export type { SafetensorsErrorCode, SafetensorsErrorPlace } from './errors.ts';
export { MAX_HEADER_BYTES, parseHeader } from './header.ts';
export type { ParseHeaderOptions, SafetensorsHeader, TensorInfo } from './header.ts';
export { checkFileSize, headerOfBytes, readHeader, readHeaderSync } from './read-header.ts';
export type { ReadHeaderOptions } from './read-header.ts';
export { parseLfsPointer, recognise } from './diagnose.ts';
export type { LfsPointer, Lookalike } from './diagnose.ts';
export { SafetensorsFile, openSafetensors } from './reader.ts';
export type { OpenOptions } from './reader.ts';
export { fileNameProblem, parseIndexStream, readIndex } from './read-index.ts';
export type { DuplicateEntry, ReadIndexOptions, SafetensorsIndex } from './read-index.ts';
export type { JsonValue } from './json-scanner.ts';
export { buildIndex, compareUtf8, encodeHeader, referenceOrder } from './encode.ts';
export type { EncodeOptions, EncodedHeader, IndexEntry, TensorRange, TensorSpec } from './encode.ts';
export { SafetensorsWriter } from './writer.ts';
export type { WriterOptions } from './writer.ts';
export {
  bf16ToF32,
  f16ToF32,
  f32ToBf16,
  f32ToF16,
  f8ToF32,
  f32ToF8,
  fromFloat32,
  toFloat32,
  toFloat64,
} from './convert.ts';
export type { Float8 } from './convert.ts';
