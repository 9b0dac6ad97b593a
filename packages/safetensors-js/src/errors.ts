/**
 * One error class. `code` is stable; the message names the file, the tensor and the numbers; `hint` says what to do.
 */
import type { SafetensorsHeader } from './header.ts';

export type SafetensorsErrorCode =
  // The Rust reference's refusals, one to one…
  | 'header-too-small'
  | 'header-too-large'
  | 'invalid-header-length'
  | 'invalid-header-utf8'
  | 'invalid-header-json'
  | 'invalid-offset'
  | 'misaligned-slice'
  | 'tensor-invalid-info'
  | 'validation-overflow'
  | 'tensor-not-found'
  // …its MetadataIncompleteBuffer, split because the two cases need opposite advice…
  | 'file-truncated'
  | 'trailing-bytes'
  // …and finer names for what it reports as plain JSON errors, or does not tell apart.
  | 'unknown-dtype'
  | 'duplicate-key'
  | 'offset-too-large'
  | 'empty-file'
  | 'lfs-pointer'
  | 'not-safetensors'
  | 'not-a-file'
  | 'file-not-found'
  | 'permission-denied'
  | 'disk-full'
  | 'io-error'
  | 'file-changed'
  | 'invalid-slice'
  // Index files.
  | 'invalid-index-utf8'
  | 'invalid-index-json'
  | 'invalid-index-file-name'
  | 'index-too-large'
  // Writing.
  | 'invalid-shape'
  | 'invalid-tensor-name'
  | 'invalid-metadata'
  | 'header-does-not-fit'
  | 'write-order'
  | 'write-size'
  | 'writer-closed'
  // Conversion and arguments.
  | 'unsupported-dtype'
  | 'invalid-argument';

export interface SafetensorsErrorPlace {
  /** The file, as the caller named it. */
  readonly file?: string;
  readonly tensor?: string;
  /** Absolute byte offset in the file. */
  readonly byte?: number;
  /** What to do about it, one sentence. */
  readonly hint?: string;
  /** Numbers behind the message; plain JSON. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** The parsed header, where the header itself is sound (`file-truncated`, `trailing-bytes`). */
  readonly header?: SafetensorsHeader;
}

export class SafetensorsError extends Error {
  override readonly name = 'SafetensorsError';
  readonly code: SafetensorsErrorCode;
  declare readonly file?: string;
  declare readonly tensor?: string;
  declare readonly byte?: number;
  declare readonly hint?: string;
  declare readonly details?: Readonly<Record<string, unknown>>;
  declare readonly header?: SafetensorsHeader;

  constructor(code: SafetensorsErrorCode, message: string, place: SafetensorsErrorPlace = {}, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    if (place.file !== undefined) this.file = place.file;
    if (place.tensor !== undefined) this.tensor = place.tensor;
    if (place.byte !== undefined) this.byte = place.byte;
    if (place.hint !== undefined) this.hint = place.hint;
    if (place.details !== undefined) this.details = place.details;
    if (place.header !== undefined) {
      // Not enumerable: half a million tensors do not belong into a printed error.
      Object.defineProperty(this, 'header', { value: place.header, enumerable: false });
    }
  }
}

/** `n` as "1,234,567". Not by `toLocaleString`, which rounds a bigint to 19 digits or so. */
export function grouped(n: number | bigint): string {
  return String(n).replace(/\B(?=(?:\d{3})+$)/g, ',');
}

/** A name from a file for use in a message: quoted, escaped, shortened. */
export function quoted(name: string): string {
  return JSON.stringify(name.length > 200 ? `${name.slice(0, 200)}…` : name);
}

/** "1 byte", "2 bytes". */
export function byteCount(n: number | bigint): string {
  return `${grouped(n)} byte${BigInt(n) === 1n ? '' : 's'}`;
}
