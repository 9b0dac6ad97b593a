/** Typed definitions of messages: a method name and what goes each way, as zod schemas that both ends check at run time. */
import type * as z from 'zod/mini';
import type { JsonObject } from '../common/json.ts';

type Plain = string | number | boolean | bigint | null | undefined | ArrayBufferView | ArrayBuffer;

/**
 * The same data, not to be written to. Messages are snapshots: nobody changes one. JSON of any shape is read-only as it is,
 * and endless to a type that follows it.
 */
export type Frozen<T> = [JsonObject] extends [T] ? T : FrozenEach<T>;

type FrozenEach<T> = T extends Plain
  ? T
  : T extends readonly unknown[]
    ? { readonly [K in keyof T]: Frozen<T[K]> }
    : string extends keyof T
      ? T
      : { readonly [K in keyof T]: Frozen<T[K]> };

/** What a schema lets through, read-only. */
export type Of<S extends z.ZodMiniType> = Frozen<z.output<S>>;

/** A request: params there, a result (or an error) back, progress in between. */
export interface RequestDef<P, R, G = never> {
  readonly kind: 'request';
  readonly method: string;
  readonly params: z.ZodMiniType;
  readonly result: z.ZodMiniType;
  readonly progress: z.ZodMiniType | null;
  /** How long neither answer nor progress may come before the caller gives up; null: for ever. */
  readonly timeoutMs: number | null;
  /** Never there: carries the types. */
  readonly types?: { readonly params: P; readonly result: R; readonly progress: G };
}

/** A message that nobody answers. Always a full snapshot: a hidden webview may miss any number of them. */
export interface NotificationDef<P> {
  readonly kind: 'notification';
  readonly method: string;
  readonly params: z.ZodMiniType;
  readonly types?: { readonly params: P };
}

export type ParamsOf<D> =
  D extends RequestDef<infer P, unknown, unknown> ? P : D extends NotificationDef<infer P> ? P : never;
export type ResultOf<D> = D extends RequestDef<unknown, infer R, unknown> ? R : never;

/** Milliseconds without a sign of life after which a request fails unless its definition says otherwise. */
export const DEFAULT_TIMEOUT_MS = 30_000;

export interface RequestOptions<G extends z.ZodMiniType> {
  readonly progress?: G;
  readonly timeoutMs?: number | null;
}

/** Defines a request. `method` is unique over all of src/protocol: `audience/verb`. */
export function defineRequest<
  P extends z.ZodMiniType,
  R extends z.ZodMiniType,
  G extends z.ZodMiniType = z.ZodMiniNever,
>(method: string, params: P, result: R, options: RequestOptions<G> = {}): RequestDef<Of<P>, Of<R>, Of<G>> {
  return {
    kind: 'request',
    method,
    params,
    result,
    progress: options.progress ?? null,
    timeoutMs: options.timeoutMs === undefined ? DEFAULT_TIMEOUT_MS : options.timeoutMs,
  };
}

/** Defines a notification. */
export function defineNotification<P extends z.ZodMiniType>(method: string, params: P): NotificationDef<Of<P>> {
  return { kind: 'notification', method, params };
}
