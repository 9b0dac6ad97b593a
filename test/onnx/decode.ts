/**
 * An independent, minimal ONNX reader for tests: walks the protobuf wire format and picks fields by the numbers of
 * onnx.proto. Written from the format's definition, sharing nothing with the writer.
 */
interface Field {
  readonly field: number;
  readonly wire: number;
  readonly number: bigint;
  readonly bytes: Uint8Array;
}

export interface DecodedTensor {
  readonly name: string;
  readonly dims: readonly number[];
  readonly dataType: number;
  readonly raw: Uint8Array | undefined;
  readonly external: ReadonlyMap<string, string>;
  readonly location: number;
}

export interface DecodedAttribute {
  readonly type: number;
  readonly i: bigint | undefined;
  readonly f: number | undefined;
  readonly s: string | undefined;
  readonly ints: readonly bigint[];
  readonly floats: readonly number[];
  readonly strings: readonly string[];
  readonly t: DecodedTensor | undefined;
  readonly g: DecodedGraph | undefined;
}

export interface DecodedNode {
  readonly name: string;
  readonly op: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, DecodedAttribute>;
}

export interface DecodedValue {
  readonly name: string;
  readonly elemType: number;
  /** undefined = no shape at all; `?` = a dimension without size or name. */
  readonly shape: readonly (number | string)[] | undefined;
}

export interface DecodedGraph {
  readonly name: string;
  readonly nodes: readonly DecodedNode[];
  readonly initializers: readonly DecodedTensor[];
  readonly inputs: readonly DecodedValue[];
  readonly outputs: readonly DecodedValue[];
  readonly values: readonly DecodedValue[];
}

export interface DecodedModel {
  readonly irVersion: number;
  readonly producer: string;
  readonly opsets: ReadonlyMap<string, number>;
  readonly metadata: ReadonlyMap<string, string>;
  readonly graph: DecodedGraph;
}

const text = new TextDecoder('utf-8', { fatal: true });

function fields(bytes: Uint8Array): Field[] {
  const found: Field[] = [];
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined || shift > 63n) throw new Error('bad varint');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    const wire = tag & 7;
    let number = 0n;
    let payload = new Uint8Array(0);
    if (wire === 0) number = BigInt.asIntN(64, varint());
    else {
      const size = wire === 2 ? Number(varint()) : wire === 5 ? 4 : wire === 1 ? 8 : Number.NaN;
      if (!(at + size <= bytes.length)) throw new Error(`field ${tag >> 3} runs over the end`);
      payload = bytes.slice(at, at + size);
      at += size;
    }
    found.push({ field: tag >> 3, wire, number, bytes: payload });
  }
  return found;
}

const pick = (all: readonly Field[], field: number): Field[] => all.filter((f) => f.field === field);
const str = (all: readonly Field[], field: number): string => {
  const hit = pick(all, field).at(-1);
  return hit === undefined ? '' : text.decode(hit.bytes);
};
const strs = (all: readonly Field[], field: number): string[] => pick(all, field).map((f) => text.decode(f.bytes));
const num = (all: readonly Field[], field: number): number => Number(pick(all, field).at(-1)?.number ?? 0n);
const f32 = (bytes: Uint8Array): number => new DataView(bytes.buffer, bytes.byteOffset).getFloat32(0, true);
const pairs = (all: readonly Field[], field: number): Map<string, string> =>
  new Map(pick(all, field).map((f) => [str(fields(f.bytes), 1), str(fields(f.bytes), 2)]));

function tensor(bytes: Uint8Array): DecodedTensor {
  const all = fields(bytes);
  return {
    name: str(all, 8),
    dims: pick(all, 1).map((f) => Number(f.number)),
    dataType: num(all, 2),
    raw: pick(all, 9).at(-1)?.bytes,
    external: pairs(all, 13),
    location: num(all, 14),
  };
}

function attribute(bytes: Uint8Array): [string, DecodedAttribute] {
  const all = fields(bytes);
  const f = pick(all, 2).at(-1);
  const i = pick(all, 3).at(-1);
  const s = pick(all, 4).at(-1);
  const t = pick(all, 5).at(-1);
  const g = pick(all, 6).at(-1);
  return [
    str(all, 1),
    {
      type: num(all, 20),
      f: f === undefined ? undefined : f32(f.bytes),
      i: i?.number,
      s: s === undefined ? undefined : text.decode(s.bytes),
      t: t === undefined ? undefined : tensor(t.bytes),
      g: g === undefined ? undefined : graph(g.bytes),
      floats: pick(all, 7).map((x) => f32(x.bytes)),
      ints: pick(all, 8).map((x) => x.number),
      strings: strs(all, 9),
    },
  ];
}

function node(bytes: Uint8Array): DecodedNode {
  const all = fields(bytes);
  return {
    inputs: strs(all, 1),
    outputs: strs(all, 2),
    name: str(all, 3),
    op: str(all, 4),
    domain: str(all, 7),
    attributes: new Map(pick(all, 5).map((f) => attribute(f.bytes))),
  };
}

function value(bytes: Uint8Array): DecodedValue {
  const all = fields(bytes);
  const type = pick(all, 2).at(-1);
  const tensorType = type === undefined ? undefined : pick(fields(type.bytes), 1).at(-1);
  const inner = tensorType === undefined ? [] : fields(tensorType.bytes);
  const shape = pick(inner, 2).at(-1);
  return {
    name: str(all, 1),
    elemType: num(inner, 1),
    shape:
      shape === undefined
        ? undefined
        : pick(fields(shape.bytes), 1).map((dim) => {
            const parts = fields(dim.bytes);
            const size = pick(parts, 1).at(-1);
            const name = str(parts, 2);
            return size !== undefined ? Number(size.number) : name === '' ? '?' : name;
          }),
  };
}

function graph(bytes: Uint8Array): DecodedGraph {
  const all = fields(bytes);
  return {
    nodes: pick(all, 1).map((f) => node(f.bytes)),
    name: str(all, 2),
    initializers: pick(all, 5).map((f) => tensor(f.bytes)),
    inputs: pick(all, 11).map((f) => value(f.bytes)),
    outputs: pick(all, 12).map((f) => value(f.bytes)),
    values: pick(all, 13).map((f) => value(f.bytes)),
  };
}

export function decodeModel(bytes: Uint8Array): DecodedModel {
  const all = fields(bytes);
  const body = pick(all, 7).at(-1);
  if (body === undefined) throw new Error('a model without a graph');
  return {
    irVersion: num(all, 1),
    producer: str(all, 2),
    opsets: new Map(pick(all, 8).map((f) => [str(fields(f.bytes), 1), num(fields(f.bytes), 2)])),
    metadata: pairs(all, 14),
    graph: graph(body.bytes),
  };
}
