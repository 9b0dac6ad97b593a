/**
 * Experts of a layer that are equal byte for byte. A small sample of each expert is compared first; only those whose samples
 * are equal are hashed whole, so that a trained model costs almost nothing.
 */
import { createHash } from 'node:crypto';
import type { RangeReader } from '../checkpoint/read.ts';
import type { Checkpoint, Problem, SourceTensor } from '../checkpoint/types.ts';
import { listed } from '../checkpoint/errors.ts';
import { parseTensorName } from '../inspect/index.ts';
import { append } from '../common/lists.ts';

const SAMPLE_BYTES = 4096;

interface Slice {
  readonly file: string;
  readonly begin: number;
  readonly bytes: number;
}

/** Slices of one expert, by what they are (the tensor's name without the expert's number). */
type ExpertSlices = Map<string, Slice>;

interface Layer {
  readonly layer: number;
  readonly key: string;
  readonly experts: Map<number, ExpertSlices>;
}

/** No real layer has nearly as many experts; packed tensors of a hostile file could claim any number. */
const MAX_EXPERTS = 65_536;

/** Problems about equal experts; `fromUpcycling`: the output of an upcycle, where equal experts are meant. */
export async function duplicateExperts(
  cp: Checkpoint,
  reader: RangeReader,
  fromUpcycling: boolean,
): Promise<Problem[]> {
  const equalLayers: number[] = [];
  let all = 0;
  const some: string[] = [];
  for (const layer of expertLayers(cp)) {
    const groups = await equalGroups(layer, reader);
    const [largest] = groups;
    if (largest === undefined) continue;
    if (groups.length === 1 && largest.length === layer.experts.size) {
      equalLayers.push(layer.layer);
      all = Math.max(all, largest.length);
    } else {
      some.push(`layer ${String(layer.layer)}: ${groups.map((group) => group.join(' = ')).join(', ')}`);
    }
  }
  const problems: Problem[] = [];
  if (equalLayers.length > 0) {
    problems.push({
      severity: 'info',
      code: 'experts-identical',
      message: `All ${String(all)} experts are equal byte for byte in ${equalLayers.length === 1 ? 'layer' : 'layers'} ${ranges(equalLayers)}: expected at step 0 after copy upcycling, not after training`,
      details: { layers: equalLayers.slice(0, 1000) },
    });
  }
  if (some.length > 0) {
    problems.push({
      severity: fromUpcycling ? 'info' : 'warning',
      code: 'experts-partly-identical',
      message:
        `Some experts are equal byte for byte: ${listed(some)}` +
        (fromUpcycling ? '; expected at step 0 after upcycling (a moe-manifest.json is here), not after training' : ''),
      ...(fromUpcycling ? {} : { hint: 'Equal experts add parameters but no capacity: check how they were made.' }),
      details: { layers: some.slice(0, 1000) },
    });
  }
  return problems;
}

/** "0-3, 5": layers in one glance. */
function ranges(layers: readonly number[]): string {
  const sorted = [...layers].sort((a, b) => a - b);
  const parts: string[] = [];
  for (let i = 0; i < sorted.length;) {
    let end = i;
    while (end + 1 < sorted.length && (sorted[end + 1] ?? 0) <= (sorted[end] ?? 0) + 1) end++;
    parts.push(end === i ? String(sorted[i]) : `${String(sorted[i])}-${String(sorted[end])}`);
    i = end + 1;
  }
  return listed(parts, 12);
}

