/**
 * Computes contents and hands their bytes to a sink: the writer puts them into files, the verifier compares. Plain moves are
 * driven by the source: each of its tensors is read once from front to back and cut into all contents that lie in it.
 * Everything else is computed range by range; contents over the same sources advance together, so that the source's block
 * cache serves them all.
 */
import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { throwIfCancelled } from '../evaluate/index.ts';
import type { Evaluator, SourceLayout, Value } from '../evaluate/index.ts';
import { bytePool, isContiguous } from '../evaluate/index.ts';
import { MoeError, messageOf } from '../common/errors.ts';
import type { Expr } from '../plan/expr.ts';
import { walkExpr } from '../plan/infer.ts';
import type { Content } from './contents.ts';
import { largest, smallest } from '../common/lists.ts';

export interface Sink {
  /** Takes the next bytes of a content, which begin at `offset` in it. Resolves when the memory may be reused. */
  put(content: Content, offset: number, bytes: Buffer): Promise<void>;
  /** All bytes of the content were put (not necessarily taken yet); its sha256 in hex. */
  done(content: Content, sha256: string): void;
}

/** Bytes per read and per put. */
export const CHUNK_BYTES = 2 << 20;
const SLOTS = 6;
/** Source bytes that a step of contents computed together may span, well inside the block cache. */
const WINDOW_BYTES = 6 << 20;
const STEP_BYTES = 1 << 20;
/** Narrower columns than this are gathered by the evaluator. */
const MIN_COLUMN_BYTES = 64;

/** Buffers that are reused once the sink has let go of them. */
class Ring {
  private readonly slots = Array.from({ length: SLOTS }, () => ({
    buffer: Buffer.from(new ArrayBuffer(CHUNK_BYTES)),
    busy: Promise.resolve(),
  }));
  private next = 0;
  private failure: Error | undefined;

  /** The next buffer, once it is free. Rethrows what a sink failed with meanwhile. */
  async take(): Promise<{ readonly buffer: Buffer; hold: (work: Promise<unknown>) => void }> {
    const slot = this.slots[this.next % SLOTS];
    this.next += 1;
    if (slot === undefined) throw new Error('no slot');
    await slot.busy;
    this.check();
    return {
      buffer: slot.buffer,
      hold: (work) => {
        slot.busy = Promise.all([slot.busy, work]).then(
          () => undefined,
          (error: unknown) => {
            this.failure ??= error instanceof Error ? error : new Error(messageOf(error));
          },
        );
      },
    };
  }

  private check(): void {
    if (this.failure !== undefined) throw this.failure;
  }

  async drain(): Promise<void> {
    await Promise.all(this.slots.map((slot) => slot.busy));
    this.check();
  }
}

interface MoveGroup {
  readonly kind: 'move';
  readonly from: number;
  readonly tensor: string;
  readonly members: { readonly content: Content; readonly layout: SourceLayout }[];
}

interface ComputeGroup {
  readonly kind: 'compute';
  readonly members: Content[];
  readonly sourceBytes: number;
}

/** Only these are looked at as moves; compiling others here would shuffle indices too early. */
function isPlainMove(expr: Expr): boolean {
  if (expr.op === 'source') return true;
  return (expr.op === 'slice' || expr.op === 'reshape') && isPlainMove(expr.of);
}

function moveLayout(evaluator: Evaluator, content: Content): SourceLayout | null {
  if (!isPlainMove(content.expr)) return null;
  const layout = evaluator.compile(content.expr).layout();
  if (layout === null || isContiguous(layout)) return layout;
  const phase = layout.begin % layout.rowBytes;
  const fits = phase + layout.columnBytes <= layout.rowBytes && layout.rowBytes <= CHUNK_BYTES / 2;
  return fits && layout.columnBytes >= MIN_COLUMN_BYTES ? layout : null;
}

