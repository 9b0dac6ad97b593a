/**
 * The sums of an expert trace as bytes, so that an interrupted evaluation goes on with them. One JSON line says what follows
 * (scalars, lengths, a digest), then come all arrays as little-endian numbers, in the order of `arraysOf`.
 */
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { open } from 'node:fs/promises';
import { endianness } from 'node:os';
import * as z from 'zod/mini';
import { MoeError, systemCodeOf } from '../common/errors.ts';
import type { ExpertTrace, TraceWindow } from './trace.ts';
import type { LayerSums } from './trace-types.ts';

const KIND = 'moe-trace-state';
const VERSION = 1;
/** A header holds names of domains and few numbers per layer; what is longer is none. */
const MAX_HEADER_BYTES = 2 ** 26;
const NEWLINE = 0x0a;
const STEP = 2 ** 16;

const count = z.number().check(z.int(), z.gte(0));
/** Infinity (the smallest margin before any token) is null in JSON. */
const finite = z.nullable(z.number());
const layerHeader = z.strictObject({
  layer: count,
  tokens: count,
  pads: count,
  prefixTokens: count,
  nonFinite: count,
  entropy: finite,
  lse2: finite,
  margin: finite,
  minMargin: finite,
  marginTokens: count,
  bf16Ties: count,
  windows: count,
  batches: count,
  batchMaxVio: finite,
  untrackedTokens: count,
  dropped: z.array(count),
  domains: z.array(z.tuple([z.string(), count])),
  vocabularyRows: count,
  window: z.strictObject({ tokens: count, positions: count }),
});
const header = z.strictObject({
  kind: z.literal(KIND),
  version: z.literal(VERSION),
  tag: z.string(),
  config: z.string(),
  sha256: z.string(),
  layers: z.array(layerHeader),
});
type LayerHeader = z.infer<typeof layerHeader>;

/** Everything gathered so far. `tag` is the caller's: what the sums are of. */
export function traceState(trace: ExpertTrace, tag: string): Uint8Array {
  const parts = trace.layers.flatMap((sums) =>
    arraysOf(sums, trace.window(sums.layer), [...sums.domains.values()]).map(bytesOf),
  );
  const body = Buffer.concat([...parts, ...trace.layers.map((sums) => bytesOf(tableOf(sums, trace.config.experts)))]);
  const head = {
    kind: KIND,
    version: VERSION,
    tag,
    config: JSON.stringify(trace.config),
    sha256: createHash('sha256').update(body).digest('hex'),
    layers: trace.layers.map((sums): LayerHeader => {
      const { tokens, positions } = trace.window(sums.layer);
      return {
        layer: sums.layer,
        tokens: sums.tokens,
        pads: sums.pads,
        prefixTokens: sums.prefixTokens,
        nonFinite: sums.nonFinite,
        entropy: sums.entropy,
        lse2: sums.lse2,
        margin: sums.margin,
        minMargin: Number.isFinite(sums.minMargin) ? sums.minMargin : null,
        marginTokens: sums.marginTokens,
        bf16Ties: sums.bf16Ties,
        windows: sums.windows,
        batches: sums.batches,
        batchMaxVio: sums.batchMaxVio,
        untrackedTokens: sums.untrackedTokens,
        dropped: sums.drops.map(({ dropped }) => dropped),
        domains: [...sums.domains].map(([name, domain]) => [name, domain.tokens]),
        vocabularyRows: sums.vocabularyRows.size,
        window: { tokens, positions },
      };
    }),
  };
  return Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), body]);
}

/** The tag of a saved state, from the beginning of its file; null where there is none to be read. */
export async function traceStateTag(file: string): Promise<string | null> {
  let handle: FileHandle;
  try {
    handle = await open(file, 'r');
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return null;
    throw error;
  }
  try {
    const chunks: Buffer[] = [];
    for (let at = 0; at < MAX_HEADER_BYTES; at += STEP) {
      const { bytesRead, buffer } = await handle.read(Buffer.alloc(STEP), 0, STEP, at);
      const chunk = buffer.subarray(0, bytesRead);
      const end = chunk.indexOf(NEWLINE);
      chunks.push(end < 0 ? chunk : chunk.subarray(0, end));
      if (end >= 0) return headerOf(Buffer.concat(chunks))?.tag ?? null;
      if (bytesRead < STEP) return null;
    }
    return null;
  } finally {
    await handle.close();
  }
}

