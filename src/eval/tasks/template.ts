import { MoeError } from '../../common/errors.ts';
import type { RowReader } from '../data/rows.ts';
import { isRow, typeName } from '../data/rows.ts';
import type { Json } from '../python/json.ts';
import { pyBool, pyFloatRepr } from '../python/json.ts';
import { pyCapitalize, pyLstrip, pyRstrip, pyStrip } from '../python/text.ts';

/**
 * The part of Jinja that multiple-choice task files use: text with `{{ … }}` holding fields, literals, lists, indices, slices,
 * `+`, and a few methods and filters. Statements (`{% … %}`) are refused, not ignored. Nothing can loop or reach outside the
 * record, and an absent field is an error, as in the harness (StrictUndefined).
 */
export interface Template {
  /** The rendered text. */
  render(row: RowReader): string;
  /** The value of a template that is one `{{ … }}` and nothing else; otherwise the text. */
  value(row: RowReader): Json;
}

type Eval = (row: RowReader) => Json;
type Token = { readonly kind: 'name' | 'string' | 'int' | 'mark' | 'end'; readonly text: string };

const MAX_DEPTH = 32;

/** Parses a template. `where` is named in errors, e.g. `task.yaml: doc_to_text`. */
export function parseTemplate(source: string, where: string): Template {
  const fail = (message: string): MoeError =>
    new MoeError('input', 'bad-template', `${where}: ${message}`, { field: where });
  const parts: (string | Eval)[] = [];
  let at = 0;
  for (;;) {
    const open = source.indexOf('{{', at);
    const text = source.slice(at, open < 0 ? source.length : open);
    const statement = /\{[%#]/.exec(text);
    if (statement !== null) {
      const error = fail(
        `"${text.slice(statement.index, statement.index + 24)}" is a Jinja statement, which task files here cannot hold`,
      );
      throw new MoeError(error.kind, error.code, error.message, {
        field: where,
        hint: 'Use {{ fields }}, or put the finished text into the data.',
      });
    }
    if (text !== '') parts.push(text);
    if (open < 0) break;
    const close = endOfExpression(source, open + 2);
    if (close < 0) throw fail(`"{{" without "}}" at character ${open}`);
    parts.push(new ExpressionParser(tokens(source.slice(open + 2, close), fail), fail).whole());
    at = close + 2;
  }
  const render = (row: RowReader): string =>
    parts.map((p) => (typeof p === 'string' ? p : asText(p(row), row, where))).join('');
  const [only] = parts;
  return { render, value: parts.length === 1 && typeof only === 'function' ? only : render };
}

function endOfExpression(source: string, from: number): number {
  let quote = '';
  for (let i = from; i < source.length; i++) {
    const c = source[i] ?? '';
    if (quote !== '') {
      if (c === '\\') i++;
      else if (c === quote) quote = '';
    } else if (c === '"' || c === "'") quote = c;
    else if (c === '}' && source[i + 1] === '}') return i;
  }
  return -1;
}

function tokens(source: string, fail: (m: string) => MoeError): Token[] {
  const out: Token[] = [];
  const pattern = /\s+|([A-Za-z_]\w*)|(\d{1,9})|("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|([.,:()[\]|+-])|(.)/gsy;
  for (let m = pattern.exec(source); m !== null; m = pattern.exec(source)) {
    const [, name, int, string, mark, other] = m;
    if (name !== undefined) out.push({ kind: 'name', text: name });
    else if (int !== undefined) out.push({ kind: 'int', text: int });
    else if (string !== undefined) out.push({ kind: 'string', text: unescape(string) });
    else if (mark !== undefined) out.push({ kind: 'mark', text: mark });
    else if (other !== undefined) throw fail(`unexpected ${JSON.stringify(other)} in "{{${source}}}"`);
  }
  out.push({ kind: 'end', text: '' });
  return out;
}

function unescape(literal: string): string {
  return literal.slice(1, -1).replace(/\\(.)/gs, (_, c: string) => ({ n: '\n', t: '\t', r: '\r' })[c] ?? c);
}

class ExpressionParser {
  #at = 0;
  #depth = 0;
  constructor(
    private readonly list: readonly Token[],
    private readonly fail: (m: string) => MoeError,
  ) {}

  whole(): Eval {
    const value = this.#sum();
    if (this.#peek().kind !== 'end') throw this.fail(`unexpected "${this.#peek().text}" in an expression`);
    return value;
  }

  #peek(): Token {
    return this.list[this.#at] ?? { kind: 'end', text: '' };
  }

  #next(): Token {
    const token = this.#peek();
    this.#at++;
    return token;
  }

  #take(mark: string): boolean {
    if (this.#peek().kind !== 'mark' || this.#peek().text !== mark) return false;
    this.#at++;
    return true;
  }

  #need(mark: string): void {
    if (!this.#take(mark)) throw this.fail(`expected "${mark}", found "${this.#peek().text}"`);
  }

  #sum(): Eval {
    if (++this.#depth > MAX_DEPTH) throw this.fail('the expression is nested too deeply');
    let left = this.#filtered();
    while (this.#take('+')) {
      const [a, b] = [left, this.#filtered()];
      left = (row) => add(a(row), b(row), this.fail);
    }
    this.#depth--;
    return left;
  }

  #filtered(): Eval {
    let value = this.#postfix();
    while (this.#take('|')) {
      const name = this.#next().text;
      const args = this.#take('(') ? this.#args(')') : [];
      const inner = value;
      value = (row) =>
        call(
          name,
          inner(row),
          args.map((a) => a(row)),
          this.fail,
        );
    }
    return value;
  }

  #args(close: string): Eval[] {
    const args: Eval[] = [];
    while (!this.#take(close)) {
      args.push(this.#sum());
      if (!this.#take(',')) {
        this.#need(close);
        break;
      }
    }
    return args;
  }

  #postfix(): Eval {
    let value = this.#primary();
    for (;;) {
      const inner = value;
      if (this.#take('.')) {
        const name = this.#next();
        if (name.kind !== 'name') throw this.fail(`expected a name after ".", found "${name.text}"`);
        if (this.#take('(')) {
          const args = this.#args(')');
          value = (row) =>
            call(
              name.text,
              inner(row),
              args.map((a) => a(row)),
              this.fail,
            );
        } else {
          value = (row) => member(inner(row), name.text, row, this.fail);
        }
      } else if (this.#take('[')) {
        value = this.#subscript(inner);
      } else return value;
    }
  }

  #subscript(inner: Eval): Eval {
    const start = this.#peek().text === ':' ? undefined : this.#signed();
    if (this.#take(':')) {
      const end = this.#peek().text === ']' ? undefined : this.#signed();
      this.#need(']');
      return (row) => slice(inner(row), start?.(row), end?.(row), this.fail);
    }
    this.#need(']');
    if (start === undefined) throw this.fail('an index is missing between "[" and "]"');
    return (row) => {
      const key = start(row);
      return typeof key === 'string' ? member(inner(row), key, row, this.fail) : item(inner(row), key, row, this.fail);
    };
  }

  #signed(): Eval {
    if (!this.#take('-')) return this.#sum();
    const value = this.#sum();
    return (row) => {
      const n = value(row);
      if (typeof n !== 'number') throw this.fail('only numbers can be negative');
      return -n;
    };
  }

  #primary(): Eval {
    const token = this.#next();
    if (token.kind === 'string') return () => token.text;
    if (token.kind === 'int') return () => Number(token.text);
    if (token.kind === 'name') {
      return (row) => {
        const value = row.get(token.text);
        if (value === undefined) throw row.fail(token.text, 'present, the task asks for it');
        return value;
      };
    }
    if (token.text === '[') {
      const items = this.#args(']');
      return (row) => items.map((i) => i(row));
    }
    if (token.text === '(') {
      const value = this.#sum();
      this.#need(')');
      return value;
    }
    throw this.fail(`unexpected "${token.text}" in an expression`);
  }
}