/** Groups contents that read the same source tensors, in the order of each group's first content. */
function group(contents: readonly Content[], evaluator: Evaluator): (MoveGroup | ComputeGroup)[] {
  const groups = new Map<string, MoveGroup | ComputeGroup>();
  for (const content of contents) {
    const layout = moveLayout(evaluator, content);
    if (layout !== null) {
      let key = `move\u0000${String(layout.from)}\u0000${layout.tensor}`;
      let known = groups.get(key);
      if (
        known?.kind === 'move' &&
        !isContiguous(layout) &&
        !known.members.every((member) => agrees(layout, member.layout))
      ) {
        // Columns cut out of rows of another length: read in a pass of their own.
        key += `\u0000${String(layout.rowBytes)}`;
        known = groups.get(key);
      }
      if (known?.kind === 'move') known.members.push({ content, layout });
      else groups.set(key, { kind: 'move', from: layout.from, tensor: layout.tensor, members: [{ content, layout }] });
      continue;
    }
    const reads = new Set<string>();
    let sourceBytes = 0;
    walkExpr(content.expr, (node) => {
      if (node.op !== 'source') return;
      const key = `${String(node.from)}\u0000${node.tensor}`;
      if (!reads.has(key)) sourceBytes += evaluator.sources.tensor(node.from, node.tensor).bytes;
      reads.add(key);
    });
    const key =
      reads.size === 0 ? `alone\u0000${String(content.id)}` : `compute\u0000${[...reads].sort().join('\u0001')}`;
    const known = groups.get(key);
    if (known?.kind === 'compute') known.members.push(content);
    else groups.set(key, { kind: 'compute', members: [content], sourceBytes });
  }
  return [...groups.values()];
}

function agrees(a: SourceLayout, b: SourceLayout): boolean {
  return isContiguous(b) || a.rowBytes === b.rowBytes;
}

/** Produces all contents. Bytes of one content come in order; the sink is drained when this resolves. */
export async function produce(
  contents: readonly Content[],
  evaluator: Evaluator,
  sink: Sink,
  signal?: AbortSignal,
): Promise<void> {
  const ring = new Ring();
  try {
    for (const item of group(contents, evaluator)) {
      if (item.kind === 'move') await move(item, evaluator, sink, ring, signal);
      else await compute(item, evaluator, sink, ring, signal);
      evaluator.sources.checkUnchanged();
    }
  } catch (error) {
    // Writes still under way use our buffers and the sink's files.
    await ring.drain().catch(() => undefined);
    throw error;
  }
  await ring.drain();
}

async function move(
  { from, tensor: name, members }: MoveGroup,
  evaluator: Evaluator,
  sink: Sink,
  ring: Ring,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { sources } = evaluator;
  const tensor = sources.tensor(from, name);
  const row = members.find(({ layout }) => !isContiguous(layout))?.layout.rowBytes;
  const step = row === undefined ? CHUNK_BYTES : Math.max(row, Math.floor(CHUNK_BYTES / row) * row);
  const outputs = members.map(({ content, layout }) => {
    const whole = layout.begin === 0 && content.bytes === tensor.bytes && isContiguous(layout);
    return { content, layout, hash: whole ? null : createHash('sha256'), done: 0 };
  });
  // A tensor whose digest is known (resumed, or compared beforehand) is read only where it is needed.
  const needAll = sources.knownDigest(from, name) === undefined;
  const ends = members.map(({ content, layout }) =>
    isContiguous(layout)
      ? layout.begin + content.bytes
      : layout.begin + (layout.rows - 1) * layout.rowBytes + layout.columnBytes,
  );
  const first = needAll ? 0 : Math.floor(smallest(members.map(({ layout }) => layout.begin)) / step) * step;
  const last = needAll ? tensor.bytes : largest(ends);

  type Slot = Awaited<ReturnType<Ring['take']>>;
  const read = async (begin: number): Promise<{ slot: Slot; bytes: Buffer; begin: number }> => {
    const slot = await ring.take();
    const bytes = slot.buffer.subarray(0, Math.min(step, last - begin));
    await sources.readAsync(from, tensor, begin, bytes);
    return { slot, bytes, begin };
  };
  let ahead = first < last ? read(first) : undefined;
  while (ahead !== undefined) {
    throwIfCancelled(signal);
    const { slot, bytes, begin }: Awaited<typeof ahead> = await ahead;
    const end = begin + bytes.length;
    const puts: Promise<void>[] = [];
    const hashes: (() => void)[] = [];
    for (const output of outputs) {
      const piece = cut(output.layout, bytes, begin, output.content.bytes);
      if (piece.length === 0) continue;
      const taken = sink.put(output.content, output.done, piece);
      puts.push(piece.buffer === bytes.buffer ? taken : taken.then(() => bytePool.give(piece)));
      output.done += piece.length;
      hashes.push(() => output.hash?.update(piece));
    }
    slot.hold(Promise.all(puts));
    ahead = end < last ? read(end) : undefined;
    // Its failure is met at the await above; without this an earlier throw would leave it unhandled.
    ahead?.catch(() => undefined);
    // Hashed while the thread pool writes this chunk and reads the next.
    sources.digestPassing(from, tensor, begin, bytes);
    for (const update of hashes) update();
  }
  const whole = await sources.digest(from, name, signal);
  for (const { content, hash, done } of outputs) finish(sink, content, done, hash?.digest('hex') ?? whole);
}

