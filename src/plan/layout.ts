/**
 * Which output file holds what. Equal experts get a file series of their own (one per expert), with headers padded to one
 * length and to 4 KiB, so that a file system that can clone needs one copy of the data (sharding.md §8.4). Everything
 * else is packed in order up to the shard size. The layout never depends on whether cloning happens.
 */
import { MAX_HEADER_BYTES, encodeHeader } from 'safetensors-js';
import type { EncodedHeader } from 'safetensors-js';
import type { Draft } from './experts.ts';
import type { PlanFile, PlanTensor } from './types.ts';
import { append, largest } from '../common/lists.ts';

/** Block size that file systems clone by. */
const CLONE_ALIGN = 4096;
const METADATA = { format: 'pt' } as const;

interface Bin {
  readonly drafts: Draft[];
  bytes: number;
  /** Files with the same group have byte-equal data. */
  readonly group: string | null;
}

/** Packs drafts in order into bins of at most `limit` bytes; tensors of one `unit` stay together where they fit. */
function pack(drafts: readonly Draft[], limit: number, group: string | null): Bin[] {
  const bins: Bin[] = [];
  let bin: Bin | undefined;
  for (const draft of drafts) {
    if (bin === undefined || (bin.bytes + draft.bytes > limit && bin.drafts.length > 0)) {
      bin = { drafts: [], bytes: 0, group };
      bins.push(bin);
    }
    bin.drafts.push(draft);
    bin.bytes += draft.bytes;
  }
  return bins;
}

/** For each expert the first one that holds the same expressions, in the same order: their data is byte-equal. */
function equalExperts(series: ReadonlyMap<number, readonly Draft[]>): Map<number, number> {
  const firsts: [expert: number, drafts: readonly Draft[]][] = [];
  const firstOf = new Map<number, number>();
  for (const [expert, drafts] of series) {
    const twin = firsts.find(
      ([, other]) => other.length === drafts.length && other.every(({ expr }, place) => expr === drafts[place]?.expr),
    );
    if (twin === undefined) firsts.push([expert, drafts]);
    firstOf.set(expert, twin?.[0] ?? expert);
  }
  return firstOf;
}

const PLAIN_NAME = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

/**
 * Length of the header that `encodeHeader` would write, without writing it: planning a million tensors needs only lengths.
 * A file with a name that JSON must escape is written and measured.
 */
function headerLength(drafts: readonly Draft[], align: number): number {
  let length = '{"__metadata__":{"format":"pt"}}'.length;
  let offset = 0;
  for (const { name, dtype, shape, bytes } of drafts) {
    if (!PLAIN_NAME.test(name)) return encodeHeader(drafts, { metadata: METADATA, align }).bytes.length;
    length += ',"":{"dtype":"","shape":[],"data_offsets":[,]}'.length + name.length + dtype.length;
    length += Math.max(0, shape.length - 1) + digits(offset) + digits(offset + bytes);
    for (const size of shape) length += digits(size);
    offset += bytes;
  }
  const start = Math.ceil((8 + length) / align) * align;
  // The encoder refuses what readers would refuse, in its own words.
  return start - 8 > MAX_HEADER_BYTES ? encodeHeader(drafts, { metadata: METADATA, align }).bytes.length : start;
}

/** Decimal digits of a whole number. */
function digits(n: number): number {
  let count = 1;
  for (let bound = 10; n >= bound; bound *= 10) count += 1;
  return count;
}

export interface Layout {
  readonly files: readonly PlanFile[];
  readonly tensors: readonly PlanTensor[];
}

function pad(n: number): string {
  return String(n).padStart(5, '0');
}

/**
 * Lays `drafts` out in files of at most `shardSize` bytes of data (a larger tensor has a file of its own). Expressions of
 * equal experts must be the same objects, as `moeLayer` makes them.
 */
export function layOut(drafts: readonly Draft[], shardSize: number): Layout {
  const series = new Map<number, Draft[]>();
  for (const draft of drafts) {
    if (draft.expert === null) continue;
    const list = series.get(draft.expert) ?? [];
    list.push(draft);
    series.set(draft.expert, list);
  }
  const firstOf = equalExperts(series);
  const sizes = new Map<number, number>();
  for (const first of firstOf.values()) sizes.set(first, (sizes.get(first) ?? 0) + 1);
  const shared = firstOf.size > sizes.size;

  const bins: Bin[] = [];
  if (shared) {
    append(
      bins,
      pack(
        drafts.filter((draft) => draft.expert === null),
        shardSize,
        null,
      ),
    );
    const experts = [...series].map(([expert, list]) => {
      const first = firstOf.get(expert) ?? expert;
      return pack(list, shardSize, (sizes.get(first) ?? 1) > 1 ? `expert-${String(first)}` : null);
    });
    // Part by part, expert by expert: a run that is killed has whole parts finished.
    const parts = largest(
      experts.map((list) => list.length),
      0,
    );
    for (let part = 0; part < parts; part += 1) {
      for (const list of experts) {
        const bin = list[part];
        if (bin !== undefined) bins.push(bin.group === null ? bin : { ...bin, group: `${bin.group}/${String(part)}` });
      }
    }
  } else {
    append(bins, pack(drafts, shardSize, null));
  }

  const nameOf = (index: number): string =>
    bins.length === 1 ? 'model.safetensors' : `model-${pad(index + 1)}-of-${pad(bins.length)}.safetensors`;
  const starts = bins.map((bin) => headerLength(bin.drafts, bin.group === null ? 8 : CLONE_ALIGN));
  const groupHeader = new Map<string, number>();
  const groupFirst = new Map<string, string>();
  bins.forEach((bin, index) => {
    if (bin.group === null) return;
    const length = starts[index] ?? 0;
    groupHeader.set(bin.group, Math.max(groupHeader.get(bin.group) ?? 0, length));
    if (!groupFirst.has(bin.group)) groupFirst.set(bin.group, nameOf(index));
  });

  const files: PlanFile[] = [];
  const tensors: PlanTensor[] = [];
  bins.forEach((bin, index) => {
    const name = nameOf(index);
    const own = starts[index] ?? 0;
    const first = bin.group === null ? undefined : groupFirst.get(bin.group);
    files.push({
      name,
      tensors: bin.drafts.map((draft) => draft.name),
      headerBytes: (bin.group === null ? own : (groupHeader.get(bin.group) ?? own)) - 8,
      dataBytes: bin.bytes,
      ...(first === undefined || first === name ? {} : { cloneOf: first }),
    });
    for (const { name: tensor, dtype, shape, bytes, expr } of bin.drafts) {
      tensors.push({ name: tensor, dtype, shape, bytes, file: name, expr });
    }
  });
  return { files, tensors };
}

/** The header of a planned file: the 8 length bytes and the padded JSON, and where each tensor lies in the data. */
export function fileHeader(file: PlanFile, tensorsByName: ReadonlyMap<string, PlanTensor>): EncodedHeader {
  const specs = file.tensors.map((name) => {
    const tensor = tensorsByName.get(name);
    if (tensor === undefined) throw new Error(`plan file ${file.name} names unknown tensor ${name}`);
    return tensor;
  });
  return encodeHeader(specs, { metadata: METADATA, padTo: 8 + file.headerBytes });
}