/** Puts saved sums into a trace that has seen nothing. Throws `bad-trace-state` for bytes of another trace or damaged ones. */
export function restoreTrace(trace: ExpertTrace, bytes: Uint8Array): void {
  const { head, body } = read(bytes);
  if (head.config !== JSON.stringify(trace.config) || head.layers.length !== trace.layers.length)
    throw bad('it is of a model with other experts');
  const cursor = { at: 0 };
  trace.layers.forEach((sums, i) => {
    const saved = head.layers[i];
    if (saved?.layer !== sums.layer || saved.dropped.length !== sums.drops.length) throw bad('its layers are others');
    restoreScalars(sums, saved);
    const window = trace.window(sums.layer);
    window.tokens = saved.window.tokens;
    window.positions = saved.window.positions;
    const { experts, maxDomains } = trace.config;
    if (saved.domains.length > maxDomains) throw bad('it has too many domains');
    for (const [name, tokens] of saved.domains) sums.domains.set(name, { tokens, counts: new Float64Array(experts) });
    for (const array of arraysOf(sums, window, [...sums.domains.values()])) fill(array, body, cursor);
  });
  trace.layers.forEach((sums, i) => {
    const rows = head.layers[i]?.vocabularyRows ?? 0;
    const { experts, vocabularyCounters } = trace.config;
    if (rows * experts > vocabularyCounters) throw bad('its vocabulary is too large');
    const table = new Uint32Array(rows * (experts + 1));
    fill(table, body, cursor);
    table.subarray(0, rows).forEach((id, row) => sums.vocabularyRows.set(id, row));
    sums.vocabulary = table.slice(rows);
  });
  if (cursor.at !== body.length) throw bad('it is longer than it says');
}

function restoreScalars(sums: LayerSums, saved: LayerHeader): void {
  sums.tokens = saved.tokens;
  sums.pads = saved.pads;
  sums.prefixTokens = saved.prefixTokens;
  sums.nonFinite = saved.nonFinite;
  sums.entropy = saved.entropy ?? Number.NaN;
  sums.lse2 = saved.lse2 ?? Number.NaN;
  sums.margin = saved.margin ?? Number.NaN;
  sums.minMargin = saved.minMargin ?? Infinity;
  sums.marginTokens = saved.marginTokens;
  sums.bf16Ties = saved.bf16Ties;
  sums.windows = saved.windows;
  sums.batches = saved.batches;
  sums.batchMaxVio = saved.batchMaxVio ?? Number.NaN;
  sums.untrackedTokens = saved.untrackedTokens;
  sums.drops.forEach((drop, i) => {
    drop.dropped = saved.dropped[i] ?? 0;
  });
}

type Numbers = Float64Array | Uint32Array;

/** Arrays of a fixed length, in their order in the file. */
function arraysOf(
  sums: LayerSums,
  window: TraceWindow,
  domains: readonly { readonly counts: Float64Array }[],
): Numbers[] {
  const { counts, top1, probability, gate, pairs } = sums;
  return [counts, top1, probability, gate, pairs, window.counts, ...domains.map((domain) => domain.counts)];
}

/** Token ids by row, then their counters. */
function tableOf(sums: LayerSums, experts: number): Uint32Array {
  const rows = sums.vocabularyRows.size;
  const table = new Uint32Array(rows * (experts + 1));
  for (const [id, row] of sums.vocabularyRows) table[row] = id;
  table.set(sums.vocabulary.subarray(0, rows * experts), rows);
  return table;
}

function bytesOf(array: Numbers): Uint8Array {
  return swapped(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), array.BYTES_PER_ELEMENT);
}

function fill(array: Numbers, body: Uint8Array, cursor: { at: number }): void {
  const end = cursor.at + array.byteLength;
  if (end > body.length) throw bad('it is shorter than it says');
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength).set(
    swapped(body.subarray(cursor.at, end), array.BYTES_PER_ELEMENT),
  );
  cursor.at = end;
}

/** Little-endian from or to the machine's order. */
function swapped(bytes: Uint8Array, size: number): Uint8Array {
  if (endianness() === 'LE') return bytes;
  const copy = Buffer.from(bytes);
  return size === 8 ? copy.swap64() : copy.swap32();
}

function headerOf(line: Uint8Array): z.infer<typeof header> | undefined {
  try {
    return header.parse(JSON.parse(Buffer.from(line).toString('utf8')));
  } catch {
    return undefined;
  }
}

function read(bytes: Uint8Array): { readonly head: z.infer<typeof header>; readonly body: Uint8Array } {
  const end = bytes.subarray(0, MAX_HEADER_BYTES).indexOf(NEWLINE);
  if (end < 0) throw bad('it has no first line');
  const head = headerOf(bytes.subarray(0, end));
  if (head === undefined) throw bad('its first line is of another version');
  const body = bytes.subarray(end + 1);
  if (createHash('sha256').update(body).digest('hex') !== head.sha256) throw bad('its digest is another');
  return { head, body };
}

function bad(why: string): MoeError {
  return new MoeError('input', 'bad-trace-state', `Saved expert statistics cannot be used: ${why}`, {
    hint: 'Delete the file; the statistics then begin anew.',
  });
}
