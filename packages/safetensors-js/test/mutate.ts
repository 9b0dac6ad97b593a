/** Headers with damage: sound ones, changed at the level of bytes, of JSON tokens, or of meaning. */

/** A seeded generator (mulberry32): the same seed gives the same headers everywhere. */
export function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

type Random = (below: number) => number;

const DTYPES: readonly (readonly [string, number])[] = [
  ['F32', 32],
  ['BF16', 16],
  ['F16', 16],
  ['F4', 4],
  ['F6_E2M3', 6],
  ['F6_E3M2', 6],
  ['F8_E4M3', 8],
  ['F8_E5M2', 8],
  ['F8_E8M0', 8],
  ['F8_E4M3FNUZ', 8],
  ['F8_E5M2FNUZ', 8],
  ['BOOL', 8],
  ['U8', 8],
  ['I8', 8],
  ['U16', 16],
  ['I16', 16],
  ['U32', 32],
  ['I32', 32],
  ['U64', 64],
  ['I64', 64],
  ['F64', 64],
  ['C64', 64],
];

const NAMES = ['a', 'b.weight', '', '__proto__', 'constructor', 'é', '𝄞', 'x y', 'toString', '__metadata', 'model.0'];

function pick<T>(next: Random, list: readonly T[]): T {
  return list[next(list.length)] as T;
}

/** A sound header and the bytes of data it announces. Every key may be escaped, every list empty, every order shuffled. */
export function soundHeader(next: Random): { json: string; dataBytes: number } {
  const names = NAMES.filter(() => next(3) === 0);
  let offset = 0;
  const entries: string[] = [];
  for (const name of names) {
    const [dtype, bits] = pick(next, DTYPES);
    const rank = next(4);
    const shape = Array.from({ length: rank }, () => next(next(8) === 0 ? 1 : 5));
    if (bits < 8) shape.push(8);
    const bytes = (shape.reduce((product, dim) => product * dim, 1) * bits) / 8;
    const fields = [
      `"dtype":"${dtype}"`,
      `"shape":[${shape.join(',')}]`,
      `"data_offsets":[${String(offset)},${String(offset + bytes)}]`,
    ];
    if (next(6) === 0) fields.push(`"extra":${pick(next, VALUES)}`);
    if (next(3) === 0) fields.reverse();
    entries.push(`${JSON.stringify(name)}:{${fields.join(',')}}`);
    offset += bytes;
  }
  if (next(4) === 0) entries.unshift('"__metadata__":{"format":"pt","k":"v"}');
  if (next(4) === 0) entries.reverse();
  return { json: `{${entries.join(',')}}${' '.repeat(next(9))}`, dataBytes: offset };
}

const NUMBERS = [
  '0',
  '-0',
  '1',
  '-1',
  '2',
  '4',
  '8',
  '00',
  '01',
  '1e0',
  '1E+1',
  '1.0',
  '0.5',
  '1.',
  '.5',
  '1e',
  '1e400',
  '-1e400',
  '0e400',
  '1e-400',
  '1.7976931348623157e308',
  '9007199254740991',
  '9007199254740992',
  '9007199254740993',
  '9223372036854775807',
  '9223372036854775808',
  '18446744073709551615',
  '18446744073709551616',
  '4611686018427387904',
  '-9223372036854775808',
  '123456789012345678901234567890',
  '1'.repeat(309),
  '1'.repeat(310),
  '0x10',
  '+1',
  'NaN',
  'Infinity',
  '1_0',
];

const VALUES = [
  ...NUMBERS,
  'null',
  'true',
  'false',
  'nul',
  'True',
  '""',
  '"x"',
  '"\\ud83d\\ude00"',
  '"\\ud83d"',
  '"\\ude00"',
  '"\\u00e9"',
  '"\\u0000"',
  '"\\x41"',
  '"\\/"',
  '"\u0001"',
  '"\u007f"',
  '"\t"',
  '[]',
  '{}',
  '[1,2]',
  '[1,]',
  '[,1]',
  '{"a":1,}',
  '{"a":1,"a":2}',
  '{"F32":null}',
  '{"F32":{}}',
  '{"F32":null,"F16":null}',
  '["F32",[],[0,4]]',
  '["F32",[1],[0,4],1]',
  '["F32",[1]]',
  '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}',
  '{"dtype":"F32","shape":[0,18446744073709551615],"data_offsets":[0,0]}',
  '{"dtype":"F32","shape":[9223372036854775808,2,0],"data_offsets":[0,0]}',
  '{"dtype":"F32","shape":[9007199254740993,0],"data_offsets":[0,0]}',
  '['.repeat(126) + ']'.repeat(126),
  '['.repeat(125) + ']'.repeat(125),
  '['.repeat(124) + ']'.repeat(124),
  '{"a":'.repeat(125) + '1' + '}'.repeat(125),
  '"F64"',
  '"f32"',
  '"F128"',
  '"F8_E4M3FN"',
];

