/** What an error page offers to do. The ids come back with `errorAction`. */
import type { WireError } from '../protocol/errors.ts';
import type { ErrorPage } from '../protocol/wire.ts';
import { t } from './words.ts';

export type ErrorActionId = 'reload' | 'openText' | 'examine' | 'rebuildIndex' | 'reveal' | 'copyDiagnostics';

const LABELS: Readonly<Record<ErrorActionId, () => string>> = {
  reload: () => t('Try Again'),
  openText: () => t('Open as Text'),
  examine: () => t('Examine the Folder'),
  rebuildIndex: () => t('Rebuild the Index'),
  reveal: () => t('Show in Explorer'),
  copyDiagnostics: () => t('Copy Diagnostics'),
};

export function isErrorAction(id: string): id is ErrorActionId {
  return Object.hasOwn(LABELS, id);
}

/** The buttons that fit an error, most useful first. */
export function pageActions({ code, place }: Pick<WireError, 'code' | 'place'>): ErrorPage['actions'] {
  const ids: ErrorActionId[] = ['reload'];
  if (/index/.test(code)) ids.push('rebuildIndex');
  if (/lfs|json|config/.test(code) && place.file !== undefined) ids.push('openText');
  ids.push('examine', 'reveal', 'copyDiagnostics');
  return ids.map((id) => ({ id, label: LABELS[id]() }));
}
