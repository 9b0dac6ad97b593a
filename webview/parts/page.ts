/** What every page does first: the connection, the saved state, faults to the log, texts, the root element. */
import { pageEndpoint } from '../../src/protocol/page.ts';
import type { Endpoint, PageApi } from '../../src/protocol/page.ts';
import type { NotificationDef } from '../../src/protocol/define.ts';
import { MoeError, messageOf } from '../../src/common/errors.ts';
import { loadTranslations } from '../strings.ts';
import { registerToolkit } from '../toolkit.ts';

interface VsCodeApi extends PageApi {
  getState(): unknown;
  setState(state: unknown): void;
}

declare function acquireVsCodeApi(): VsCodeApi;

export interface PageContext {
  readonly endpoint: Endpoint;
  /** What was saved, of any shape: judge it. */
  readonly saved: unknown;
  /** Saves; throttled. */
  readonly save: (state: unknown) => void;
}

type FaultDef = NotificationDef<{ readonly message: string; readonly stack: string | null }>;

/** Starts a page. */
export function startPage(tag: string, fault: FaultDef): PageContext {
  const api = acquireVsCodeApi();
  const endpoint = pageEndpoint(api, window, {
    onFault: ({ method, message, error }) => {
      report(`${method}: ${message}`, error instanceof Error ? (error.stack ?? null) : null);
    },
  });
  const report = (message: string, stack: string | null): void => {
    endpoint.notify(fault, { message, stack });
  };
  window.addEventListener('error', (event) => {
    const { error, message } = event as { error?: unknown; message: string };
    report(message, error instanceof Error ? (error.stack ?? null) : null);
  });
  window.addEventListener('unhandledrejection', ({ reason }: { reason: unknown }) => {
    if (isCancelled(reason)) return;
    report(messageOf(reason), reason instanceof Error ? (reason.stack ?? null) : null);
  });
  const root = document.getElementById('root');
  loadTranslations(root?.dataset['l10n']);
  registerToolkit();
  let timer: ReturnType<typeof setTimeout> | null = null;
  let latest: unknown = null;
  const flush = (): void => {
    if (timer === null) return;
    clearTimeout(timer);
    timer = null;
    api.setState(latest);
  };
  window.addEventListener('pagehide', flush);
  const context: PageContext = {
    endpoint,
    saved: api.getState(),
    save: (state) => {
      latest = state;
      timer ??= setTimeout(flush, 150);
    },
  };
  const element = document.createElement(tag);
  if ('context' in element) element.context = context;
  root?.replaceChildren(element);
  return context;
}

/** The user's own cancelling is no failure. */
export function isCancelled(error: unknown): boolean {
  return error instanceof MoeError && error.kind === 'cancelled';
}