function expertLayers(cp: Checkpoint): Layer[] {
  const layers = new Map<string, Layer>();
  const routers = new Map<string, number>();
  const flat: { readonly key: string; readonly layer: number; readonly tensor: SourceTensor }[] = [];
  for (const tensor of cp.tensors.values()) {
    const parsed = parseTensorName(tensor.name);
    if (parsed.layer === null) continue;
    const key = `${parsed.stem}/${String(parsed.layer)}`;
    if (parsed.role === 'router' && tensor.shape.length === 2) routers.set(key, tensor.shape[0] ?? 0);
    if (parsed.role !== 'expert' || tensor.bytes === 0) continue;
    if (typeof parsed.expert === 'number') {
      const slot = slotOf(tensor.name.slice(parsed.stem.length), parsed.expert);
      addSlice(layers, key, parsed.layer, parsed.expert, slot, tensor);
    } else if (parsed.style === 'dbrx') flat.push({ key, layer: parsed.layer, tensor });
    else addPacked(layers, key, parsed.layer, tensor, tensor.shape[0] ?? 0);
  }
  for (const { key, layer, tensor } of flat) addPacked(layers, key, layer, tensor, routers.get(key) ?? 0);
  return [...layers.values()];
}

/** The name behind the layer's number without the expert's: `layers.0.mlp.experts.0.up_proj` → `mlp.experts.#.up_proj`. */
function slotOf(name: string, expert: number): string {
  const number = String(expert);
  const [, , ...tokens] = name.split('.');
  const at = tokens.findIndex((token) => token === number || /^\D+(\d+)$/.exec(token)?.[1] === number);
  return tokens.map((token, i) => (i === at ? token.slice(0, token.length - number.length) + '#' : token)).join('.');
}

function addPacked(
  layers: Map<string, Layer>,
  key: string,
  layer: number,
  tensor: SourceTensor,
  experts: number,
): void {
  if (experts < 1 || experts > MAX_EXPERTS || tensor.bytes % experts !== 0) return;
  const bytes = tensor.bytes / experts;
  for (let e = 0; e < experts; e++) {
    addSlice(layers, key, layer, e, tensor.name, { file: tensor.file, begin: tensor.begin + e * bytes, bytes });
  }
}

function addSlice(
  layers: Map<string, Layer>,
  key: string,
  layer: number,
  expert: number,
  slot: string,
  { file, begin, bytes }: Slice,
): void {
  let facts = layers.get(key);
  if (facts === undefined) layers.set(key, (facts = { layer, key, experts: new Map() }));
  let slices = facts.experts.get(expert);
  if (slices === undefined) facts.experts.set(expert, (slices = new Map()));
  slices.set(slot, { file, begin, bytes });
}

/** Groups of two or more equal experts, the largest first. */
async function equalGroups(layer: Layer, reader: RangeReader): Promise<number[][]> {
  const candidates = await groupBy([...layer.experts], (slice) => sample(reader, slice));
  const groups: number[][] = [];
  for (const candidate of candidates) {
    const equal = await groupBy(candidate, (slice) => digest(reader, slice));
    append(
      groups,
      equal.map((group) => group.map(([expert]) => expert).sort((a, b) => a - b)),
    );
  }
  return groups.sort((a, b) => b.length - a.length || (a[0] ?? 0) - (b[0] ?? 0));
}

type Numbered = readonly [number, ExpertSlices];

async function groupBy(experts: readonly Numbered[], keyOf: (slice: Slice) => Promise<string>): Promise<Numbered[][]> {
  const groups = new Map<string, Numbered[]>();
  for (const numbered of experts) {
    const parts: string[] = [];
    for (const [slot, slice] of [...numbered[1]].sort(([a], [b]) => (a < b ? -1 : 1))) {
      parts.push(`${slot}:${String(slice.bytes)}:${await keyOf(slice)}`);
    }
    const key = createHash('sha256').update(parts.join('\n')).digest('base64');
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [numbered]);
    else group.push(numbered);
  }
  return [...groups.values()].filter((group) => group.length > 1);
}

async function sample(reader: RangeReader, { file, begin, bytes }: Slice): Promise<string> {
  const length = Math.min(SAMPLE_BYTES, bytes);
  const from = begin + Math.floor((bytes - length) / 2);
  return createHash('sha256')
    .update(await reader.bytes(file, from, length))
    .digest('base64');
}

async function digest(reader: RangeReader, { file, begin, bytes }: Slice): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of reader.chunks(file, begin, bytes)) hash.update(chunk);
  return hash.digest('base64');
}
