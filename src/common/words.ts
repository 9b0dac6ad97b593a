/** Counts in messages. */
import { grouped } from './errors.ts';

/** `1 tensor is`, `1,234 tensors are`: a number with the words that fit it. */
export function counted(count: number, one: string, many: string): string {
  return `${grouped(count)} ${count === 1 ? one : many}`;
}
