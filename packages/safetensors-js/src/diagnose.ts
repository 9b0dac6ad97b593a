/**
 * What a file is when it is not safetensors, judged by its first bytes: the causes behind most "header too large" reports.
 */

export interface LfsPointer {
  /** SHA-256 of the real content, 64 hexadecimal digits. */
  readonly oid: string;
  /** Bytes of the real content. */
  readonly size: number;
}

/** Git LFS pointers are text files of fewer than 1024 bytes (its specification). */
export const LFS_POINTER_MAX_BYTES = 1024;

const LFS_VERSION = /^version https?:\/\/(?:git-lfs\.github\.com|hawser\.github\.com|git-media\.io)\/\S+\n/;

/** Reads a Git LFS pointer from a file's first bytes, or undefined if it is none. */
export function parseLfsPointer(head: Uint8Array): LfsPointer | undefined {
  const text = Buffer.from(head.buffer, head.byteOffset, Math.min(head.byteLength, LFS_POINTER_MAX_BYTES))
    .toString('latin1')
    .replaceAll('\r\n', '\n');
  if (!LFS_VERSION.test(text)) return undefined;
  const oid = /\noid sha256:([0-9a-f]{64})(?:\n|$)/.exec(text)?.[1];
  const size = Number(/\nsize (\d{1,16})(?:\n|$)/.exec(text)?.[1] ?? 'x');
  if (oid === undefined || !Number.isSafeInteger(size)) return undefined;
  return { oid, size };
}

export interface Lookalike {
  /** Short stable name. */
  readonly kind: string;
  /** For a message: "a GGUF file". */
  readonly what: string;
}

const MAGICS: readonly (readonly [string, string, string])[] = [
  ['GGUF', 'gguf', 'a GGUF file'],
  ['PK\x03\x04', 'zip', 'a zip archive (PyTorch saves pickle files so)'],
  ['\x80\x02', 'pickle', 'a Python pickle file'],
  ['\x80\x03', 'pickle', 'a Python pickle file'],
  ['\x80\x04', 'pickle', 'a Python pickle file'],
  ['\x80\x05', 'pickle', 'a Python pickle file'],
  ['\x89HDF\r\n\x1a\n', 'hdf5', 'an HDF5 file'],
  ['\x1f\x8b', 'gzip', 'a gzip file'],
  ['\x28\xb5\x2f\xfd', 'zstd', 'a zstd file'],
  ['\x93NUMPY', 'numpy', 'a NumPy file'],
];

/** Names a file of another kind by its first bytes, or undefined. */
export function recognise(head: Uint8Array): Lookalike | undefined {
  const text = Buffer.from(head.buffer, head.byteOffset, Math.min(head.byteLength, 512)).toString('latin1');
  for (const [magic, kind, what] of MAGICS) if (text.startsWith(magic)) return { kind, what };
  const start = text.trimStart().toLowerCase();
  if (start.startsWith('<!doctype') || start.startsWith('<html') || start.startsWith('<?xml')) {
    return { kind: 'html', what: 'a web page (an error page saved by the download?)' };
  }
  // A length's first byte may be '[' or '{' by chance, but its last ones are no letters.
  const printable = /^[\x20-\x7e\s]{8}/.test(text);
  if (printable && /^[[{]/.test(start)) return { kind: 'json', what: 'a JSON text file' };
  if (/^[\x20-\x7e\s]{16,}$/.test(text)) return { kind: 'text', what: 'a text file' };
  if (text.length >= 8 && /^\0+$/.test(text))
    return { kind: 'zeros', what: 'filled with zeros (an unfinished download?)' };
  return undefined;
}
