import type { Problem } from '../checkpoint/types.ts';
import type { Overview } from './wire-types.ts';

/** A problem as it goes over the wire; what is in `details` is for machines and may be of any size. */
export function wireProblem({ details: _details, ...problem }: Problem): Overview['problems'][number] {
  return problem;
}
