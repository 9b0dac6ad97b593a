/** The one place where safetensors-js's errors become errors and problems of this project. */
import { SafetensorsError } from 'safetensors-js';
import { MoeError, messageOf, systemCodeOf } from '../common/errors.ts';
import type { Problem } from './types.ts';

/** Names listed in one problem or error; the count beside them is always whole. */
export const MAX_NAMES = 1000;

/** Codes that read better under the name that the rest of the project uses. */
const CODES: ReadonlyMap<string, string> = new Map([['lfs-pointer', 'git-lfs-pointer']]);

/** Kinds of content that run code when they are loaded. */
const PICKLES: ReadonlySet<unknown> = new Set(['pickle', 'zip']);

export const PICKLE_HINT =
  'Loading a pickle can run any code, so it is never opened here. Fetch the safetensors version of the model, or convert ' +
  'a file that you trust with transformers: from_pretrained(…).save_pretrained(NEW_FOLDER).';

/** What both shapes share. `details.tensors` names the tensors that are whole although the file is refused. */
interface Facts {
  readonly code: string;
  readonly message: string;
  readonly tensor?: string;
  readonly byte?: number;
  readonly hint?: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

/** Tensors of a refused file whose bytes are all there, in offset order. */
export function wholeTensors(error: SafetensorsError): string[] {
  const { header } = error;
  const fileBytes = error.details?.['fileBytes'];
  if (header === undefined || typeof fileBytes !== 'number') return [];
  const have = fileBytes - header.dataStart;
  const names: string[] = [];
  for (const info of header.tensors.values()) if (info.end <= have) names.push(info.name);
  return names;
}

function factsOf(error: SafetensorsError, file: string): Facts {
  const { tensor, byte, header } = error;
  const looksLike = error.details?.['looksLike'];
  const pickled = PICKLES.has(looksLike);
  const hint = pickled ? PICKLE_HINT : error.hint;
  const readable = header === undefined ? undefined : wholeTensors(error);
  const details = {
    ...error.details,
    ...(readable === undefined ? {} : { tensors: readable.slice(0, MAX_NAMES), tensorCount: readable.length }),
  };
  return {
    code: pickled ? 'pickle-refused' : (CODES.get(error.code) ?? error.code),
    message: pickled ? `${file} is a Python pickle (${String(looksLike)}), not a safetensors file` : error.message,
    ...(tensor === undefined ? {} : { tensor }),
    ...(byte === undefined ? {} : { byte }),
    ...(hint === undefined ? {} : { hint }),
    ...(Object.keys(details).length === 0 ? {} : { details }),
  };
}

/** As a `MoeError` of kind input (exit 3). `file` is the name that the user knows. Other errors pass unchanged. */
export function toMoeError(error: unknown, file: string): unknown {
  if (error instanceof SafetensorsError) {
    const { code, message, ...place } = factsOf(error, file);
    return new MoeError('input', code, message, { file, ...place }, { cause: error });
  }
  if (error instanceof MoeError) return error;
  const systemCode = systemCodeOf(error);
  if (systemCode === undefined) return error;
  return new MoeError(
    'input',
    'file-unreadable',
    `${file} cannot be read: ${messageOf(error)}`,
    { file, details: { systemCode } },
    { cause: error },
  );
}

/** As a problem of a checkpoint whose other files can still be shown. Errors of programming are thrown on. */
export function toProblem(error: unknown, file: string): Problem {
  if (error instanceof SafetensorsError) return { severity: 'error', file, ...factsOf(error, file) };
  const known = toMoeError(error, file);
  if (known instanceof MoeError) return problemOf(known, file);
  throw error;
}

/** A `MoeError` as a problem. */
export function problemOf(error: MoeError, file?: string): Problem {
  const { place } = error;
  const name = file ?? place.file;
  return {
    severity: 'error',
    code: error.code,
    message: error.message,
    ...(name === undefined ? {} : { file: name }),
    ...(place.tensor === undefined ? {} : { tensor: place.tensor }),
    ...(place.byte === undefined ? {} : { byte: place.byte }),
    ...(place.hint === undefined ? {} : { hint: place.hint }),
    ...(place.details === undefined ? {} : { details: place.details }),
  };
}

/** "a, b, c and 17 more": for messages. */
export function listed(names: readonly string[], shown = 5): string {
  const head = names.slice(0, shown).join(', ');
  return names.length > shown ? `${head} and ${(names.length - shown).toLocaleString('en-US')} more` : head;
}

/** Names for `details`: bounded, with the whole count. */
export function namesDetail(names: readonly string[]): { readonly tensors: readonly string[]; readonly count: number } {
  return { tensors: names.slice(0, MAX_NAMES), count: names.length };
}

/** Throws `cancelled` (exit 130) once the signal is aborted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new MoeError('cancelled', 'cancelled', 'Cancelled');
}
