/**
 * Which output file holds what. Equal experts get a file series of their own (one per expert), with headers padded to one
 * length and to 4 KiB, so that a file system that can clone needs one copy of the data (sharding.md §8.4). Everything
 * else is packed in order up to the shard size. The layout never depends on whether cloning happens.
 */
import { encodeHeader } from 'safetensors-js';
import type { EncodedHeader } from 'safetensors-js';
import type { Draft } from './experts.ts';
import type { Expr } from './expr.ts';
import type { PlanFile, PlanTensor } from './types.ts';

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

/** A number per distinct expression object chain: experts with equal sequences hold equal data. */
function expertSignatures(series: ReadonlyMap<number, readonly Draft[]>): Map<number, string> {
  const ids = new Map<Expr, number>();
  const signatures = new Map<number, string>();
  for (const [expert, drafts] of series) {
    const parts: number[] = [];
    for (const { expr } of drafts) {
      const id = ids.get(expr) ?? ids.size;
      ids.set(expr, id);
      parts.push(id);
    }
    signatures.set(expert, parts.join(','));
  }
  return signatures;
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
  const signatures = expertSignatures(series);
  const members = new Map<string, number[]>();
  for (const [expert, signature] of signatures) members.set(signature, [...(members.get(signature) ?? []), expert]);
  const shared = [...members.values()].some((experts) => experts.length > 1);

  const bins: Bin[] = [];
  if (shared) {
    bins.push(
      ...pack(
        drafts.filter((draft) => draft.expert === null),
        shardSize,
        null,
      ),
    );
    const experts = [...series].map(([expert, list]) => {
      const signature = signatures.get(expert) ?? '';
      const first = members.get(signature) ?? [];
      return pack(list, shardSize, first.length > 1 ? `expert-${String(first[0])}` : null);
    });
    // Part by part, expert by expert: a run that is killed has whole parts finished.
    const parts = Math.max(0, ...experts.map((list) => list.length));
    for (let part = 0; part < parts; part += 1) {
      for (const list of experts) {
        const bin = list[part];
        if (bin !== undefined) bins.push(bin.group === null ? bin : { ...bin, group: `${bin.group}/${String(part)}` });
      }
    }
  } else {
    bins.push(...pack(drafts, shardSize, null));
  }

  const nameOf = (index: number): string =>
    bins.length === 1 ? 'model.safetensors' : `model-${pad(index + 1)}-of-${pad(bins.length)}.safetensors`;
  const headers = bins.map((bin) =>
    encodeHeader(bin.drafts, { metadata: METADATA, ...(bin.group === null ? {} : { align: CLONE_ALIGN }) }),
  );
  const groupHeader = new Map<string, number>();
  const groupFirst = new Map<string, string>();
  bins.forEach((bin, index) => {
    if (bin.group === null) return;
    const length = headers[index]?.bytes.length ?? 0;
    groupHeader.set(bin.group, Math.max(groupHeader.get(bin.group) ?? 0, length));
    if (!groupFirst.has(bin.group)) groupFirst.set(bin.group, nameOf(index));
  });

  const files: PlanFile[] = [];
  const tensors: PlanTensor[] = [];
  bins.forEach((bin, index) => {
    const name = nameOf(index);
    const own = headers[index]?.bytes.length ?? 0;
    const first = bin.group === null ? undefined : groupFirst.get(bin.group);
    files.push({
      name,
      tensors: bin.drafts.map((draft) => draft.name),
      headerBytes: (bin.group === null ? own : (groupHeader.get(bin.group) ?? own)) - 8,
      dataBytes: bin.bytes,
      ...(first === undefined || first === name ? {} : { cloneOf: first }),
    });
    for (const draft of bin.drafts) {
      tensors.push({
        name: draft.name,
        dtype: draft.dtype,
        shape: draft.shape,
        bytes: draft.bytes,
        file: name,
        expr: draft.expr,
      });
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