/**
 * The part of a content that lies in the chunk of the source that begins at `begin`: a view of the chunk, or columns
 * gathered into a pooled buffer.
 */
function cut(layout: SourceLayout, bytes: Buffer, begin: number, size: number): Buffer {
  const end = begin + bytes.length;
  if (isContiguous(layout)) {
    const from = Math.max(begin, layout.begin);
    const to = Math.min(end, layout.begin + size);
    return from < to ? bytes.subarray(from - begin, to - begin) : bytes.subarray(0, 0);
  }
  const { rowBytes, columnBytes, rows } = layout;
  const column = layout.begin % rowBytes;
  const firstRow = (layout.begin - column) / rowBytes;
  const from = Math.max(firstRow, begin / rowBytes);
  const to = Math.min(firstRow + rows, end / rowBytes);
  if (from >= to) return bytes.subarray(0, 0);
  const piece = bytePool.take((to - from) * columnBytes);
  for (let row = from; row < to; row++) {
    const at = row * rowBytes - begin + column;
    bytes.copy(piece, (row - from) * columnBytes, at, at + columnBytes);
  }
  return piece;
}

async function compute(
  { members, sourceBytes }: ComputeGroup,
  evaluator: Evaluator,
  sink: Sink,
  ring: Ring,
  signal: AbortSignal | undefined,
): Promise<void> {
  const running = members.map((content) => {
    const value = evaluator.compile(content.expr);
    if (value.byteCount(0, value.elements) !== content.bytes) {
      throw new MoeError(
        'input',
        'plan-expression',
        `The plan gives "${content.targets[0]?.tensor ?? '?'}" ${String(content.bytes)} bytes, its expression ${String(value.byteCount(0, value.elements))}.`,
      );
    }
    return { content, value, hash: createHash('sha256'), next: 0, done: 0 };
  });
  const most = largest(members.map(({ bytes }) => bytes));
  const steps = Math.max(1, Math.ceil(most / STEP_BYTES), Math.ceil(sourceBytes / WINDOW_BYTES));
  for (let step = 1; step <= steps; step++) {
    for (const item of running) {
      const end = step === steps ? item.value.elements : boundary(item.value, step / steps);
      await advance(item, end, sink, ring, signal);
    }
  }
  for (const { content, hash, done } of running) finish(sink, content, done, hash.digest('hex'));
}

/** About `share` of the elements, at the start of a row where rows are short. */
function boundary(value: Value, share: number): number {
  const row = value.shape.at(-1) ?? 1;
  const unit = row > 0 && row * value.width <= STEP_BYTES ? row : 1;
  // Packed dtypes are not computed in parts.
  return Number.isInteger(value.width) ? Math.floor((value.elements * share) / unit) * unit : 0;
}

interface Running {
  readonly content: Content;
  readonly value: Value;
  readonly hash: Hash;
  next: number;
  done: number;
}

async function advance(
  item: Running,
  end: number,
  sink: Sink,
  ring: Ring,
  signal: AbortSignal | undefined,
): Promise<void> {
  const most = Math.max(1, Math.floor(CHUNK_BYTES / item.value.width));
  while (item.next < end) {
    throwIfCancelled(signal);
    const stop = Math.min(end, item.next + most);
    const slot = await ring.take();
    const bytes = slot.buffer.subarray(0, item.value.byteCount(item.next, stop));
    item.value.read(item.next, stop, bytes);
    slot.hold(sink.put(item.content, item.done, bytes));
    item.hash.update(bytes);
    item.next = stop;
    item.done += bytes.length;
  }
}

function finish(sink: Sink, content: Content, done: number, sha256: string): void {
  if (done !== content.bytes) {
    throw new MoeError(
      'internal',
      'produced-short',
      `"${content.targets[0]?.tensor ?? '?'}": ${String(done)} of ${String(content.bytes)} bytes were produced.`,
    );
  }
  sink.done(content, sha256);
}
