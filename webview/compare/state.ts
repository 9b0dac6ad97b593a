/** What the comparison remembers of itself. */
import * as z from 'zod/mini';
import { compareState } from '../../src/protocol/comparing.ts';

export const tabName = z.enum(['tensors', 'experts', 'config']);
const savedView = z.object({
  tab: z._default(tabName, 'tensors'),
  filter: z._default(z.string(), ''),
  states: z._default(z.array(compareState), []),
  order: z._default(z.enum(['name', 'distance']), 'name'),
  table: z._default(z.boolean(), false),
});
export type SavedView = z.output<typeof savedView>;

/** A saved view, of any shape, as one that can be used. */
export function readView(saved: unknown): SavedView {
  const read = savedView.safeParse(saved ?? {});
  return read.success ? read.data : savedView.parse({});
}
