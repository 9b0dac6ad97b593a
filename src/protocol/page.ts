/** The endpoint on the webview's side. */
// Installs the runtime that vscode-jsonrpc needs.
import 'vscode-jsonrpc/browser';
import { Endpoint } from './endpoint.ts';
import type { EndpointOptions, Transport } from './endpoint.ts';

export { Endpoint } from './endpoint.ts';
export type { CallOptions, EndpointOptions, Fault, Serving, Subscription } from './endpoint.ts';

/** What `acquireVsCodeApi()` gives, as far as it is used. */
export interface PageApi {
  postMessage(message: unknown): void;
}

/** `window`, as far as it is used. */
export interface PageWindow {
  addEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void;
  removeEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void;
}

/** The connection of a webview page to the extension. Make it once, at the top of the page's entry. */
export function pageEndpoint(api: PageApi, page: PageWindow, options: EndpointOptions = {}): Endpoint {
  const transport: Transport = {
    send: (message) => {
      api.postMessage(message);
    },
    listen: (message) => {
      const listener = (event: { readonly data: unknown }): void => {
        message(event.data);
      };
      page.addEventListener('message', listener);
      return () => {
        page.removeEventListener('message', listener);
      };
    },
  };
  return new Endpoint(transport, { peer: 'the extension', ...options });
}
