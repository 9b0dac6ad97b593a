/**
 * What only the data can tell (drop statistics, importance order, singular bases), computed when an expression first needs
 * it, recorded for the manifest, and taken from there where no source is at hand.
 */
import { createHash } from 'node:crypto';
import { canonicalJson } from '../common/json.ts';

export interface ResolvedRedraw {
  readonly mean: number;
  readonly std: number;
}

/** Shard of every neuron of a dealt FFN: base64 of little-endian uint16, one per neuron. */
export interface ResolvedNormShard {
  readonly owners: string;
}

export interface ResolvedSvd {
  readonly rank: number;
  readonly residual: number;
  /** Krylov blocks that it was found with. */
  readonly steps: number;
  /** sha256 over the basis vectors as little-endian float64. */
  readonly basisSha256: string;
}

/** Router rows of a prompt gate: base64 of little-endian float32, row by row, before rounding to the output's dtype. */
export interface ResolvedGate {
  readonly rows: string;
}

/** By the digest of the expression (`expressionDigest`) that they belong to. */
export interface Resolved {
  readonly redraw: Readonly<Record<string, ResolvedRedraw>>;
  readonly normShard: Readonly<Record<string, ResolvedNormShard>>;
  readonly svd: Readonly<Record<string, ResolvedSvd>>;
  readonly gates: Readonly<Record<string, ResolvedGate>>;
}

/** Collects what gets resolved during a run. */
export class ResolvedLog {
  readonly redraw = new Map<string, ResolvedRedraw>();
  readonly normShard = new Map<string, ResolvedNormShard>();
  readonly svd = new Map<string, ResolvedSvd>();
  readonly gates = new Map<string, ResolvedGate>();

  private readonly taken = new Set<string>();

  constructor(known?: Resolved) {
    if (known !== undefined) this.restore(known);
  }

  /** Adds what an earlier run over the same sources has found. */
  restore(known: Resolved): void {
    for (const [key, value] of Object.entries(known.redraw)) this.redraw.set(key, value);
    for (const [key, value] of Object.entries(known.normShard)) this.normShard.set(key, value);
    for (const [key, value] of Object.entries(known.svd)) this.svd.set(key, value);
    for (const [key, value] of Object.entries(known.gates)) this.gates.set(key, value);
  }

  /** Entries that no earlier call has given; null if there are none. */
  takeNew(): Resolved | null {
    const fresh = <T>(kind: string, map: ReadonlyMap<string, T>): Record<string, T> =>
      Object.fromEntries(
        [...map].filter(([key]) => {
          const isNew = !this.taken.has(kind + key);
          this.taken.add(kind + key);
          return isNew;
        }),
      );
    const news = {
      redraw: fresh('redraw', this.redraw),
      normShard: fresh('normShard', this.normShard),
      svd: fresh('svd', this.svd),
      gates: fresh('gates', this.gates),
    };
    return Object.values(news).some((entries) => Object.keys(entries).length > 0) ? news : null;
  }

  /** As plain data, keys sorted. */
  toJSON(): Resolved {
    const sorted = <T>(map: ReadonlyMap<string, T>): Record<string, T> =>
      Object.fromEntries([...map].sort(([a], [b]) => (a < b ? -1 : 1)));
    return {
      redraw: sorted(this.redraw),
      normShard: sorted(this.normShard),
      svd: sorted(this.svd),
      gates: sorted(this.gates),
    };
  }
}

/** A short name (32 hex digits) for any plain data. */
export function expressionDigest(data: unknown): string {
  return createHash('sha256').update(canonicalJson(data)).digest('hex').slice(0, 32);
}

/** Shard numbers as text, and back. */
export function encodeOwners(owners: Uint16Array): string {
  const bytes = Buffer.alloc(owners.length * 2);
  owners.forEach((owner, i) => bytes.writeUInt16LE(owner, i * 2));
  return bytes.toString('base64');
}

export function decodeOwners(text: string): Uint16Array {
  const bytes = Buffer.from(text, 'base64');
  return Uint16Array.from({ length: Math.floor(bytes.length / 2) }, (_, i) => bytes.readUInt16LE(i * 2));
}

/** Router rows as text, and back. */
export function encodeRows(rows: Float32Array): string {
  const bytes = Buffer.alloc(rows.length * 4);
  rows.forEach((value, i) => bytes.writeFloatLE(value, i * 4));
  return bytes.toString('base64');
}

export function decodeRows(text: string): Float32Array {
  const bytes = Buffer.from(text, 'base64');
  return Float32Array.from({ length: Math.floor(bytes.length / 4) }, (_, i) => bytes.readFloatLE(i * 4));
}
