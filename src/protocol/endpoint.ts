/**
 * One end of a connection: typed requests and notifications over any transport, carried by vscode-jsonrpc. Both ends check
 * what they send and what they get; a request fails, times out, can be cancelled and can report progress.
 *
 * vscode-jsonrpc needs its runtime installed: import `host.ts` (Node) or `page.ts` (webview), not this file alone.
 */
import {
  AbstractMessageReader,
  AbstractMessageWriter,
  CancellationTokenSource,
  createMessageConnection,
  ErrorCodes,
  ProgressType,
  ResponseError,
} from 'vscode-jsonrpc';
import type { CancellationToken, DataCallback, Disposable, Message, MessageConnection } from 'vscode-jsonrpc';
import * as z from 'zod/mini';
import { MoeError, messageOf } from '../common/errors.ts';
import type { NotificationDef, RequestDef } from './define.ts';
import { fromWireError, toWireError, wireError } from './errors.ts';

/** What carries messages: a webview, a port, a process. Messages are structured-cloneable objects. */
export interface Transport {
  /** Sends, or throws where the other end is known to be gone. */
  send(message: object): void | Promise<unknown>;
  /** Calls `message` for whatever arrives and `close` once when the other end is gone. Returns how to stop. */
  listen(message: (message: unknown) => void, close: (reason: string) => void): () => void;
}

/** Something that the other side did wrong, or that went wrong here while serving it: for the log. */
export interface Fault {
  readonly method: string;
  readonly message: string;
  readonly error: unknown;
}

export interface EndpointOptions {
  /** Names the other side in messages: "The worker did not answer". */
  readonly peer?: string;
  /** Where faults go; a server never swallows one. */
  readonly onFault?: (fault: Fault) => void;
}

export interface CallOptions<G> {
  readonly signal?: AbortSignal | undefined;
  /** Overrides the definition's; null: wait for ever. Progress counts as a sign of life. */
  readonly timeoutMs?: number | null;
  readonly onProgress?: ((progress: G) => void) | undefined;
}

/** What a request handler gets beside its params. */
export interface Serving<G> {
  /** Aborted when the caller cancels or the connection closes. */
  readonly signal: AbortSignal;
  /** Reports progress; dropped where the caller does not listen. */
  readonly progress: (progress: G) => void;
}

export interface Subscription {
  dispose(): void;
}

const progressType = new ProgressType<unknown>();
const requestEnvelope = z.object({ value: z.unknown(), progress: z.exactOptional(z.string()) });
const noteEnvelope = z.object({ value: z.unknown() });

class Reader extends AbstractMessageReader {
  private stop: (() => void) | null = null;
  constructor(
    private readonly transport: Transport,
    private readonly onClosed: (reason: string) => void,
  ) {
    super();
  }

  listen(callback: DataCallback): Disposable {
    this.stop = this.transport.listen(
      (message) => {
        // Other things are posted to a window too; what is no JSON-RPC is not for us.
        if (isMessage(message)) callback(message);
      },
      (reason) => {
        this.onClosed(reason);
      },
    );
    return this;
  }

  override dispose(): void {
    this.stop?.();
    this.stop = null;
    super.dispose();
  }
}

class Writer extends AbstractMessageWriter {
  constructor(private readonly transport: Transport) {
    super();
  }

  async write(message: Message): Promise<void> {
    await this.transport.send(message);
  }

  end(): void {
    // The transport belongs to whoever made it.
  }
}

function isMessage(value: unknown): value is Message {
  return typeof value === 'object' && value !== null && 'jsonrpc' in value && value.jsonrpc === '2.0';
}

function issuesText(error: {
  readonly issues: readonly { readonly path: PropertyKey[]; readonly message: string }[];
}): string {
  const shown = error.issues
    .slice(0, 3)
    .map(({ path, message }) => `${path.map(String).join('.') || 'value'}: ${message}`);
  return `${shown.join('; ')}${error.issues.length > 3 ? `; ${String(error.issues.length - 3)} more` : ''}`;
}

export class Endpoint {
  private readonly connection: MessageConnection;
  private readonly peer: string;
  private readonly onFault: (fault: Fault) => void;
  private readonly closing = new AbortController();
  private readonly closeListeners = new Set<(reason: string) => void>();
  private closedBecause: string | null = null;
  private tokens = 0;

