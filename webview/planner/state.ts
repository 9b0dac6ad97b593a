/** What the plan editor remembers of itself. */
import * as z from 'zod/mini';

const savedView = z.object({
  opened: z._default(z.array(z.string()), []),
  /** Groups of fields that are closed. */
  closed: z._default(z.array(z.string()), ['more']),
  text: z._default(z.boolean(), false),
  verify: z._default(z.boolean(), true),
  scroll: z._default(z.number(), 0),
});
export type SavedView = z.output<typeof savedView>;

/** A saved view, of any shape, as one that can be used. */
export function readView(saved: unknown): SavedView {
  const read = savedView.safeParse(saved ?? {});
  return read.success ? read.data : savedView.parse({});
}
