/** Links into checkpoints: `vscode://moe-workbench.moe-workbench/open?path=…&tensor=…&tab=…&layer=…&expert=…`. Pure. */
import { isAbsolute } from 'node:path';
import type { ViewerPlace } from '../protocol/viewer.ts';

export interface Link {
  readonly path: string;
  readonly place: ViewerPlace;
}

const TABS = ['overview', 'tensors', 'experts', 'compare'] as const;

/** Null where the link is not one of ours. Opening is all that a link can do. */
export function parseLink(path: string, query: string): Link | null {
  if (path !== '/open') return null;
  const fields = new URLSearchParams(query);
  const target = fields.get('path') ?? '';
  if (!isAbsolute(target) || target.includes('\0')) return null;
  // A share of another machine would be asked for the user's name and password.
  if (target.startsWith('\\\\') || target.startsWith('//')) return null;
  const number = (name: string): number | null => {
    const value = fields.get(name);
    return value !== null && /^\d{1,9}$/.test(value) ? Number(value) : null;
  };
  const [tensor, layer, expert] = [fields.get('tensor'), number('layer'), number('expert')];
  const tab = TABS.find((one) => one === fields.get('tab'));
  return {
    path: target,
    place: { tab: tab ?? (tensor !== null ? 'tensors' : layer !== null ? 'experts' : null), tensor, layer, expert },
  };
}
