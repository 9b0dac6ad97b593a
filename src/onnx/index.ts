/** ONNX graphs: builder, operators and the protobuf writer. */
export * from './types.ts';
export * from './dims.ts';
export * from './builder.ts';
export * from './encode.ts';
export * as math from './ops-math.ts';
export * as shape from './ops-shape.ts';