  constructor(transport: Transport, options: EndpointOptions = {}) {
    this.peer = options.peer ?? 'the other side';
    this.onFault = options.onFault ?? (() => undefined);
    const log = (message: string): void => {
      this.onFault({ method: '', message, error: null });
    };
    const reader = new Reader(transport, (reason) => {
      this.close(reason);
    });
    this.connection = createMessageConnection(reader, new Writer(transport), {
      error: log,
      warn: log,
      info: () => undefined,
      log: () => undefined,
    });
    this.connection.onError(([error]) => {
      this.onFault({ method: '', message: error.message, error });
    });
    // Progress or a note that came too late for its listener is no fault.
    this.connection.onUnhandledProgress(() => undefined);
    this.connection.onUnhandledNotification((note) => {
      if (!note.method.startsWith('$/')) log(`nobody listens to ${note.method}`);
    });
    this.connection.listen();
  }

  get closed(): boolean {
    return this.closedBecause !== null;
  }

  /** Calls back once, when the connection closes (at once if it has). */
  onClose(listener: (reason: string) => void): Subscription {
    if (this.closedBecause !== null) listener(this.closedBecause);
    else this.closeListeners.add(listener);
    return { dispose: () => void this.closeListeners.delete(listener) };
  }

  /**
   * Asks the other side. Rejects with the MoeError that it threw, or with `cancelled`, `rpc-timeout`, `rpc-closed`,
   * `rpc-invalid` (what was sent or came back is not what the definition says), `rpc-unknown` (nobody serves the method).
   */
  async request<P, R, G>(def: RequestDef<P, R, G>, params: P, options: CallOptions<G> = {}): Promise<R> {
    const { method } = def;
    if (this.closedBecause !== null) throw this.closedError(method);
    if (options.signal?.aborted === true) throw cancelled();
    const value = check(def.params, params, `the request ${method}`);
    const token = `${method}#${String(++this.tokens)}`;
    const wantsProgress = def.progress !== null && options.onProgress !== undefined;
    const cancel = new CancellationTokenSource();
    const limit = options.timeoutMs === undefined ? def.timeoutMs : options.timeoutMs;
    const waiting = new Waiting<R>(
      limit,
      () =>
        new MoeError(
          'internal',
          'rpc-timeout',
          `${capital(this.peer)} did not answer ${method} within ${String((limit ?? 0) / 1000)} s`,
          {
            hint: 'Try again; if it happens every time, restart the window.',
          },
        ),
    );
    const progress = wantsProgress
      ? this.connection.onProgress(progressType, token, (sent) => {
          waiting.alive();
          const read = def.progress?.safeParse(sent);
          if (read?.success === true) options.onProgress?.(read.data as G);
          else this.onFault({ method, message: `invalid progress of ${method}`, error: read?.error ?? null });
        })
      : null;
    const abort = (): void => {
      waiting.reject(cancelled());
    };
    const onClose = this.onClose(() => {
      waiting.reject(this.closedError(method));
    });
    options.signal?.addEventListener('abort', abort, { once: true });
    try {
      const envelope = wantsProgress ? { value, progress: token } : { value };
      this.connection.sendRequest<unknown>(method, envelope, cancel.token).then(
        (sent) => {
          try {
            waiting.resolve(check(def.result, sent, `the answer of ${this.peer} to ${method}`) as R);
          } catch (error) {
            waiting.reject(error);
          }
        },
        (error: unknown) => {
          waiting.reject(this.failure(method, error));
        },
      );
      return await waiting.promise;
    } catch (error) {
      // Where the other side still works on it, it may stop.
      if (!waiting.answered) cancel.cancel();
      throw error;
    } finally {
      options.signal?.removeEventListener('abort', abort);
      onClose.dispose();
      progress?.dispose();
      cancel.dispose();
    }
  }

  /** Tells the other side. Throws where the params are invalid; a closed connection swallows it, as nobody is there. */
  notify<P>(def: NotificationDef<P>, params: P): void {
    const value = check(def.params, params, `the notification ${def.method}`);
    if (this.closedBecause !== null) return;
    this.connection.sendNotification(def.method, { value }).catch((error: unknown) => {
      if (this.closedBecause === null) this.onFault({ method: def.method, message: messageOf(error), error });
    });
  }

