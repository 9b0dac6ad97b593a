import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GraphBuilder } from '../../src/onnx/builder.ts';
import { encodeModel } from '../../src/onnx/encode.ts';
import { ProtoWriter } from '../../src/onnx/proto.ts';
import type { Attribute, ModelDef, TensorDef } from '../../src/onnx/types.ts';
import { decodeModel } from './decode.ts';

function modelWith(attributes: ReadonlyMap<string, Attribute>, initializers: readonly TensorDef[] = []): ModelDef {
  return {
    producer: 'test',
    irVersion: 10,
    opsets: new Map([
      ['', 21],
      ['com.microsoft', 1],
    ]),
    metadata: new Map([['k', 'v']]),
    graph: {
      name: 'g',
      nodes: [{ name: 'n', op: 'Op', domain: 'd', inputs: ['a', '', 'b'], outputs: ['c'], attributes }],
      inputs: [{ name: 'a', type: 'float32', shape: ['B', 3] }],
      outputs: [{ name: 'c', type: 'int64', shape: [] }],
      values: [{ name: 'v', type: 'bool', shape: [2, 'B*T'] }],
      initializers,
    },
  };
}

describe('protobuf bytes', () => {
  it('writes the examples of the protobuf documentation', () => {
    const writer = new ProtoWriter(1);
    writer.int(1, 150);
    writer.string(2, 'testing');
    writer.message(3, (w) => w.int(1, 150));
    expect(Buffer.from(writer.finish()).toString('hex')).toBe('089601' + '120774657374696e67' + '1a03089601');
  });

  it('writes negative integers as ten bytes', () => {
    const writer = new ProtoWriter();
    writer.int(1, -1);
    expect(Buffer.from(writer.finish()).toString('hex')).toBe('08ffffffffffffffffff01');
  });

  it('refuses what is no safe integer', () => {
    expect(() => new ProtoWriter().int(1, 2 ** 60)).toThrow(RangeError);
    expect(() => new ProtoWriter().int(1, 1.5)).toThrow(RangeError);
  });

  it('moves long embedded messages behind their length', () => {
    const text = 'x'.repeat(70_000);
    const model = decodeModel(encodeModel(modelWith(new Map([['s', { kind: 'string', value: text }]]))));
    expect(model.graph.nodes[0]?.attributes.get('s')?.s).toBe(text);
  });
});

