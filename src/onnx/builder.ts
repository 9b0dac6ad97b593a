/**
 * A typed graph under construction: values that know their element type and shape, nodes in order of emission, weights and
 * inputs. Operators are functions over it (ops-*.ts). The node list is public so that a differentiator can walk it.
 */
import { encodeModel } from './encode.ts';
import { product, sameDim, shapeText } from './dims.ts';
import { ELEMENT_BYTES } from './types.ts';
import type {
  Attribute,
  Attributes,
  Dim,
  ElementType,
  GraphDef,
  ModelDef,
  NodeDef,
  TensorBytes,
  TensorDef,
  ValueDef,
} from './types.ts';
import { append } from '../common/lists.ts';

/** Operator sets that every graph of ours imports. */
export const OPSETS: ReadonlyMap<string, number> = new Map([
  ['', 21],
  ['com.microsoft', 1],
]);
export const IR_VERSION = 10;
/** Domain of ONNX Runtime's own operators (FusedMatMul, RotaryEmbedding, QuickGelu). */
export const MICROSOFT = 'com.microsoft';

/** A value in the graph. Identity matters: two values never share a name. */
export interface Value {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly Dim[];
}

export interface Node {
  readonly name: string;
  readonly op: string;
  readonly domain: string;
  /** null = an absent optional input. */
  readonly inputs: readonly (Value | null)[];
  readonly outputs: readonly Value[];
  readonly attributes: Attributes;
  readonly shapeless: boolean;
}

export interface OutputSpec {
  readonly type: ElementType;
  readonly shape: readonly Dim[];
}

export interface EmitOptions {
  readonly domain?: string;
  readonly attributes?: Readonly<Record<string, Attribute>>;
  /**
   * Put the node before all body nodes. For what depends on weights alone: ONNX Runtime executes late in the list first, so
   * a cast that stands first runs just before its use, and its float32 copy does not outlive it.
   */
  readonly prologue?: boolean;
  /** Say nothing about the result's shape in the model: see `withoutShape` in ops-shape.ts. */
  readonly shapeless?: boolean;
}

/** What a differentiator cannot see in a node: see gradient/. */
export interface GradientHint {
  /** Of a reduction, counted from the first. */
  readonly axis?: number;
  /**
   * Of a gather along the first axis: where the copies of each source row went, [rows] or [rows, copies]. All places of the
   * result must stand in it once.
   */
  readonly inverse?: Value;
  /** Of gathered elements: none is picked twice along the axis. */
  readonly unique?: true;
  /** Of a concatenation: sizes of the parts, int64; and whether their shapes are kept from ONNX Runtime. */
  readonly sizes?: Value;
  readonly shapeless?: true;
  /** Taken for a constant: its gradient is known to vanish, or is not wanted. */
  readonly constant?: true;
}

const NO_ATTRIBUTES: Attributes = new Map();

/** Element types that `constant` writes. */
export type ConstantType = 'float32' | 'float64' | 'int64' | 'int32' | 'bool';

/** Collects inputs, weights, nodes and outputs of one graph. */
export class GraphBuilder {
  readonly inputs: Value[] = [];
  readonly initializers: TensorDef[] = [];
  /** Nodes that depend on weights only; serialised before `nodes`. */
  readonly prologue: Node[] = [];
  readonly nodes: Node[] = [];
  /** Where nodes go while a branch is being built; its nodes live in the branch's own graph. */
  #branch: { readonly prologue: Node[]; readonly nodes: Node[] } | null = null;
  readonly outputs = new Map<string, Value>();
  readonly hints = new Map<Value, GradientHint>();
  #count = 0;
  #scope = '';
  readonly #names = new Set<string>();
  readonly #constants = new Map<string, Value>();
  readonly #symbols = new Map<string, { readonly value: Value; readonly axis: number }>();
  readonly #sources = new Map<Value, 'input' | 'initializer'>();
  /** Values that a branch refers to by name: they must keep it. */
  readonly #captured = new Set<Value>();
  readonly #symbolValues = new Map<string, Value>();

  constructor(readonly name = 'graph') {}

  /** Runs `build` with `scope/` before the names of the nodes that it emits (they show up in profiles). */
  scoped<T>(scope: string, build: () => T): T {
    const outer = this.#scope;
    this.#scope = outer === '' ? scope : `${outer}/${scope}`;
    try {
      return build();
    } finally {
      this.#scope = outer;
    }
  }

