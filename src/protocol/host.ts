/** Endpoints on the Node side: towards a webview, a worker thread (from either end) and a forked process (from either end). */
// Installs the runtime that vscode-jsonrpc needs.
import 'vscode-jsonrpc/node';
import { Endpoint } from './endpoint.ts';
import type { EndpointOptions, Transport } from './endpoint.ts';

export { Endpoint } from './endpoint.ts';
export type { CallOptions, EndpointOptions, Fault, Serving, Subscription, Transport } from './endpoint.ts';

/** The part of `vscode.Webview` that is used; no vscode import here. */
export interface WebviewLike {
  postMessage(message: unknown): PromiseLike<boolean>;
  onDidReceiveMessage(listener: (message: unknown) => void): { dispose(): unknown };
}

/** A worker_threads `Worker` or `MessagePort`. */
export interface PortLike {
  postMessage(message: unknown): void;
  on(event: string, listener: (value: unknown) => void): unknown;
  off(event: string, listener: (value: unknown) => void): unknown;
}

/** A forked `ChildProcess`, or `process` in the fork. */
export interface ProcessLike {
  send?: ((message: object, callback: (error: Error | null) => void) => boolean) | undefined;
  readonly connected: boolean;
  on(event: string, listener: (value: unknown) => void): unknown;
  off(event: string, listener: (value: unknown) => void): unknown;
}

/** To a webview. `closed` of the panel: call `close()`. VS Code drops what is sent to a hidden, retained one. */
export function webviewEndpoint(webview: WebviewLike, options: EndpointOptions = {}): Endpoint {
  const transport: Transport = {
    send: (message) => Promise.resolve(webview.postMessage(message)),
    listen: (message) => {
      const listening = webview.onDidReceiveMessage(message);
      return () => void listening.dispose();
    },
  };
  return new Endpoint(transport, { peer: 'the view', ...options });
}

/** To a worker thread, or from it to its parent (`parentPort`). Closes when the thread ends. */
export function portEndpoint(port: PortLike, options: EndpointOptions = {}): Endpoint {
  const transport: Transport = {
    send: (message) => {
      port.postMessage(message);
    },
    listen: (message, close) => {
      const failed = (error: unknown): void => {
        close(error instanceof Error ? error.message : String(error));
      };
      const exited = (code: unknown): void => {
        close(`it ended with code ${String(code)}`);
      };
      const closed = (): void => {
        close('its port was closed');
      };
      const handlers: [string, (value: unknown) => void][] = [
        ['message', message],
        ['error', failed],
        ['exit', exited],
        ['close', closed],
      ];
      for (const [event, handler] of handlers) port.on(event, handler);
      return () => {
        for (const [event, handler] of handlers) port.off(event, handler);
      };
    },
  };
  return new Endpoint(transport, { peer: 'the worker', ...options });
}

/** A pipe that carries further JSON-RPC messages, one a line. */
export interface LinesLike {
  on(event: string, listener: (value: unknown) => void): unknown;
  off(event: string, listener: (value: unknown) => void): unknown;
}

export interface ProcessEndpointOptions extends EndpointOptions {
  /** Messages of the same connection that come another way: the heartbeats of a process whose main thread is busy. */
  readonly also?: LinesLike | null;
}

/** Between the end of a channel and giving up on hearing why. */
const LAST_WORDS_MS = 200;
/** Longest line that is taken from such a pipe. */
const MAX_LINE = 65_536;

function listenToLines(pipe: LinesLike, message: (message: unknown) => void): () => void {
  let rest = '';
  const data = (chunk: unknown): void => {
    const lines = (rest + String(chunk)).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > MAX_LINE) rest = '';
    for (const line of lines) {
      try {
        message(JSON.parse(line));
      } catch {
        // Cut off by the end of the process; the next beat says the same.
      }
    }
  };
  // A pipe that breaks tells nothing new: the process's exit does.
  const failed = (): void => undefined;
  pipe.on('data', data);
  pipe.on('error', failed);
  return () => {
    pipe.off('data', data);
  };
}

/** To a forked process (fork it with `serialization: 'advanced'`), or from it to its parent (`process`). */
export function processEndpoint(child: ProcessLike, options: ProcessEndpointOptions = {}): Endpoint {
  const transport: Transport = {
    send: (message) =>
      new Promise<void>((resolve, reject) => {
        // The close, which can say why the process has ended, comes first; a failure to send says only that.
        const fail = (error: Error): void => {
          setTimeout(() => {
            reject(error);
          }, 2 * LAST_WORDS_MS).unref();
        };
        if (child.send === undefined || !child.connected) {
          fail(new Error('the channel is closed'));
          return;
        }
        child.send(message, (error) => {
          if (error === null) resolve();
          else fail(error);
        });
      }),
    listen: (message, close) => {
      // A process that ends closes its channel first; whoever watches it can say more a moment later.
      const gone = (): void => {
        setTimeout(() => {
          close('its channel was closed');
        }, LAST_WORDS_MS).unref();
      };
      child.on('message', message);
      child.on('disconnect', gone);
      const { also = null } = options;
      const stop = also === null ? null : listenToLines(also, message);
      return () => {
        stop?.();
        child.off('message', message);
        child.off('disconnect', gone);
      };
    },
  };
  return new Endpoint(transport, { peer: 'the job process', ...options });
}
