/** Typed reading of metadata: each getter names key, type expected and type found. */
import { MoeError } from '../common/errors.ts';
import type { GgufHeader, GgufValue } from './types.ts';

type Source = Pick<GgufHeader, 'path' | 'metadata' | 'metadataTypes'>;

/** Reads metadata by key and remembers which keys were used, so that what was ignored can be reported. */
export class Metadata {
  private readonly used = new Set<string>();

  constructor(
    private readonly source: Source,
    /** `llama`, `qwen2`, …: `{arch}` in keys stands for it. */
    readonly arch: string,
  ) {}

  private full(key: string): string {
    return key.replace('{arch}', this.arch);
  }

  private raw(key: string): GgufValue | undefined {
    const full = this.full(key);
    this.used.add(full);
    return this.source.metadata.get(full);
  }

  private wrong(key: string, expected: string): MoeError {
    const full = this.full(key);
    const found = this.source.metadataTypes.get(full) ?? 'nothing';
    return new MoeError(
      'input',
      'gguf-metadata',
      `${this.source.path}: "${full}" is ${found}; ${expected} is expected`,
      {
        file: this.source.path,
        field: full,
      },
    );
  }

  has(key: string): boolean {
    return this.source.metadata.has(this.full(key));
  }

  /** Marks keys as looked at without reading them. */
  use(...keys: readonly string[]): void {
    for (const key of keys) this.used.add(this.full(key));
  }

  text(key: string): string | undefined {
    const value = this.raw(key);
    if (value === undefined || typeof value === 'string') return value;
    throw this.wrong(key, 'a string');
  }

  number(key: string): number | undefined {
    const value = this.raw(key);
    if (value === undefined) return undefined;
    if (typeof value === 'number' && Number.isFinite(value)) return value;
    throw this.wrong(key, 'a finite number');
  }

  flag(key: string): boolean | undefined {
    const value = this.raw(key);
    if (value === undefined || typeof value === 'boolean') return value;
    throw this.wrong(key, 'a boolean');
  }

  /** A non-negative integer, as a count or id. */
  integer(key: string): number | undefined {
    const value = this.number(key);
    if (value === undefined || (Number.isSafeInteger(value) && value >= 0)) return value;
    throw this.wrong(key, 'a non-negative integer');
  }

  requireInteger(key: string): number {
    const value = this.integer(key);
    if (value === undefined) throw this.wrong(key, 'a positive integer');
    if (value === 0)
      throw new MoeError('input', 'gguf-metadata', `${this.source.path}: "${this.full(key)}" is 0`, {
        file: this.source.path,
        field: this.full(key),
      });
    return value;
  }

  /**
   * An integer that some architectures give per layer. Equal values are one value.
   * @throws MoeError where layers differ: the families written here have one value for all layers
   */
  uniformInteger(key: string): number | undefined {
    const value = this.raw(key);
    if (value === undefined || typeof value !== 'object') return this.integer(key);
    const numbers = value.kind === 'numbers' ? Array.from(value.values, Number) : [];
    const [first] = numbers;
    if (first === undefined || !numbers.every((n) => Number.isSafeInteger(n) && n >= 0))
      throw this.wrong(key, 'an integer or an array of integers');
    if (numbers.every((n) => n === first)) return first;
    throw new MoeError(
      'input',
      'gguf-per-layer-value',
      `${this.source.path}: "${this.full(key)}" differs between layers (${[...new Set(numbers)].slice(0, 6).join(', ')}), which no supported family has`,
      { file: this.source.path, field: this.full(key) },
    );
  }

  strings(key: string): readonly string[] | undefined {
    const value = this.raw(key);
    if (value === undefined) return undefined;
    if (typeof value === 'object' && value.kind === 'strings') return value.values;
    // An empty array may carry any element type.
    if (typeof value === 'object' && value.values.length === 0) return [];
    throw this.wrong(key, 'an array of strings');
  }

  numbers(key: string): ArrayLike<number> | undefined {
    const value = this.raw(key);
    if (value === undefined) return undefined;
    if (
      typeof value === 'object' &&
      value.kind === 'numbers' &&
      !(value.values instanceof BigInt64Array) &&
      !(value.values instanceof BigUint64Array)
    ) {
      return value.values;
    }
    throw this.wrong(key, 'an array of numbers');
  }

  /** Keys of this architecture (`llama.*`) that no getter asked for. */
  unusedKeys(): string[] {
    return [...this.source.metadata.keys()].filter((key) => key.startsWith(`${this.arch}.`) && !this.used.has(key));
  }
}

/**
 * The shortest decimal that rounds to the same float32: 9.999999747378752e-06 is 1e-05 again.
 * A value that is no float32 (a FLOAT64 in the file) comes back unchanged.
 */
export function shortestFloat32(value: number): number {
  if (Math.fround(value) !== value) return value;
  for (let digits = 1; digits <= 9; digits++) {
    const candidate = Number(value.toPrecision(digits));
    if (Math.fround(candidate) === value) return candidate;
  }
  return value;
}
