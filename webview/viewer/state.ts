/** What the checkpoint editor remembers over reloads: intent, never data. Read leniently: an old or foreign state is dropped. */
import * as z from 'zod/mini';
import { metricName } from '../../src/protocol/checkpoint.ts';
import { viewerTab } from '../../src/protocol/viewer.ts';

const savedView = z.object({
  tab: z._default(viewerTab, 'overview'),
  filter: z._default(z.string(), ''),
  order: z._default(z.enum(['name', 'size', 'file']), 'name'),
  descending: z._default(z.boolean(), false),
  shape: z._default(z.enum(['tree', 'flat']), 'tree'),
  open: z._default(z.enum(['default', 'all', 'none']), 'default'),
  toggled: z._default(z.array(z.string()), []),
  /** As `open` and `toggled`, while a filter is on: its hits begin open, whatever was closed before. */
  filteredOpen: z._default(z.enum(['default', 'all', 'none']), 'default'),
  filteredToggled: z._default(z.array(z.string()), []),
  tensor: z._default(z.nullable(z.string()), null),
  scroll: z._default(z.number(), 0),
  /** Width of the inspector in pixels. */
  inspector: z._default(z.number(), 420),
  scale: z._default(z.enum(['linear', 'log']), 'linear'),
  metric: z._default(metricName, 'norm'),
  layer: z._default(z.nullable(z.int()), null),
  expert: z._default(z.nullable(z.int()), null),
  part: z._default(z.enum(['all', 'gate', 'up', 'down', 'router']), 'all'),
  expertTable: z._default(z.boolean(), false),
  matrixTable: z._default(z.boolean(), false),
});
export type SavedView = z.output<typeof savedView>;

/** At most this many toggled groups are kept: the state is one JSON text. */
const MAX_TOGGLED = 20_000;

export function readView(saved: unknown): SavedView {
  const read = savedView.safeParse(saved ?? {});
  return read.success ? read.data : savedView.parse({});
}

/** What `open` and `toggled` are kept under, with or without a filter. */
export function groups(view: SavedView): { readonly open: SavedView['open']; readonly toggled: readonly string[] } {
  return view.filter === ''
    ? { open: view.open, toggled: view.toggled }
    : { open: view.filteredOpen, toggled: view.filteredToggled };
}

/** A change of open groups, put where it belongs. */
export function withGroups(view: SavedView, open: SavedView['open'], toggled: readonly string[]): Partial<SavedView> {
  const kept = toggled.slice(-MAX_TOGGLED);
  return view.filter === '' ? { open, toggled: kept } : { filteredOpen: open, filteredToggled: kept };
}

/** `toggled` with one id more, or less. */
export function toggle(toggled: readonly string[], id: string): string[] {
  const set = new Set(toggled);
  if (!set.delete(id)) set.add(id);
  return [...set].slice(-MAX_TOGGLED);
}
