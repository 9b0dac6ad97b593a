/**
 * A minimal safetensors reader for tests. It shares no code with the product on purpose: a mistake in the product's reader must
 * not hide a mistake in its writer. It trusts its input: fixtures and our own outputs.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** A tensor widened to float64, row-major. */
export interface TestTensor {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

export type JsonObject = Readonly<Record<string, unknown>>;

/** `value` as a JSON object, or an error that names `what`. */
export function asObject(value: unknown, what: string): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error(`${what} is not a JSON object`);
  return value as JsonObject;
}

function readJson(path: string): JsonObject {
  return asObject(JSON.parse(readFileSync(path, 'utf8')), path);
}

export function readConfig(folder: string): JsonObject {
  return readJson(join(folder, 'config.json'));
}

/** float16 bits to a number, by the definition (sign, 5 exponent bits, 10 fraction bits). */
function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

function bfloatToNumber(bits: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, bits * 65536);
  return view.getFloat32(0);
}

function widen(dtype: string, view: DataView): Float64Array {
  const sizes: Readonly<Record<string, number>> = { F64: 8, F32: 4, F16: 2, BF16: 2 };
  const size = sizes[dtype];
  if (size === undefined) throw new Error(`the test reader does not read ${dtype}`);
  const out = new Float64Array(view.byteLength / size);
  for (let i = 0; i < out.length; i++) {
    const at = i * size;
    if (dtype === 'F64') out[i] = view.getFloat64(at, true);
    else if (dtype === 'F32') out[i] = view.getFloat32(at, true);
    else if (dtype === 'F16') out[i] = halfToNumber(view.getUint16(at, true));
    else out[i] = bfloatToNumber(view.getUint16(at, true));
  }
  return out;
}

function readFile(path: string): Map<string, TestTensor> {
  const bytes = readFileSync(path);
  const headerLength = Number(bytes.readBigUInt64LE(0));
  const header = asObject(JSON.parse(bytes.toString('utf8', 8, 8 + headerLength)), path);
  const tensors = new Map<string, TestTensor>();
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const entry = asObject(value, `${path}: ${name}`);
    const [begin, end] = entry['data_offsets'] as [number, number];
    const start = bytes.byteOffset + 8 + headerLength + begin;
    const data = widen(entry['dtype'] as string, new DataView(bytes.buffer, start, end - begin));
    tensors.set(name, { shape: entry['shape'] as number[], data });
  }
  return tensors;
}

/** All tensors of a folder: by its index where there is one, else of its single .safetensors file. */
export function readTensors(folder: string): Map<string, TestTensor> {
  const indexPath = join(folder, 'model.safetensors.index.json');
  if (!existsSync(indexPath)) {
    const files = readdirSync(folder).filter((name) => name.endsWith('.safetensors'));
    const [only] = files;
    if (only === undefined || files.length > 1)
      throw new Error(`${folder}: expected one .safetensors file, found ${files.length}`);
    return readFile(join(folder, only));
  }
  const weightMap = asObject(readJson(indexPath)['weight_map'], `${indexPath}: weight_map`);
  const files = new Map<string, Map<string, TestTensor>>();
  const tensors = new Map<string, TestTensor>();
  for (const [name, file] of Object.entries(weightMap)) {
    const fileName = String(file);
    const content = files.get(fileName) ?? readFile(join(folder, fileName));
    files.set(fileName, content);
    const tensor = content.get(name);
    if (tensor === undefined) throw new Error(`${indexPath} names ${name} in ${fileName}, which lacks it`);
    tensors.set(name, tensor);
  }
  for (const [fileName, content] of files) {
    for (const name of content.keys()) {
      if (weightMap[name] !== fileName)
        throw new Error(`${fileName} holds ${name}, which the index does not place there`);
    }
  }
  return tensors;
}
