/** Metadata values: the thirteen GGUF types, arrays and nested arrays, all bounded. */
import { grouped } from '../common/errors.ts';
import type { GgufCursor } from './cursor.ts';
import type { GgufArray, GgufNumbers, GgufTypeName, GgufValue } from './types.ts';

const TYPE_NAMES: readonly GgufTypeName[] = [
  'UINT8',
  'INT8',
  'UINT16',
  'INT16',
  'UINT32',
  'INT32',
  'FLOAT32',
  'BOOL',
  'STRING',
  'ARRAY',
  'UINT64',
  'INT64',
  'FLOAT64',
];

/** Strings in arrays, per file: the largest known vocabularies hold 262k tokens and 515k merges. */
const MAX_STRINGS = 8_000_000;
/** Arrays inside arrays, per array. */
const MAX_INNER_ARRAYS = 1_000_000;
const MAX_DEPTH = 4;

/** Counted over the whole file. */
export interface ValueBudget {
  /** Strings and inner arrays made so far. */
  strings: number;
  /** Strings that were not UTF-8. */
  lossy: number;
}

/** The name of value type `id`, or undefined for an unknown one. */
export function typeNameOf(id: number): GgufTypeName | undefined {
  return TYPE_NAMES[id];
}

/** Reads one value of type `id` (known to `typeNameOf`) and says its type. */
export function readValue(cursor: GgufCursor, id: number, budget: ValueBudget): { value: GgufValue; typeName: string } {
  const name = typeNameOf(id) ?? 'UINT8';
  if (name !== 'ARRAY') return { value: readScalar(cursor, name, budget), typeName: name };
  const value = readArray(cursor, budget, 1);
  return { value, typeName: `ARRAY[${value.elementType}]` };
}

function readScalar(
  cursor: GgufCursor,
  type: Exclude<GgufTypeName, 'ARRAY'>,
  budget: ValueBudget,
): string | number | bigint | boolean {
  const what = 'its value';
  switch (type) {
    case 'UINT8':
      return cursor.u8(what);
    case 'INT8':
      return cursor.i8(what);
    case 'UINT16':
      return cursor.u16(what);
    case 'INT16':
      return cursor.i16(what);
    case 'UINT32':
      return cursor.u32(what);
    case 'INT32':
      return cursor.i32(what);
    case 'FLOAT32':
      return cursor.f32(what);
    case 'FLOAT64':
      return cursor.f64(what);
    case 'UINT64':
      return safe(cursor.u64(what));
    case 'INT64':
      return safe(cursor.i64(what));
    case 'BOOL': {
      const at = cursor.position;
      const byte = cursor.u8(what);
      if (byte > 1)
        throw cursor.error(
          'gguf-bool',
          `${cursor.subject} is a boolean with value ${byte}`,
          'The file is damaged.',
          at,
        );
      return byte === 1;
    }
    case 'STRING':
      return readText(cursor, budget);
  }
}

function readText(cursor: GgufCursor, budget: ValueBudget): string {
  const { text, valid } = cursor.string('a string');
  if (!valid) budget.lossy++;
  return text;
}

function safe(n: bigint): number | bigint {
  const asNumber = Number(n);
  return Number.isSafeInteger(asNumber) ? asNumber : n;
}

function readArray(cursor: GgufCursor, budget: ValueBudget, depth: number): GgufArray {
  const at = cursor.position;
  if (depth > MAX_DEPTH)
    throw cursor.error(
      'gguf-depth',
      `${cursor.subject} nests arrays more than ${MAX_DEPTH} deep`,
      'The file is damaged or hostile.',
    );
  const typeId = cursor.u32('the element type');
  const elementType = typeNameOf(typeId);
  if (elementType === undefined)
    throw cursor.error(
      'gguf-value-type',
      `${cursor.subject} is an array of unknown type ${typeId}`,
      'The file is damaged.',
      at,
    );
  const count = cursor.count('the array length');
  if (elementType === 'STRING') return { kind: 'strings', elementType, values: readStrings(cursor, budget, count) };
  if (elementType === 'ARRAY') {
    claim(cursor, budget, count, 12, MAX_INNER_ARRAYS);
    const values: GgufArray[] = [];
    for (let i = 0; i < count; i++) values.push(readArray(cursor, budget, depth + 1));
    return { kind: 'arrays', elementType, values };
  }
  return { kind: 'numbers', elementType, values: readNumbers(cursor, elementType, count) };
}

/** Refuses a count that the rest of the file cannot hold, before anything is allocated for it. */
function claim(cursor: GgufCursor, budget: ValueBudget, count: number, minBytes: number, max: number): void {
  if (count * minBytes > cursor.size - cursor.position)
    throw cursor.truncated(`an array of ${grouped(count)} elements`, count * minBytes);
  budget.strings += count;
  if (count <= max && budget.strings <= MAX_STRINGS) return;
  throw cursor.error(
    'gguf-too-many',
    `${cursor.subject} has ${grouped(count)} elements; a file may have ${grouped(Math.min(max, MAX_STRINGS))}`,
    'The file is damaged or hostile.',
  );
}

function readStrings(cursor: GgufCursor, budget: ValueBudget, count: number): string[] {
  claim(cursor, budget, count, 8, MAX_STRINGS);
  const values: string[] = [];
  for (let i = 0; i < count; i++) values.push(readText(cursor, budget));
  return values;
}

function readNumbers(cursor: GgufCursor, type: Exclude<GgufTypeName, 'ARRAY' | 'STRING'>, count: number): GgufNumbers {
  const width = {
    UINT8: 1,
    INT8: 1,
    BOOL: 1,
    UINT16: 2,
    INT16: 2,
    UINT32: 4,
    INT32: 4,
    FLOAT32: 4,
    UINT64: 8,
    INT64: 8,
    FLOAT64: 8,
  }[type];
  const what = `an array of ${grouped(count)} × ${type}`;
  const length = count * width;
  if (length > cursor.size - cursor.position) throw cursor.truncated(what, length);
  cursor.checkHeaderLimit(length);
  const bytes = new Uint8Array(length);
  cursor.copyTo(bytes, what);
  return view(bytes.buffer, type);
}

/** The bytes as numbers. All machines that Node runs on are little endian, as the file is. */
function view(buffer: ArrayBuffer, type: Exclude<GgufTypeName, 'ARRAY' | 'STRING'>): GgufNumbers {
  switch (type) {
    case 'UINT8':
    case 'BOOL':
      return new Uint8Array(buffer);
    case 'INT8':
      return new Int8Array(buffer);
    case 'UINT16':
      return new Uint16Array(buffer);
    case 'INT16':
      return new Int16Array(buffer);
    case 'UINT32':
      return new Uint32Array(buffer);
    case 'INT32':
      return new Int32Array(buffer);
    case 'FLOAT32':
      return new Float32Array(buffer);
    case 'FLOAT64':
      return new Float64Array(buffer);
    case 'UINT64':
      return new BigUint64Array(buffer);
    case 'INT64':
      return new BigInt64Array(buffer);
  }
}