function add(a: Json, b: Json, fail: (m: string) => MoeError): Json {
  if (typeof a === 'string' && typeof b === 'string') return a + b;
  if (typeof a === 'number' && typeof b === 'number') return a + b;
  throw fail(`"+" joins two texts or two numbers, not ${typeName(a)} and ${typeName(b)}`);
}

function member(value: Json, name: string, row: RowReader, fail: (m: string) => MoeError): Json {
  if (isRow(value) && Object.hasOwn(value, name)) return value[name] ?? null;
  throw fail(`${row.place.file}, ${row.place.where}: ${typeName(value)} has no field "${name}"`);
}

function item(value: Json, index: Json, row: RowReader, fail: (m: string) => MoeError): Json {
  if (typeof index === 'number' && (Array.isArray(value) || typeof value === 'string')) {
    const list: readonly Json[] = typeof value === 'string' ? [...value] : value;
    const found = list.at(index);
    if (found !== undefined) return found;
    throw fail(`${row.place.file}, ${row.place.where}: index ${index} is outside a list of ${list.length}`);
  }
  throw fail(`${row.place.file}, ${row.place.where}: ${typeName(value)} cannot be indexed`);
}

function slice(value: Json, start: Json | undefined, end: Json | undefined, fail: (m: string) => MoeError): Json {
  const bound = (n: Json | undefined): number | undefined => (typeof n === 'number' ? n : undefined);
  if (typeof value === 'string') return [...value].slice(bound(start), bound(end)).join('');
  if (Array.isArray(value)) return value.slice(bound(start), bound(end));
  throw fail(`${typeName(value)} cannot be sliced`);
}

