/**
 * The filter language of the tensor list. Words stand for parts of the name; `*` and `?` make a glob, `/…/` a regular
 * expression; `field:value` asks for a property; `-` before a term turns it round; all terms must hold.
 */
import { compileSafeRegExp } from './safe-regexp.ts';

export type NumberTest =
  | { readonly kind: 'range'; readonly from: number; readonly to: number }
  | { readonly kind: 'word'; readonly word: string };

export type Test =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'glob'; readonly glob: string; readonly of: 'name' | 'file' }
  | { readonly kind: 'regexp'; readonly regexp: RegExp }
  | { readonly kind: 'words'; readonly field: 'dtype' | 'role' | 'file' | 'problem'; readonly words: readonly string[] }
  | { readonly kind: 'number'; readonly field: NumberField; readonly any: readonly NumberTest[] }
  | { readonly kind: 'shape'; readonly any: readonly (readonly (number | null)[])[] };

export type NumberField = 'layer' | 'expert' | 'size' | 'elements' | 'rank';

export interface Term {
  readonly not: boolean;
  readonly test: Test;
}

export interface FilterProblem {
  readonly message: string;
  /** Place in the text, end exclusive. */
  readonly from: number;
  readonly to: number;
}

export type ParsedFilter =
  { readonly ok: true; readonly terms: readonly Term[] } | { readonly ok: false; readonly problem: FilterProblem };

const FIELDS = ['name', 'dtype', 'layer', 'expert', 'role', 'file', 'shape', 'size', 'elements', 'rank', 'problem'];
const ROLES = ['router', 'expert', 'shared', 'shared_gate', 'attention', 'norm', 'embed', 'head', 'ffn', 'other'];
const MAX_FILTER = 4096;
const MAX_TERMS = 64;

class Fault extends Error {
  constructor(
    message: string,
    readonly from: number,
    readonly to: number,
  ) {
    super(message);
  }
}

/** Reads a filter; never throws: what is wrong is told with its place. */
export function parseFilter(text: string): ParsedFilter {
  try {
    if (text.length > MAX_FILTER)
      throw new Fault(`a filter has at most ${String(MAX_FILTER)} characters`, MAX_FILTER, text.length);
    const terms: Term[] = [];
    let at = 0;
    while (at < text.length) {
      if (isSpace(text, at)) {
        at++;
        continue;
      }
      if (terms.length === MAX_TERMS)
        throw new Fault(`a filter has at most ${String(MAX_TERMS)} terms`, at, text.length);
      const [term, end] = readTerm(text, at);
      terms.push(term);
      at = end;
    }
    return { ok: true, terms };
  } catch (error) {
    if (error instanceof Fault)
      return { ok: false, problem: { message: error.message, from: error.from, to: error.to } };
    throw error;
  }
}

function isSpace(text: string, at: number): boolean {
  return /\s/.test(text.charAt(at));
}

function readTerm(text: string, start: number): [Term, number] {
  const not = text[start] === '-' || text[start] === '!';
  const from = not ? start + 1 : start;
  if (from >= text.length || isSpace(text, from)) throw new Fault('“-” must stand right before a term', start, from);
  const field = /^([a-z_]+):/i.exec(text.slice(from, from + 40))?.[1];
  if (field === undefined) {
    const value = readValue(text, from);
    return [{ not, test: nameTest(value, from) }, value.end];
  }
  const name = field.toLowerCase();
  const valueFrom = from + field.length + 1;
  if (!FIELDS.includes(name)) {
    throw new Fault(
      `there is no field “${field}”; fields are ${FIELDS.join(', ')}. Put the term in quotes to look for the text itself`,
      from,
      valueFrom,
    );
  }
  if (valueFrom >= text.length || isSpace(text, valueFrom)) {
    throw new Fault(
      `“${field}:” needs a value right after the colon, such as ${EXAMPLES.get(name) ?? ''}`,
      from,
      valueFrom,
    );
  }
  const value = readValue(text, valueFrom);
  return [{ not, test: name === 'name' ? nameTest(value, valueFrom) : fieldTest(name, value, valueFrom) }, value.end];
}

interface Value {
  readonly text: string;
  readonly form: 'plain' | 'quoted' | 'regexp';
  readonly flags: string;
  readonly end: number;
}

