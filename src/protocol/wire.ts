/** Schemas that several audiences share: problems, error pages, numbers that JSON cannot carry, bounded texts and lists. */
import * as z from 'zod/mini';
import type { JsonObject, JsonValue } from '../common/json.ts';
import type { Of } from './define.ts';

/** A message with more than this in one list is a bug of the sender: everything long is paged. */
const MAX_LIST = 1_000_000;

/** A list of bounded length. */
export function list<T extends z.ZodMiniType>(item: T, max = MAX_LIST) {
  return z.array(item).check(z.maxLength(max));
}

/** Text of bounded length (UTF-16 units). Names from files are data and may be long; nothing is longer than this. */
export const text = z.string().check(z.maxLength(16_777_216));
/** A finite number. */
export const num = z.number();
/** A count, index or byte offset: a whole number, at least 0, exact. */
export const count = z.int().check(z.gte(0));
export const flag = z.boolean();

/** A measured number. A webview's messages are JSON, where NaN and infinities would silently become null: they go as words. */
export const measured = z.union([z.number(), z.enum(['NaN', 'Infinity', '-Infinity'])]);
export type Measured = z.output<typeof measured>;

/** A number as it may be sent. */
export function toMeasured(value: number): Measured {
  if (Number.isNaN(value)) return 'NaN';
  return value === Infinity ? 'Infinity' : value === -Infinity ? '-Infinity' : value;
}

/** The number that was sent. */
export function fromMeasured(value: Measured): number {
  return typeof value === 'number' ? value : Number(value);
}

/** Float32 values in one block; webview messages, ports and forks carry typed arrays whole. Compare by tag: realms differ. */
export const floats = z.custom<Float32Array>(
  (value) => Object.prototype.toString.call(value) === '[object Float32Array]',
  'expected Float32Array',
);

/** Plain JSON of any shape (a config, a recipe value). Its depth was bounded by whoever read it from a file. */
export const json = z.custom<JsonValue>((value) => value !== undefined && typeof value !== 'function', 'expected JSON');
export const jsonObject = z.custom<JsonObject>(
  (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  'expected a JSON object',
);

/** Further data of a problem or error: plain JSON, shown by nobody, copied with diagnostics. */
export const details = z.custom<Readonly<Record<string, unknown>>>(
  (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  'expected a JSON object',
);

export const nothing = z.object({});

export const severity = z.enum(['error', 'warning', 'info']);

/** As `Problem` of src/checkpoint. */
export const problem = z.object({
  severity,
  code: text,
  message: text,
  file: z.exactOptional(text),
  tensor: z.exactOptional(text),
  byte: z.exactOptional(num),
  hint: z.exactOptional(text),
  details: z.exactOptional(details),
});
export type WireProblem = Of<typeof problem>;

/** What a page shows instead of a view: what is wrong, where, and what to do. */
export const errorPage = z.object({
  title: text,
  message: text,
  /** Stable kebab-case code. */
  code: text,
  kind: z.enum(['check', 'usage', 'input', 'resources', 'cancelled', 'internal']),
  file: z.nullable(text),
  tensor: z.nullable(text),
  /** Absolute byte offset in the file. */
  byte: z.nullable(num),
  /** Field of a recipe or config, dotted. */
  field: z.nullable(text),
  hint: z.nullable(text),
  /** Buttons; the id comes back in `viewer/command`. */
  actions: list(z.object({ id: text, label: text }), 20),
});
export type ErrorPage = Of<typeof errorPage>;

/** Plain progress of something countable. */
export const stepProgress = z.object({ done: count, total: count, what: text });
export type StepProgress = Of<typeof stepProgress>;

/** A page of something longer: items from `start` on, of `total`. */
export const pageRequest = z.object({ start: count, count: z.int().check(z.gte(0), z.lte(2000)) });

/** A field of two checkpoints, or a row of facts: a label and a value to show, with the exact value to copy. */
export const fact = z.object({
  label: text,
  value: text,
  /** What *Copy* puts on the clipboard: exact, without units. */
  exact: z.nullable(text),
  /** Why, or how it was counted. */
  note: z.nullable(text),
});
export type Fact = Of<typeof fact>;

export const exactness = z.object({
  class: z.enum(['bit-exact', 'exact', 'approximate', 'not-preserving']),
  reason: text,
});
