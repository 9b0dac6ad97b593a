/** What a gradient rule sees and gives. */
import { MoeError } from '../../common/errors.ts';
import type { GraphBuilder, Node, Value } from '../builder.ts';
import { widen } from './ops.ts';

export class RuleContext {
  constructor(
    readonly g: GraphBuilder,
    readonly node: Node,
    /** Gradients of the outputs, narrow ones among them (see `widen`); null where nothing came. */
    private readonly outputs: readonly (Value | null)[],
    private readonly active: ReadonlySet<Value>,
    private readonly send: (value: Value, gradient: Value) => void,
    /** Values that several rules share, by name. */
    private readonly shared: Map<string, Value>,
  ) {}

  input(index: number): Value {
    const value = this.node.inputs[index];
    if (value === undefined || value === null) throw this.fault(`has no input ${index}`);
    return value;
  }

  output(index = 0): Value {
    const value = this.node.outputs[index];
    if (value === undefined) throw this.fault(`has no output ${index}`);
    return value;
  }

  /** Gradient of an output, possibly narrow. */
  gradient(index = 0): Value {
    const value = this.outputs[index];
    if (value === undefined || value === null) throw this.fault(`got no gradient for output ${index}`);
    return value;
  }

  gradientOrNull(index: number): Value | null {
    return this.outputs[index] ?? null;
  }

  /** Gradient of an output in its whole shape. */
  wide(index = 0): Value {
    return widen(this.g, this.gradient(index), this.output(index));
  }

  /** Whether input `index` leads to anything that is differentiated by. */
  needs(index: number): boolean {
    const value = this.node.inputs[index];
    return value !== undefined && value !== null && this.active.has(value);
  }

  /** Hands on the gradient of an input, where one is needed. */
  give(index: number, gradient: () => Value): void {
    if (this.needs(index)) this.send(this.input(index), gradient());
  }

  once(key: string, make: () => Value): Value {
    const known = this.shared.get(key);
    if (known !== undefined) return known;
    const made = make();
    this.shared.set(key, made);
    return made;
  }

  int(name: string, absent = 0): number {
    const attribute = this.node.attributes.get(name);
    return attribute?.kind === 'int' ? attribute.value : absent;
  }

  float(name: string, absent: number): number {
    const attribute = this.node.attributes.get(name);
    return attribute?.kind === 'float' ? attribute.value : absent;
  }

  fault(what: string): MoeError {
    return new MoeError('internal', 'no-gradient', `Node ${this.node.name} (${this.node.op}) ${what}.`);
  }
}

export type Rule = (c: RuleContext) => void;