function readValue(text: string, from: number): Value {
  const first = text[from];
  if (first === '"') {
    let out = '';
    for (let i = from + 1; i < text.length; i++) {
      const c = text.charAt(i);
      if (c === '\\' && i + 1 < text.length) out += text.charAt(++i);
      else if (c === '"') return { text: out, form: 'quoted', flags: '', end: i + 1 };
      else out += c;
    }
    throw new Fault('the quote is not closed', from, text.length);
  }
  if (first === '/') {
    let inClass = false;
    for (let i = from + 1; i < text.length; i++) {
      const c = text.charAt(i);
      if (c === '\\') i++;
      else if (c === '[') inClass = true;
      else if (c === ']') inClass = false;
      else if (c === '/' && !inClass) {
        const flags = /^[a-z]*/i.exec(text.slice(i + 1))?.[0] ?? '';
        return { text: text.slice(from + 1, i), form: 'regexp', flags, end: i + 1 + flags.length };
      }
    }
    throw new Fault('the regular expression is not closed by “/”', from, text.length);
  }
  let end = from;
  let brackets = 0;
  for (; end < text.length; end++) {
    const c = text.charAt(end);
    if (c === '[') brackets++;
    else if (c === ']') brackets--;
    else if (/\s/.test(c) && (brackets <= 0 || !text.slice(end).includes(']'))) break;
  }
  return { text: text.slice(from, end), form: 'plain', flags: '', end };
}

function nameTest(value: Value, from: number): Test {
  if (value.form === 'regexp') return { kind: 'regexp', regexp: regexpOf(value, from) };
  if (value.text === '') throw new Fault('an empty text is in every name', from, value.end);
  if (value.form === 'plain' && /[*?]/.test(value.text))
    return { kind: 'glob', glob: value.text.toLowerCase(), of: 'name' };
  return { kind: 'text', text: value.text.toLowerCase() };
}

function regexpOf(value: Value, from: number): RegExp {
  const made = compileSafeRegExp(value.text, value.flags);
  if (made instanceof RegExp) return made;
  throw new Fault(made, from, value.end);
}

const EXAMPLES: ReadonlyMap<string, string> = new Map([
  ['name', 'name:q_proj'],
  ['dtype', 'dtype:bf16'],
  ['layer', 'layer:3, layer:0-5 or layer:none'],
  ['expert', 'expert:2, expert:0-7, expert:packed or expert:none'],
  ['role', 'role:router'],
  ['file', 'file:00001'],
  ['shape', 'shape:4096x* or shape:[4096, 14336]'],
  ['size', 'size:>1MB or size:1MB-2GB'],
  ['elements', 'elements:>1M'],
  ['rank', 'rank:2'],
  ['problem', 'problem:any, problem:error or problem:none'],
]);

function fieldTest(field: string, value: Value, from: number): Test {
  if (value.form === 'regexp')
    throw new Fault(`${field}: takes no regular expression; /…/ alone looks at names`, from, value.end);
  const fault = (what: string): Fault =>
    new Fault(`${what}: write it as ${EXAMPLES.get(field) ?? field}`, from, value.end);
  if (field === 'shape')
    return { kind: 'shape', any: [shapeOf(value.text) ?? raise(fault(`“${value.text}” is no shape`))] };
  const words = value.form === 'quoted' ? [value.text] : value.text.split(',').map((word) => word.trim());
  if (words.some((word) => word === '')) throw fault('a value is missing');
  switch (field) {
    case 'dtype':
      return { kind: 'words', field, words: words.map(dtypeWord) };
    case 'role': {
      const wrong = words.find((word) => !ROLES.includes(word.toLowerCase()));
      if (wrong !== undefined)
        throw new Fault(`there is no role “${wrong}”; roles are ${ROLES.join(', ')}`, from, value.end);
      return { kind: 'words', field, words: words.map((word) => word.toLowerCase()) };
    }
    case 'problem':
      if (words.some((word) => !['any', 'none', 'error', 'warning', 'info'].includes(word)))
        throw fault('that is no severity');
      return { kind: 'words', field, words };
    case 'file':
      return /[*?]/.test(value.text) && value.form === 'plain'
        ? { kind: 'glob', glob: value.text.toLowerCase(), of: 'file' }
        : { kind: 'words', field, words: words.map((word) => word.toLowerCase()) };
    default: {
      const numeric = field as NumberField;
      const any = words.map((word) => numberTest(numeric, word) ?? raise(fault(`“${word}” cannot be read`)));
      return { kind: 'number', field: numeric, any };
    }
  }
}