  /** A graph input. Its plain symbols become known: `symbol` can read them at run time. */
  input(name: string, type: ElementType, shape: readonly Dim[]): Value {
    const value = this.#value(this.#claim(name), type, shape);
    this.inputs.push(value);
    this.#sources.set(value, 'input');
    shape.forEach((dim, axis) => {
      if (typeof dim === 'string' && !dim.includes('*') && !this.#symbols.has(dim))
        this.#symbols.set(dim, { value, axis });
    });
    return value;
  }

  /** A weight or table: bytes in the model or in an external file. */
  initializer(name: string, type: ElementType, dims: readonly number[], data: TensorBytes): Value {
    const value = this.#value(this.#claim(name), type, dims);
    this.initializers.push({ name: value.name, type, dims, data });
    this.#sources.set(value, 'initializer');
    return value;
  }

  /** A small constant; equal constants are one initialiser. `values` are converted to `type`. */
  constant(type: ConstantType, shape: readonly number[], values: readonly number[]): Value {
    const key = `${type}|${shape.join(',')}|${values.map((v) => (Object.is(v, -0) ? '-0' : String(v))).join(',')}`;
    const known = this.#constants.get(key);
    if (known !== undefined) return known;
    const made = this.initializer(`const_${this.#constants.size}`, type, shape, {
      kind: 'inline',
      bytes: constantBytes(type, values),
    });
    this.#constants.set(key, made);
    return made;
  }

  scalar(value: number): Value {
    return this.constant('float32', [], [value]);
  }

  /** Emits one node and returns its outputs, in the order of `outputs`. */
  emit(
    op: string,
    inputs: readonly (Value | null)[],
    outputs: readonly OutputSpec[],
    options: EmitOptions = {},
  ): readonly Value[] {
    const id = this.#count++;
    const name = `${this.#scope === '' ? '' : `${this.#scope}/`}${op}_${id}`;
    const values = outputs.map((spec, i) =>
      this.#value(this.#claim(outputs.length === 1 ? `${name}:o` : `${name}:o${i}`), spec.type, spec.shape),
    );
    const attributes = options.attributes === undefined ? NO_ATTRIBUTES : new Map(Object.entries(options.attributes));
    const node: Node = {
      name,
      op,
      domain: options.domain ?? '',
      inputs,
      outputs: values,
      attributes,
      shapeless: options.shapeless === true,
    };
    const target = this.#branch ?? this;
    (options.prologue === true ? target.prologue : target.nodes).push(node);
    return values;
  }

  /** Emits a node with a single output. */
  emit1(op: string, inputs: readonly (Value | null)[], output: OutputSpec, options: EmitOptions = {}): Value {
    const [value] = this.emit(op, inputs, [output], options);
    if (value === undefined) throw new Error(`${op}: no output`);
    return value;
  }

  /** True while a branch is being built: its values are not visible outside. */
  get inBranch(): boolean {
    return this.#branch !== null;
  }

  /**
   * Builds a sub-graph without inputs (a branch of If); it may use any value of the graph around it. Its single output must
   * be made inside. Constants and weights still belong to the outer graph.
   */
  branch(build: () => Value): Attribute {
    if (this.#branch !== null) throw new Error('branches cannot be nested');
    const inner = { prologue: [] as Node[], nodes: [] as Node[] };
    this.#branch = inner;
    try {
      const output = build();
      const emitted = [...inner.prologue, ...inner.nodes];
      const nodes = emitted.map((node) => nodeDef(node, (value) => value?.name ?? ''));
      for (const node of emitted) for (const input of node.inputs) if (input !== null) this.#captured.add(input);
      if (!nodes.some((node) => node.outputs.includes(output.name)))
        throw new Error(`${output.name} is not made in the branch that returns it`);
      // Without a shape, for ONNX Runtime's memory planner: see `withoutShape` in ops-shape.ts.
      const outputs: ValueDef[] = [{ name: output.name, type: output.type, shape: null }];
      return {
        kind: 'graph',
        value: { name: `branch_${this.#count++}`, nodes, inputs: [], outputs, initializers: [], values: [] },
      };
    } finally {
      this.#branch = null;
    }
  }

  /** Says about a value what its gradient needs to know. Returns it. */
  hint(value: Value, hint: GradientHint): Value {
    this.hints.set(value, { ...this.hints.get(value), ...hint });
    return value;
  }

  /** Declares `value` as the graph output `name`. */
  output(name: string, value: Value): void {
    if (this.outputs.has(name)) throw new Error(`graph output ${name} is declared twice`);
    this.#claim(name);
    this.outputs.set(name, value);
  }

  /** A fresh symbol for a size known only at run time, such as the longest expert queue. */
  freshSymbol(stem: string): string {
    return `${stem}${this.#count++}`;
  }

  /** The run-time size of a symbol that an input carries, as int64 [1]. */
  symbol(dim: string): Value {
    const known = this.#symbolValues.get(dim);
    if (known !== undefined) return known;
    const source = this.#symbols.get(dim);
    if (source === undefined) throw new Error(`symbol ${dim} is not a dimension of any input`);
    // Made outside of any branch, so that everything after may share it.
    const branch = this.#branch;
    this.#branch = null;
    const made = this.emit1(
      'Shape',
      [source.value],
      { type: 'int64', shape: [1] },
      {
        attributes: { start: { kind: 'int', value: source.axis }, end: { kind: 'int', value: source.axis + 1 } },
      },
    );
    this.#branch = branch;
    this.#symbolValues.set(dim, made);
    return made;
  }

  /** True for weights, tables and constants (and not for inputs or node results). */
  isInitializer(value: Value): boolean {
    return this.#sources.get(value) === 'initializer';
  }

  /** The finished model. Pure data; `serialize` turns it into bytes. */
  model(metadata?: ReadonlyMap<string, string>): ModelDef {
    return {
      graph: this.#graph(),
      producer: 'moe-workbench',
      irVersion: IR_VERSION,
      opsets: OPSETS,
      ...(metadata === undefined ? {} : { metadata }),
    };
  }

  serialize(): Uint8Array {
    return encodeModel(this.model());
  }

  #graph(): GraphDef {
    // Outputs get their public names by renaming the value where it is made, not by an Identity node (which would copy).
    const renamed = new Map<Value, string>();
    const identities: NodeDef[] = [];
    for (const [name, value] of this.outputs) {
      if (this.#sources.has(value) || this.#captured.has(value) || renamed.has(value)) {
        identities.push({
          name: `output/${name}`,
          op: 'Identity',
          domain: '',
          inputs: [renamed.get(value) ?? value.name],
          outputs: [name],
          attributes: NO_ATTRIBUTES,
        });
      } else renamed.set(value, name);
    }
    const nameOf = (value: Value | null): string => (value === null ? '' : (renamed.get(value) ?? value.name));
    const nodes = [...this.prologue, ...this.nodes].map((node) => nodeDef(node, nameOf));
    append(nodes, identities);
    const outputs = [...this.outputs].map(([name, value]): ValueDef => ({
      name,
      type: value.type,
      shape: value.shape,
    }));
    return {
      name: this.name,
      nodes,
      inputs: this.inputs,
      outputs,
      initializers: this.initializers,
      values: this.#declared(nameOf),
    };
  }

  /**
   * Shapes of intermediate values in terms of the inputs' symbols. ONNX Runtime reuses a buffer only for a shape that it knows
   * to be the same, and searches all free buffers for one: without names for the sizes its plan takes quadratic time.
   */
  #declared(nameOf: (value: Value) => string): ValueDef[] {
    const known = (dim: Dim): boolean =>
      typeof dim === 'number' || dim.split('*').every((part) => this.#symbols.has(part) || /^\d+$/.test(part));
    const results = this.nodes.flatMap((node) => (node.shapeless ? [] : node.outputs));
    const outputs = new Set(this.outputs.values());
    return results
      .filter((value) => !outputs.has(value) && value.shape.every(known))
      .map((value) => ({ name: nameOf(value), type: value.type, shape: value.shape }));
  }

  #value(name: string, type: ElementType, shape: readonly Dim[]): Value {
    for (const dim of shape) {
      if (typeof dim === 'number' && !(Number.isSafeInteger(dim) && dim >= 0))
        throw new RangeError(`${name}: dimension ${dim} in ${shapeText(shape)}`);
    }
    return { name, type, shape };
  }

  #claim(name: string): string {
    if (this.#names.has(name)) throw new Error(`the name ${name} is used twice in the graph`);
    this.#names.add(name);
    return name;
  }
}

/** A node as it is written, with its values named by `nameOf`. */
function nodeDef(node: Node, nameOf: (value: Value | null) => string): NodeDef {
  return { ...node, inputs: node.inputs.map(nameOf), outputs: node.outputs.map(nameOf) };
}

/** Little-endian bytes of a constant. */
function constantBytes(type: ConstantType, values: readonly number[]): Uint8Array {
  const width = ELEMENT_BYTES[type];
  const bytes = new Uint8Array(values.length * width);
  const view = new DataView(bytes.buffer);
  values.forEach((value, i) => {
    if (type === 'float32') view.setFloat32(i * width, value, true);
    else if (type === 'float64') view.setFloat64(i * width, value, true);
    else if (type === 'int32') view.setInt32(i * width, value, true);
    else if (type === 'int64') view.setBigInt64(i * width, BigInt(value), true);
    else view.setUint8(i, value === 0 ? 0 : 1);
  });
  return bytes;
}

/** Last dimension of a value; throws for a scalar. */
export function lastDim(value: Value): Dim {
  const dim = value.shape.at(-1);
  if (dim === undefined) throw new RangeError(`${value.name} is a scalar: it has no last dimension`);
  return dim;
}

/** Dimension `axis` of a value (negative counts from the end). */
export function dimOf(value: Value, axis: number): Dim {
  const dim = value.shape.at(axis);
  if (dim === undefined) throw new RangeError(`${value.name} ${shapeText(value.shape)} has no axis ${axis}`);
  return dim;
}

/** Throws unless two dimensions are the same. */
export function requireSame(what: string, a: Dim, b: Dim): void {
  if (!sameDim(a, b)) throw new RangeError(`${what}: ${product([a])} against ${product([b])}`);
}

/** Throws unless the value has the given element type. */
export function requireType(what: string, value: Value, ...types: readonly ElementType[]): void {
  if (!types.includes(value.type))
    throw new TypeError(`${what}: ${value.name} is ${value.type}, expected ${types.join(' or ')}`);
}
