/**
 * What a GGUF file says: values, tensors, the header as a whole. Plain data, shared by the reader and its users.
 * Names come from the file, so they live in `Map`s: `__proto__` is a key like any other.
 */
import type { GgmlType } from './ggml-types.ts';

/** Type names of metadata values as the GGUF specification spells them. */
export type GgufTypeName =
  | 'UINT8'
  | 'INT8'
  | 'UINT16'
  | 'INT16'
  | 'UINT32'
  | 'INT32'
  | 'FLOAT32'
  | 'BOOL'
  | 'STRING'
  | 'ARRAY'
  | 'UINT64'
  | 'INT64'
  | 'FLOAT64';

/** Typed storage of a numeric (or boolean, as 0/1) array: never larger than its bytes in the file. */
export type GgufNumbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigUint64Array
  | BigInt64Array;

/** An array value. Strings are decoded, numbers stay in typed arrays, booleans are bytes 0/1, arrays may nest. */
export type GgufArray =
  | { readonly kind: 'strings'; readonly elementType: 'STRING'; readonly values: readonly string[] }
  | { readonly kind: 'numbers'; readonly elementType: GgufTypeName; readonly values: GgufNumbers }
  | { readonly kind: 'arrays'; readonly elementType: 'ARRAY'; readonly values: readonly GgufArray[] };

/** A metadata value. 64-bit integers are numbers where safe, else bigints. */
export type GgufValue = string | number | bigint | boolean | GgufArray;

export interface GgufTensor {
  readonly name: string;
  /** File that holds the data (a split model has several). */
  readonly file: string;
  readonly ggmlType: GgmlType;
  /** Row-major shape as Hugging Face writes it: GGUF's `ne`, reversed. */
  readonly shape: readonly number[];
  readonly elements: number;
  /** Absolute byte offset in `file`; −1 (only in a scan with an error) where the cut table does not tell. */
  readonly offset: number;
  /** Length of the stored (perhaps quantised) data. */
  readonly bytes: number;
}

/** Something that was tolerated but is worth saying. */
export interface GgufNote {
  readonly severity: 'info' | 'warning';
  /** Stable kebab-case code. */
  readonly code: string;
  readonly message: string;
  /** Metadata key or config field concerned. */
  readonly field?: string;
  readonly tensor?: string;
  readonly hint?: string;
}

export interface GgufHeader {
  readonly path: string;
  readonly version: number;
  readonly alignment: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** Type of each metadata value: `UINT32`, or `ARRAY[STRING]` for arrays. */
  readonly metadataTypes: ReadonlyMap<string, string>;
  /** In file order. */
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** Absolute offset where tensor data starts. */
  readonly dataStart: number;
  readonly fileSize: number;
  readonly notes: readonly GgufNote[];
}