function raise(fault: Fault): never {
  throw fault;
}

/** Other spellings of dtypes: torch's and numpy's. */
const DTYPE_WORDS: ReadonlyMap<string, string> = new Map([
  ['bfloat16', 'bf16'],
  ['float16', 'f16'],
  ['half', 'f16'],
  ['fp16', 'f16'],
  ['float32', 'f32'],
  ['float', 'f32'],
  ['fp32', 'f32'],
  ['float64', 'f64'],
  ['double', 'f64'],
  ['int8', 'i8'],
  ['int16', 'i16'],
  ['int32', 'i32'],
  ['int64', 'i64'],
  ['uint8', 'u8'],
  ['fp8', 'f8'],
]);

function dtypeWord(word: string): string {
  const lower = word.toLowerCase();
  return DTYPE_WORDS.get(lower) ?? lower;
}

const WORDS_OF: Readonly<Record<NumberField, readonly string[]>> = {
  layer: ['none', 'any'],
  expert: ['none', 'any', 'packed'],
  size: [],
  elements: [],
  rank: [],
};

function numberTest(field: NumberField, word: string): NumberTest | null {
  const lower = word.toLowerCase();
  if (WORDS_OF[field].includes(lower)) return { kind: 'word', word: lower };
  const compared = /^(>=|<=|>|<|=)(.+)$/.exec(lower);
  const whole = field === 'layer' || field === 'expert' || field === 'rank';
  const read = (text: string): number | null => (whole ? wholeOf(text) : quantityOf(text, field === 'size'));
  if (compared !== null) {
    const value = read((compared[2] ?? '').trim());
    if (value === null) return null;
    switch (compared[1]) {
      case '>':
        return { kind: 'range', from: nextAbove(value), to: Infinity };
      case '>=':
        return { kind: 'range', from: value, to: Infinity };
      case '<':
        return { kind: 'range', from: -Infinity, to: nextBelow(value) };
      case '<=':
        return { kind: 'range', from: -Infinity, to: value };
      default:
        return { kind: 'range', from: value, to: value };
    }
  }
  const range = /^(.+?)(?:-|–|\.\.)(.+)$/.exec(lower);
  if (range !== null) {
    const from = read((range[1] ?? '').trim());
    const to = read((range[2] ?? '').trim());
    return from === null || to === null || from > to ? null : { kind: 'range', from, to };
  }
  const value = read(lower);
  return value === null ? null : { kind: 'range', from: value, to: value };
}

// All fields are whole numbers, so that the next one is one away; limits may be fractions ("1.5kB" is 1500).
function nextAbove(value: number): number {
  return Math.floor(value) + 1;
}

function nextBelow(value: number): number {
  return Math.ceil(value) - 1;
}

function wholeOf(text: string): number | null {
  return /^\d{1,15}$/.test(text) ? Number(text) : null;
}

const UNITS: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['k', 1e3],
  ['m', 1e6],
  ['g', 1e9],
  ['b', 1e9],
  ['t', 1e12],
  ['ki', 2 ** 10],
  ['mi', 2 ** 20],
  ['gi', 2 ** 30],
  ['ti', 2 ** 40],
]);

/** `1.5MB`, `2GiB`, `300`; without bytes `7B` is seven billion. */
function quantityOf(text: string, bytes: boolean): number | null {
  const found = /^(\d{1,15}(?:\.\d{1,9})?)\s*([a-z]*)$/.exec(text);
  if (found === null) return null;
  const unit = bytes ? (found[2] ?? '').replace(/(?:bytes?|b)$/, '') : (found[2] ?? '');
  const factor = bytes && unit === 'b' ? undefined : UNITS.get(unit);
  return factor === undefined ? null : Number(found[1]) * factor;
}

function shapeOf(text: string): (number | null)[] | null {
  const inner = text.trim().replace(/^\[(.*)\]$/s, '$1');
  if (inner === '') return text.trim() === '[]' ? [] : null;
  const dims = inner.split(/\s*[x×,]\s*/i).map((dim) => dim.trim());
  if (dims.some((dim) => dim !== '*' && dim !== '?' && !/^\d{1,15}$/.test(dim))) return null;
  return dims.map((dim) => (/^\d/.test(dim) ? Number(dim) : null));
}
