/** ONNX model → protobuf bytes. Field numbers are those of onnx.proto. */
import { ProtoWriter } from './proto.ts';
import { ELEMENT_BYTES, ELEMENT_CODES } from './types.ts';
import type { Attribute, GraphDef, ModelDef, NodeDef, TensorDef, ValueDef } from './types.ts';

const ATTRIBUTE_TYPES: Readonly<Record<Attribute['kind'], number>> = {
  float: 1,
  int: 2,
  string: 3,
  tensor: 4,
  graph: 5,
  floats: 6,
  ints: 7,
  strings: 8,
};

const utf8 = new TextEncoder();

/** Serialises a model. Throws a RangeError for a tensor whose byte count does not fit its shape. */
export function encodeModel(model: ModelDef): Uint8Array {
  const writer = new ProtoWriter(1 << 16);
  writer.int(1, model.irVersion);
  writer.string(2, model.producer);
  writer.message(7, (w) => writeGraph(w, model.graph));
  for (const [domain, version] of model.opsets) {
    writer.message(8, (w) => {
      w.string(1, domain);
      w.int(2, version);
    });
  }
  for (const [key, value] of model.metadata ?? []) writer.message(14, (w) => writePair(w, key, value));
  return writer.finish();
}

function writeGraph(writer: ProtoWriter, graph: GraphDef): void {
  for (const node of graph.nodes) writer.message(1, (w) => writeNode(w, node));
  writer.string(2, graph.name);
  for (const tensor of graph.initializers) writer.message(5, (w) => writeTensor(w, tensor));
  for (const value of graph.inputs) writer.message(11, (w) => writeValue(w, value));
  for (const value of graph.outputs) writer.message(12, (w) => writeValue(w, value));
  for (const value of graph.values) writer.message(13, (w) => writeValue(w, value));
}

function writeNode(writer: ProtoWriter, node: NodeDef): void {
  for (const input of node.inputs) writer.string(1, input);
  for (const output of node.outputs) writer.string(2, output);
  writer.string(3, node.name);
  writer.string(4, node.op);
  for (const [name, attribute] of node.attributes) writer.message(5, (w) => writeAttribute(w, name, attribute));
  if (node.domain !== '') writer.string(7, node.domain);
}

function writeAttribute(writer: ProtoWriter, name: string, attribute: Attribute): void {
  writer.string(1, name);
  switch (attribute.kind) {
    case 'float':
      writer.float(2, attribute.value);
      break;
    case 'int':
      writer.int(3, attribute.value);
      break;
    case 'string':
      writer.bytes(4, utf8.encode(attribute.value));
      break;
    case 'tensor':
      writer.message(5, (w) => writeTensor(w, attribute.value));
      break;
    case 'graph':
      writer.message(6, (w) => writeGraph(w, attribute.value));
      break;
    case 'floats':
      for (const value of attribute.value) writer.float(7, value);
      break;
    case 'ints':
      for (const value of attribute.value) writer.int(8, value);
      break;
    case 'strings':
      for (const value of attribute.value) writer.bytes(9, utf8.encode(value));
      break;
  }
  writer.int(20, ATTRIBUTE_TYPES[attribute.kind]);
}

function writeTensor(writer: ProtoWriter, tensor: TensorDef): void {
  const elements = tensor.dims.reduce((product, dim) => product * dim, 1);
  const expected = elements * ELEMENT_BYTES[tensor.type];
  const actual = tensor.data.kind === 'inline' ? tensor.data.bytes.length : tensor.data.length;
  if (actual !== expected) {
    throw new RangeError(
      `tensor ${tensor.name}: ${actual} bytes, but [${tensor.dims.join(', ')}] of ${tensor.type} takes ${expected}`,
    );
  }
  for (const dim of tensor.dims) writer.int(1, dim);
  writer.int(2, ELEMENT_CODES[tensor.type]);
  writer.string(8, tensor.name);
  const data = tensor.data;
  if (data.kind === 'inline') {
    writer.bytes(9, data.bytes);
    return;
  }
  writer.message(13, (w) => writePair(w, 'location', data.location));
  writer.message(13, (w) => writePair(w, 'offset', String(data.offset)));
  writer.message(13, (w) => writePair(w, 'length', String(data.length)));
  writer.int(14, 1);
}

function writePair(writer: ProtoWriter, key: string, value: string): void {
  writer.string(1, key);
  writer.string(2, value);
}

function writeValue(writer: ProtoWriter, value: ValueDef): void {
  writer.string(1, value.name);
  writer.message(2, (type) => {
    type.message(1, (tensor) => {
      tensor.int(1, ELEMENT_CODES[value.type]);
      const dims = value.shape;
      if (dims === null) return;
      tensor.message(2, (shape) => {
        for (const dim of dims) {
          shape.message(1, (w) => {
            if (typeof dim === 'number') w.int(1, dim);
            else w.string(2, dim);
          });
        }
      });
    });
  });
}
