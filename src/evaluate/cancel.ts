import { MoeError } from '../common/errors.ts';

/** Throws `MoeError` kind cancelled once the signal is aborted: called between chunks of work. */
export function throwIfCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new MoeError('cancelled', 'cancelled', 'Cancelled.');
}
