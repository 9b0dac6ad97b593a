/**
 * Work that may take long without giving way: a tokenizer's pattern, a chat template, both from files of others. A host that
 * handles signals itself could not hear them meanwhile; it gives them back to the system for that time.
 */
type Guard = <T>(work: () => T) => T;

let guard: Guard = (work) => work();

/** Set once, by the entry of a process. */
export function guardBlockingWork(by: Guard): void {
  guard = by;
}

/** Does the work under the host's guard. */
export function whileBlocking<T>(work: () => T): T {
  return guard(work);
}
