/**
 * The host's end inside the page, for tests: `acquireVsCodeApi` answers over an Endpoint of the real protocol, so that both
 * ends check every message. What a page saved with setState is kept in sessionStorage, as VS Code keeps it over a reload.
 */
import 'vscode-jsonrpc/browser';
import { Endpoint } from '../../../src/protocol/endpoint.ts';

interface PageGlobals {
  acquireVsCodeApi?: () => {
    postMessage: (message: unknown) => void;
    getState: () => unknown;
    setState: (state: unknown) => void;
  };
  dispatchEvent: (event: unknown) => void;
  readonly MessageEvent: new (type: string, init: { readonly data: unknown }) => unknown;
  readonly sessionStorage: { getItem: (key: string) => string | null; setItem: (key: string, value: string) => void };
  readonly location: { readonly search: string };
  /** What the tests read. */
  moeTest?: TestRecord;
}

export interface TestRecord {
  readonly faults: string[];
  readonly copied: string[];
  readonly commands: string[];
  readonly calls: string[];
  /** Lets a test speak for the host. */
  readonly say: Record<string, (value: unknown) => void>;
}

const page = globalThis as unknown as PageGlobals;

export function scenario(): string {
  return new URLSearchParams(page.location.search).get('scenario') ?? 'default';
}

export const record: TestRecord = { faults: [], copied: [], commands: [], calls: [], say: {} };

/** Makes the connection and installs `acquireVsCodeApi`. */
export function installHost(name: string): Endpoint {
  page.moeTest = record;
  let received: ((message: unknown) => void) | null = null;
  const waiting: unknown[] = [];
  const endpoint = new Endpoint(
    {
      send: (message) => {
        const data: unknown = structuredClone(message);
        setTimeout(() => {
          page.dispatchEvent(new page.MessageEvent('message', { data }));
        }, 0);
      },
      listen: (message) => {
        received = message;
        for (const each of waiting.splice(0)) message(each);
        return () => undefined;
      },
    },
    {
      peer: 'the view',
      onFault: ({ method, message }) => {
        record.faults.push(`host: ${method}: ${message}`);
      },
    },
  );
  const key = `moe-state-${name}-${scenario()}`;
  page.acquireVsCodeApi = () => ({
    postMessage: (message) => {
      const data: unknown = structuredClone(message);
      if (received === null) waiting.push(data);
      else
        setTimeout(() => {
          received?.(data);
        }, 0);
    },
    getState: () => {
      const text = page.sessionStorage.getItem(key);
      return text === null ? undefined : (JSON.parse(text) as unknown);
    },
    setState: (state) => {
      page.sessionStorage.setItem(key, JSON.stringify(state));
    },
  });
  return endpoint;
}

/** A little later, unless cancelled. */
export function later(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Numbers that look random and are the same every time. */
export function numbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 4_294_967_296;
  };
}
