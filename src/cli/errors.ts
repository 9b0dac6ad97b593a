/** Failures as exit codes, as JSON and as text for people. */
import { toMoeError } from '../checkpoint/errors.ts';
import { EXIT_CODES, MoeError, messageOf, systemCodeOf } from '../common/errors.ts';
import { visible, wrap } from '../report/text.ts';
import type { Style } from '../report/text.ts';

const OUT_OF_ROOM = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);
const OUT_OF_MEMORY = new Set(['ENOMEM', 'ERR_MEMORY_ALLOCATION_FAILED']);
const OUT_OF_HANDLES = new Set(['EMFILE', 'ENFILE']);

/** Anything thrown as a MoeError: what is not one yet is judged by its system code. */
export function asMoeError(error: unknown, cancelled: boolean): MoeError {
  const known = toMoeError(error, fileOf(error));
  const code = systemCodeOf(error);
  if (code !== undefined && OUT_OF_ROOM.has(code))
    return new MoeError('resources', 'disk-full', `there is no room left: ${messageOf(error)}`, {}, { cause: error });
  if (code !== undefined && OUT_OF_MEMORY.has(code))
    return new MoeError(
      'resources',
      'out-of-memory',
      `there is not enough memory: ${messageOf(error)}`,
      {},
      { cause: error },
    );
  if (code !== undefined && OUT_OF_HANDLES.has(code))
    return new MoeError(
      'resources',
      'too-many-open-files',
      `too many open files: ${messageOf(error)}`,
      {},
      { cause: error },
    );
  if (known instanceof MoeError) return known;
  if (cancelled) return new MoeError('cancelled', 'cancelled', 'Cancelled.', {}, { cause: error });
  return new MoeError(
    'internal',
    'internal',
    `unexpected failure: ${messageOf(error)}`,
    { hint: 'This is a fault of the program; set MOE_DEBUG=1 to see where, and report it.' },
    { cause: error },
  );
}

function fileOf(error: unknown): string {
  if (typeof error === 'object' && error !== null) {
    if ('file' in error && typeof error.file === 'string') return error.file;
    if ('path' in error && typeof error.path === 'string') return error.path;
  }
  return 'a file';
}

export function exitCodeOf(error: MoeError): number {
  return EXIT_CODES[error.kind];
}

/** `{error: {code, message, file?, tensor?, byte?, field?, hint?, …details}}`. */
export function errorJson(error: MoeError): { readonly error: Readonly<Record<string, unknown>> } {
  const { details, ...place } = error.place;
  return { error: { ...details, code: error.code, message: error.message, ...place } };
}

/** The error for people, with its hint. */
export function errorText(error: MoeError, style: Style): string {
  const label = error.kind === 'cancelled' ? 'cancelled: ' : 'error: ';
  const lines = error.message.split('\n').map(visible);
  const body = lines.length === 1 ? wrap(lines[0] ?? '', 110, label) : `${label}${lines.join('\n')}`;
  const place = [error.place.file, error.place.tensor].filter(
    (name): name is string => name !== undefined && !error.message.includes(name),
  );
  return [
    `${style.red(label)}${body.slice(label.length)}`,
    ...place.map((name) => `  in ${visible(name)}`),
    ...(error.place.hint === undefined ? [] : [wrap(visible(error.place.hint), 110, '  → ')]),
    '',
  ].join('\n');
}
