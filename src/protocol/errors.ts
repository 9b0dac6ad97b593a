/** Errors over the wire: a MoeError on one side is the same MoeError on the other. */
import * as z from 'zod/mini';
import { MoeError, messageOf } from '../common/errors.ts';
import type { ErrorPlace } from '../common/errors.ts';
import { details, num, text } from './wire.ts';
import type { ErrorPage } from './wire.ts';
import type { Of } from './define.ts';

const wirePlace = z.object({
  file: z.exactOptional(text),
  tensor: z.exactOptional(text),
  byte: z.exactOptional(num),
  field: z.exactOptional(text),
  hint: z.exactOptional(text),
  details: z.exactOptional(details),
});

export const wireError = z.object({
  kind: z.enum(['check', 'usage', 'input', 'resources', 'cancelled', 'internal']),
  code: text,
  message: text,
  place: wirePlace,
});
export type WireError = Of<typeof wireError>;

/** Anything thrown, as it goes over the wire. What is no MoeError is a defect of ours: kind `internal`. */
export function toWireError(error: unknown): WireError {
  if (error instanceof MoeError) {
    const { kind, code, message } = error;
    return { kind, code, message, place: plainPlace(error.place) };
  }
  if (error instanceof Error && error.name === 'AbortError')
    return { kind: 'cancelled', code: 'cancelled', message: 'Cancelled', place: {} };
  return { kind: 'internal', code: 'internal', message: messageOf(error), place: {} };
}

/** Only what JSON carries; details that cannot be written as JSON are left out. */
function plainPlace(place: ErrorPlace): WireError['place'] {
  let plain: unknown;
  try {
    plain = JSON.parse(JSON.stringify(place));
  } catch {
    const { details: _left, ...rest } = place;
    plain = rest;
  }
  const read = wirePlace.safeParse(plain);
  return read.success ? read.data : {};
}

/** The error that was sent. */
export function fromWireError(error: WireError): MoeError {
  return new MoeError(error.kind, error.code, error.message, error.place);
}

/** The page that shows an error. */
export function errorPageOf(title: string, error: unknown, actions: ErrorPage['actions'] = []): ErrorPage {
  const { kind, code, message, place } = toWireError(error);
  return {
    title,
    message,
    code,
    kind,
    file: place.file ?? null,
    tensor: place.tensor ?? null,
    byte: place.byte ?? null,
    field: place.field ?? null,
    hint: place.hint ?? null,
    actions,
  };
}