describe('ONNX model', () => {
  it('round-trips header, nodes and values through an independent reader', () => {
    const model = decodeModel(encodeModel(modelWith(new Map())));
    expect(model.irVersion).toBe(10);
    expect(model.producer).toBe('test');
    expect([...model.opsets]).toEqual([
      ['', 21],
      ['com.microsoft', 1],
    ]);
    expect([...model.metadata]).toEqual([['k', 'v']]);
    expect(model.graph.nodes[0]).toMatchObject({
      name: 'n',
      op: 'Op',
      domain: 'd',
      inputs: ['a', '', 'b'],
      outputs: ['c'],
    });
    expect(model.graph.inputs).toEqual([{ name: 'a', elemType: 1, shape: ['B', 3] }]);
    expect(model.graph.outputs).toEqual([{ name: 'c', elemType: 7, shape: [] }]);
    expect(model.graph.values).toEqual([{ name: 'v', elemType: 9, shape: [2, 'B*T'] }]);
  });

  it('round-trips attributes of every kind', () => {
    const point = fc.oneof(fc.integer({ min: 0, max: 0xd7ff }), fc.integer({ min: 0xe000, max: 0x10ffff }));
    const text = fc.array(point, { maxLength: 9 }).map((points) => String.fromCodePoint(...points));
    const integer = fc.integer({ min: -(2 ** 53) + 1, max: 2 ** 53 - 1 });
    const number = fc.float({ noNaN: true, noDefaultInfinity: true });
    fc.assert(
      fc.property(
        integer,
        number,
        text,
        fc.array(integer),
        fc.array(number),
        fc.array(text),
        (i, f, s, ints, floats, strings) => {
          const attributes = new Map<string, Attribute>([
            ['i', { kind: 'int', value: i }],
            ['f', { kind: 'float', value: f }],
            ['s', { kind: 'string', value: s }],
            ['ints', { kind: 'ints', value: ints }],
            ['floats', { kind: 'floats', value: floats }],
            ['strings', { kind: 'strings', value: strings }],
          ]);
          const decoded = decodeModel(encodeModel(modelWith(attributes))).graph.nodes[0]?.attributes;
          expect([...(decoded?.values() ?? [])].map((a) => a.type)).toEqual([2, 1, 3, 7, 6, 8]);
          expect(decoded?.get('i')?.i).toBe(BigInt(i));
          expect(decoded?.get('f')?.f).toBe(f);
          expect(decoded?.get('s')?.s).toBe(s);
          expect(decoded?.get('ints')?.ints).toEqual(ints.map(BigInt));
          expect(decoded?.get('floats')?.floats).toEqual(floats);
          expect(decoded?.get('strings')?.strings).toEqual(strings);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('writes tensors in the model and outside of it, and sub-graphs', () => {
    const inline: TensorDef = {
      name: 'w',
      type: 'float16',
      dims: [3],
      data: { kind: 'inline', bytes: new Uint8Array([1, 2, 3, 4, 5, 6]) },
    };
    const outside: TensorDef = {
      name: 'x',
      type: 'bfloat16',
      dims: [2, 5],
      data: { kind: 'external', location: 'dir/file.safetensors', offset: 2 ** 33 + 7, length: 20 },
    };
    const inner = modelWith(new Map()).graph;
    const attributes = new Map<string, Attribute>([
      ['t', { kind: 'tensor', value: inline }],
      ['g', { kind: 'graph', value: inner }],
    ]);
    const { graph } = decodeModel(encodeModel(modelWith(attributes, [inline, outside])));
    expect(graph.initializers[0]).toMatchObject({
      name: 'w',
      dims: [3],
      dataType: 10,
      location: 0,
      raw: new Uint8Array([1, 2, 3, 4, 5, 6]),
    });
    expect(graph.initializers[1]).toMatchObject({ name: 'x', dims: [2, 5], dataType: 16, location: 1, raw: undefined });
    expect(Object.fromEntries(graph.initializers[1]?.external ?? [])).toEqual({
      location: 'dir/file.safetensors',
      offset: '8589934599',
      length: '20',
    });
    expect(graph.nodes[0]?.attributes.get('t')).toMatchObject({ type: 4, t: { name: 'w', dataType: 10 } });
    expect(graph.nodes[0]?.attributes.get('g')).toMatchObject({ type: 5, g: { name: 'g', nodes: [{ op: 'Op' }] } });
  });

  it('refuses a tensor whose bytes do not fit its shape', () => {
    const wrong: TensorDef = {
      name: 'w',
      type: 'float32',
      dims: [2, 2],
      data: { kind: 'inline', bytes: new Uint8Array(15) },
    };
    expect(() => encodeModel(modelWith(new Map(), [wrong]))).toThrow(/w: 15 bytes, but \[2, 2\] of float32 takes 16/);
  });
});

describe('graph builder', () => {
  it('puts prologue nodes first and names outputs without copying', () => {
    const g = new GraphBuilder('g');
    const x = g.input('x', 'float32', ['N', 2]);
    const y = g.emit1('Neg', [x], { type: 'float32', shape: x.shape });
    const w = g.initializer('w', 'float16', [2], { kind: 'inline', bytes: new Uint8Array(4) });
    const cast = g.emit1(
      'Cast',
      [w],
      { type: 'float32', shape: [2] },
      { prologue: true, attributes: { to: { kind: 'int', value: 1 } } },
    );
    g.output('result', g.emit1('Add', [y, cast], { type: 'float32', shape: x.shape }));
    const { graph } = decodeModel(g.serialize());
    expect(graph.nodes.map((node) => node.op)).toEqual(['Cast', 'Neg', 'Add']);
    expect(graph.nodes[2]?.outputs).toEqual(['result']);
    expect(graph.outputs).toEqual([{ name: 'result', elemType: 1, shape: ['N', 2] }]);
  });

  it('copies only where one value is an input or has two names', () => {
    const g = new GraphBuilder('g');
    const x = g.input('x', 'float32', [1]);
    const y = g.emit1('Neg', [x], { type: 'float32', shape: [1] });
    g.output('a', x);
    g.output('b', y);
    g.output('c', y);
    expect(decodeModel(g.serialize()).graph.nodes.map((node) => [node.op, node.inputs, node.outputs])).toEqual([
      ['Neg', ['x'], ['b']],
      ['Identity', ['x'], ['a']],
      ['Identity', ['b'], ['c']],
    ]);
  });

  it('makes equal constants once, tells -0 from 0, and refuses a name twice', () => {
    const g = new GraphBuilder('g');
    expect(g.scalar(1.5)).toBe(g.scalar(1.5));
    expect(g.scalar(0)).not.toBe(g.scalar(-0));
    expect(g.constant('int64', [1], [1])).not.toBe(g.constant('int64', [], [1]));
    g.input('x', 'float32', [1]);
    expect(() => g.input('x', 'float32', [1])).toThrow(/used twice/);
  });

  it('keeps branch nodes out of the graph around, and refuses results from outside', () => {
    const g = new GraphBuilder('g');
    const x = g.input('x', 'float32', [1]);
    const attribute = g.branch(() => g.emit1('Neg', [x], { type: 'float32', shape: [1] }));
    expect(attribute.kind).toBe('graph');
    expect(g.nodes).toHaveLength(0);
    expect(g.inBranch).toBe(false);
    expect(() => g.branch(() => x)).toThrow(/not made in the branch/);
    expect(() => g.branch(() => (g.branch(() => x), x))).toThrow(/nested/);
    expect(g.inBranch).toBe(false);
  });
});
