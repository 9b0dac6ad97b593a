/**
 * The parts of ONNX that we write, as plain data: element types, tensors, attributes, nodes, graphs, models. Pure: nothing
 * here knows a runtime. Field meanings are those of onnx.proto (IR 10).
 */

/** ONNX element type codes (TensorProto.DataType). */
export const ELEMENT_CODES = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
  uint32: 12,
  uint64: 13,
  bfloat16: 16,
} as const;

export type ElementType = keyof typeof ELEMENT_CODES;

/** Bytes of one element. */
export const ELEMENT_BYTES: Readonly<Record<ElementType, number>> = {
  float32: 4,
  uint8: 1,
  int8: 1,
  uint16: 2,
  int16: 2,
  int32: 4,
  int64: 8,
  bool: 1,
  float16: 2,
  float64: 8,
  uint32: 4,
  uint64: 8,
  bfloat16: 2,
};

/** A dimension: a number, or a symbol known only at run time (`B`, or a product such as `B*T`). */
export type Dim = number | string;

/** Where an initialiser's bytes lie: in the model itself, or in a file beside it (little-endian, row-major both). */
export type TensorBytes =
  | { readonly kind: 'inline'; readonly bytes: Uint8Array }
  | { readonly kind: 'external'; readonly location: string; readonly offset: number; readonly length: number };

export interface TensorDef {
  readonly name: string;
  readonly type: ElementType;
  readonly dims: readonly number[];
  readonly data: TensorBytes;
}

export type Attribute =
  | { readonly kind: 'int'; readonly value: number }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'ints'; readonly value: readonly number[] }
  | { readonly kind: 'floats'; readonly value: readonly number[] }
  | { readonly kind: 'strings'; readonly value: readonly string[] }
  | { readonly kind: 'tensor'; readonly value: TensorDef }
  | { readonly kind: 'graph'; readonly value: GraphDef };

export type Attributes = ReadonlyMap<string, Attribute>;

export interface NodeDef {
  readonly name: string;
  readonly op: string;
  /** Operator domain; empty for standard ONNX. */
  readonly domain: string;
  /** Value names; an empty string is an absent optional input or output. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Attributes;
}

export interface ValueDef {
  readonly name: string;
  readonly type: ElementType;
  /** null = nothing is said about the shape, not even its rank. */
  readonly shape: readonly Dim[] | null;
}

export interface GraphDef {
  readonly name: string;
  readonly nodes: readonly NodeDef[];
  readonly inputs: readonly ValueDef[];
  readonly outputs: readonly ValueDef[];
  readonly initializers: readonly TensorDef[];
  /** Types of intermediate values; optional for runtimes, useful for people who open the graph. */
  readonly values: readonly ValueDef[];
}

export interface ModelDef {
  readonly graph: GraphDef;
  readonly producer: string;
  readonly irVersion: number;
  /** Operator-set versions by domain (empty string = standard ONNX). */
  readonly opsets: ReadonlyMap<string, number>;
  readonly metadata?: ReadonlyMap<string, string>;
}