const TEXT_METHODS: ReadonlyMap<string, (s: string) => Json> = new Map<string, (s: string) => Json>([
  ['strip', pyStrip],
  ['trim', pyStrip],
  ['lstrip', pyLstrip],
  ['rstrip', pyRstrip],
  ['lower', (s) => s.toLowerCase()],
  ['upper', (s) => s.toUpperCase()],
  ['capitalize', pyCapitalize],
  ['length', (s) => [...s].length],
]);

function call(name: string, value: Json, args: readonly Json[], fail: (m: string) => MoeError): Json {
  const [a, b] = args;
  if (typeof value === 'string') {
    const method = TEXT_METHODS.get(name);
    if (method !== undefined && args.length === 0) return method(value);
    if (name === 'replace' && typeof a === 'string' && typeof b === 'string') return value.replaceAll(a, () => b);
    if (name === 'split' && typeof a === 'string' && a !== '') return value.split(a);
    if (name === 'int' && /^\s*[+-]?\d{1,15}\s*$/.test(value)) return Number(value);
  }
  if (Array.isArray(value)) {
    const list: readonly Json[] = value;
    if (name === 'join' && (a === undefined || typeof a === 'string') && list.every((v) => typeof v === 'string'))
      return list.join(a ?? '');
    if (name === 'length') return list.length;
    if ((name === 'first' || name === 'last') && list.length > 0)
      return (name === 'first' ? list[0] : list.at(-1)) ?? null;
    if (name === 'index' && a !== undefined) {
      const at = list.indexOf(a);
      if (at < 0) throw fail(`${JSON.stringify(a)} is not in the list ${JSON.stringify(list).slice(0, 80)}`);
      return at;
    }
  }
  if (name === 'int' && typeof value === 'number') return Math.trunc(value);
  if (name === 'string')
    return typeof value === 'string' ? value : typeof value === 'number' ? numberText(value) : JSON.stringify(value);
  throw fail(`"${name}" with ${args.length} arguments does not apply to ${typeName(value)}`);
}

function numberText(n: number): string {
  return Number.isInteger(n) ? String(n) : pyFloatRepr(n);
}

function asText(value: Json, row: RowReader, where: string): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return numberText(value);
  if (typeof value === 'boolean') return pyBool(value);
  const message = `${where}: ${row.place.file}, ${row.place.where}: a text is needed, found ${typeName(value)}`;
  throw new MoeError('input', 'bad-template-value', message, { file: row.place.file, field: where });
}