const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|[[\]{},:]|\s+|[a-zA-Z]+/g;
const PUNCTUATION = [
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '"',
  '\\',
  ' ',
  '\t',
  '\n',
  '\r',
  '\v',
  '\u00a0',
  '\ufeff',
  '0',
  '-',
  '.',
  'e',
];

function mutateTokens(next: Random, json: string): string {
  const tokens = json.match(TOKEN) ?? [json];
  const at = next(tokens.length);
  const token = tokens[at] as string;
  switch (next(8)) {
    case 0:
      tokens.splice(at, 1);
      break;
    case 1:
      tokens.splice(at, 0, pick(next, PUNCTUATION));
      break;
    case 2:
      tokens[at] = /^[-\d]/.test(token) ? pick(next, NUMBERS) : pick(next, VALUES);
      break;
    case 3: {
      const other = next(tokens.length);
      tokens[at] = tokens[other] as string;
      tokens[other] = token;
      break;
    }
    case 4:
      // A number, wherever the next one stands.
      for (let i = at; i < tokens.length; i++) {
        if (/^[-\d]/.test(tokens[i] as string)) {
          tokens[i] = pick(next, NUMBERS);
          break;
        }
      }
      break;
    case 5:
      // A string, its first letter escaped: the same meaning.
      for (let i = at; i < tokens.length; i++) {
        const text = tokens[i] as string;
        if (/^"[a-zA-Z]/.test(text)) {
          tokens[i] = `"\\u${text.charCodeAt(1).toString(16).padStart(4, '0')}${text.slice(2)}`;
          break;
        }
      }
      break;
    case 6: {
      const length = 1 + next(12);
      tokens.splice(at, 0, ...tokens.slice(at, at + length));
      break;
    }
    default:
      tokens[at] = `${token}${pick(next, [' ', '\n', '\t', '\r', '\f', ''])}`;
  }
  return tokens.join('');
}

/** Changes one number a little, or to another one of the header: the JSON stays sound, its meaning does not. */
function mutateNumber(next: Random, json: string): string {
  const numbers = [...json.matchAll(/(?<=[[,])\d+(?=[\],])/g)];
  if (numbers.length === 0) return json;
  const match = pick(next, numbers);
  const value = Number(match[0]);
  const other = pick(next, numbers)[0];
  const changed = pick(next, [String(value + 1), String(Math.max(0, value - 1)), String(value * 2), other, other, '0']);
  return json.slice(0, match.index) + changed + json.slice(match.index + match[0].length);
}

function mutateBytes(next: Random, bytes: Buffer): Buffer {
  if (bytes.length === 0) return bytes;
  const at = next(bytes.length);
  switch (next(4)) {
    case 0: {
      const copy = Buffer.from(bytes);
      copy[at] = next(256);
      return copy;
    }
    case 1: {
      const copy = Buffer.from(bytes);
      copy[at] = (copy[at] as number) ^ (1 << next(8));
      return copy;
    }
    case 2:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + next(3))]);
    default:
      return Buffer.concat([bytes.subarray(0, at), Buffer.from([next(256)]), bytes.subarray(at)]);
  }
}

/** Inserts a whole member at the start of the object or of a tensor. */
function mutateMembers(next: Random, json: string): string {
  const openings = [...json.matchAll(/\{/g)].map((match) => match.index + 1);
  if (openings.length === 0) return json;
  const at = pick(next, openings);
  const key = pick(next, ['"x"', '"dtype"', '"shape"', '"data_offsets"', '"__metadata__"', '"a"', '"__proto__"', '""']);
  const comma = json[at] === '}' ? '' : ',';
  return `${json.slice(0, at)}${key}:${pick(next, VALUES)}${comma}${json.slice(at)}`;
}

/** A whole file, sound or damaged. */
export function damagedFile(next: Random): Buffer {
  const { json, dataBytes } = soundHeader(next);
  let text = json;
  if (next(3) === 0) {
    for (let i = next(3); i > 0; i--) text = mutateNumber(next, text);
    return frame(next, Buffer.from(text), dataBytes);
  }
  for (let i = next(4); i > 0; i--) text = next(3) === 0 ? mutateMembers(next, text) : mutateTokens(next, text);
  let header: Buffer = Buffer.from(text);
  if (next(3) === 0) header = mutateBytes(next, header);
  return frame(next, header, dataBytes);
}

/** Length, header and data; now and then the length or the data do not fit. */
function frame(next: Random, header: Buffer, dataBytes: number): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(next(20) === 0 ? Math.max(0, header.length + next(5) - 2) : header.length));
  if (next(100) === 0) length[next(8)] = next(256);
  const data = next(20) === 0 ? Math.max(0, dataBytes + next(9) - 4) : dataBytes;
  return Buffer.concat([length, header, Buffer.alloc(data)]);
}
