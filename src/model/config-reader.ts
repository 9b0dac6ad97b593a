/**
 * Reads config.json fields with types, bounds and family defaults. Whatever had to be assumed is noted, so that nothing is
 * guessed in silence.
 */
import { MoeError } from '../common/errors.ts';
import { isJsonObject } from '../common/json.ts';
import type { JsonObject, JsonValue } from '../common/json.ts';

/** Largest integer accepted for a size in a config: bounds what a hostile file can make us allocate. */
const MAX_SIZE = 2 ** 31;

export class ConfigReader {
  readonly notes: string[] = [];

  constructor(
    readonly config: JsonObject,
    private readonly prefix = '',
  ) {}

  /** The raw value; null counts as absent, as transformers does for almost every field. */
  value(key: string): JsonValue | undefined {
    if (!Object.hasOwn(this.config, key)) return undefined;
    const value = this.config[key];
    return value === null ? undefined : value;
  }

  has(key: string): boolean {
    return Object.hasOwn(this.config, key);
  }

  /** A positive integer up to `max`. Without a default the field is required. */
  size(key: string, fallback?: number, max = MAX_SIZE): number {
    const value = this.value(key);
    if (value === undefined) return this.#absent(key, fallback);
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1 || value > max)
      throw this.bad(key, value, `an integer from 1 to ${max}`);
    return value;
  }

  /** An integer from `least` on. */
  integer(key: string, fallback: number, least: number): number {
    const value = this.number(key, fallback);
    if (!Number.isSafeInteger(value) || value < least) throw this.bad(key, value, `an integer from ${least} on`);
    return value;
  }

  /** A finite number. */
  number(key: string, fallback?: number): number {
    const value = this.value(key);
    if (value === undefined) return this.#absent(key, fallback);
    if (typeof value !== 'number' || !Number.isFinite(value)) throw this.bad(key, value, 'a finite number');
    return value;
  }

  /** A finite number, or null when absent (no note: absence is the normal case). */
  optionalNumber(key: string): number | null {
    return this.value(key) === undefined ? null : this.number(key);
  }

  bool(key: string, fallback: boolean): boolean {
    const value = this.value(key);
    if (value === undefined) return fallback;
    if (typeof value !== 'boolean') throw this.bad(key, value, 'true or false');
    return value;
  }

  text(key: string, fallback: string): string {
    const value = this.value(key);
    if (value === undefined) return fallback;
    if (typeof value !== 'string') throw this.bad(key, value, 'a string');
    return value;
  }

  object(key: string): JsonObject | undefined {
    const value = this.value(key);
    if (value === undefined) return undefined;
    if (!isJsonObject(value)) throw this.bad(key, value, 'an object');
    return value;
  }

  /** A list of integers, or null when absent. */
  integers(key: string): readonly number[] | null {
    const value = this.value(key);
    if (value === undefined) return null;
    if (
      !Array.isArray(value) ||
      !value.every((item): item is number => typeof item === 'number' && Number.isSafeInteger(item))
    )
      throw this.bad(key, value, 'a list of integers');
    return value;
  }

  /** A list of finite numbers; required. */
  numbers(key: string): readonly number[] {
    const value = this.value(key);
    if (
      !Array.isArray(value) ||
      !value.every((item): item is number => typeof item === 'number' && Number.isFinite(item))
    )
      throw this.bad(key, value ?? null, 'a list of numbers');
    return value;
  }

  /** A list of strings, or null when absent. */
  texts(key: string): readonly string[] | null {
    const value = this.value(key);
    if (value === undefined) return null;
    if (!Array.isArray(value) || !value.every((item): item is string => typeof item === 'string'))
      throw this.bad(key, value, 'a list of strings');
    return value;
  }

  note(text: string): void {
    this.notes.push(text);
  }

  field(key: string): string {
    return `${this.prefix}${key}`;
  }

  bad(key: string, value: JsonValue, expected: string): MoeError {
    const shown = JSON.stringify(value);
    return new MoeError(
      'input',
      'bad-config-field',
      `config.json: ${this.field(key)} is ${shown.length > 80 ? `${shown.slice(0, 80)}…` : shown}, expected ${expected}.`,
      {
        file: 'config.json',
        field: this.field(key),
      },
    );
  }

  #absent(key: string, fallback: number | undefined): number {
    if (fallback === undefined) {
      throw new MoeError('input', 'missing-config-field', `config.json has no ${this.field(key)}.`, {
        file: 'config.json',
        field: this.field(key),
        hint: 'The model cannot be built without it.',
      });
    }
    this.note(`${this.field(key)} is absent: ${fallback} assumed (transformers' default)`);
    return fallback;
  }
}