  /** Serves a request. One handler per method; a second one replaces the first. */
  handle<P, R, G>(def: RequestDef<P, R, G>, handler: (params: P, serving: Serving<G>) => R | Promise<R>): Subscription {
    return this.connection.onRequest(def.method, async (sent: unknown, cancelToken: CancellationToken) => {
      const envelope = requestEnvelope.safeParse(sent);
      const params = def.params.safeParse(envelope.success ? envelope.data.value : undefined);
      if (!envelope.success || !params.success) {
        const message = `invalid params of ${def.method}: ${params.success ? 'no envelope' : issuesText(params.error)}`;
        this.onFault({ method: def.method, message, error: null });
        return new ResponseError(ErrorCodes.InvalidParams, message, toWireError(invalid(message)));
      }
      const token = envelope.data.progress;
      const aborter = new AbortController();
      const stop = (): void => {
        aborter.abort();
      };
      this.closing.signal.addEventListener('abort', stop, { once: true });
      const listening = cancelToken.onCancellationRequested(stop);
      if (cancelToken.isCancellationRequested) stop();
      let open = true;
      const progress = (value: G): void => {
        if (!open || token === undefined || this.closed) return;
        const checked = check(def.progress ?? z.never(), value, `the progress of ${def.method}`);
        this.connection.sendProgress(progressType, token, checked).catch(() => undefined);
      };
      try {
        const result = await handler(params.data as P, { signal: aborter.signal, progress });
        return check(def.result, result, `the answer to ${def.method}`);
      } catch (error) {
        const wire = toWireError(error);
        if (wire.kind === 'internal') this.onFault({ method: def.method, message: wire.message, error });
        return new ResponseError(ErrorCodes.InternalError, wire.message, wire);
      } finally {
        open = false;
        listening.dispose();
        this.closing.signal.removeEventListener('abort', stop);
      }
    });
  }

  /** Listens to a notification. Invalid ones are faults, not calls. */
  on<P>(def: NotificationDef<P>, listener: (params: P) => void): Subscription {
    return this.connection.onNotification(def.method, (sent: unknown) => {
      const envelope = noteEnvelope.safeParse(sent);
      const params = def.params.safeParse(envelope.success ? envelope.data.value : undefined);
      if (!params.success) {
        this.onFault({
          method: def.method,
          message: `invalid ${def.method}: ${issuesText(params.error)}`,
          error: null,
        });
        return;
      }
      try {
        listener(params.data as P);
      } catch (error) {
        this.onFault({ method: def.method, message: messageOf(error), error });
      }
    });
  }

  /** Closes this end: open requests reject, handlers are aborted. The transport itself stays its owner's. */
  close(reason = 'closed'): void {
    if (this.closedBecause !== null) return;
    this.closedBecause = reason;
    this.closing.abort();
    for (const listener of this.closeListeners) listener(reason);
    this.closeListeners.clear();
    this.connection.dispose();
  }

  dispose(): void {
    this.close();
  }

  private closedError(method: string): MoeError {
    return new MoeError(
      'internal',
      'rpc-closed',
      `${capital(this.peer)} is gone (${this.closedBecause ?? 'closed'}): ${method} has no answer`,
    );
  }

  private failure(method: string, error: unknown): unknown {
    if (this.closedBecause !== null) return this.closedError(method);
    if (!(error instanceof ResponseError)) return error;
    const wire = wireError.safeParse(error.data);
    if (wire.success) return fromWireError(wire.data);
    if (error.code === ErrorCodes.MethodNotFound)
      return new MoeError('internal', 'rpc-unknown', `${capital(this.peer)} does not serve ${method}`);
    return new MoeError('internal', 'rpc-failed', `${method}: ${error.message}`, {}, { cause: error });
  }
}

/** A promise with an idle limit. */
class Waiting<R> {
  readonly promise: Promise<R>;
  answered = false;
  private settled = false;
  private timer: ReturnType<typeof setTimeout> | null = null;
  private settle: { resolve: (value: R) => void; reject: (error: unknown) => void } | null = null;

  constructor(
    private readonly limit: number | null,
    private readonly late: () => MoeError,
  ) {
    this.promise = new Promise<R>((resolve, reject) => {
      this.settle = { resolve, reject };
    });
    this.alive();
  }

  /** The other side lives: the limit starts anew. */
  alive(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    if (this.limit === null || this.settled) return;
    this.timer = setTimeout(() => {
      this.reject(this.late());
    }, this.limit);
  }

  resolve(value: R): void {
    if (!this.end()) return;
    this.answered = true;
    this.settle?.resolve(value);
  }

  reject(error: unknown): void {
    if (!this.end()) return;
    this.settle?.reject(error);
  }

  private end(): boolean {
    if (this.settled) return false;
    this.settled = true;
    if (this.timer !== null) clearTimeout(this.timer);
    return true;
  }
}

function check(schema: z.ZodMiniType, value: unknown, what: string): unknown {
  const read = schema.safeParse(value);
  if (read.success) return read.data;
  throw invalid(`${what} is not what the protocol says: ${issuesText(read.error)}`);
}

function invalid(message: string): MoeError {
  return new MoeError('internal', 'rpc-invalid', message);
}

function cancelled(): MoeError {
  return new MoeError('cancelled', 'cancelled', 'Cancelled');
}

function capital(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1);
}
