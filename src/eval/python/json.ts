/** Python's `repr(float)`, `str(value)` and `json.dumps`, as far as the harness's files and hashes depend on them. */

/** Plain JSON data. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** `repr(float(x))`: "5.0", "1e-05", "1e+16", "nan", "-inf". */
export function pyFloatRepr(x: number): string {
  if (Number.isNaN(x)) return 'nan';
  if (!Number.isFinite(x)) return x > 0 ? 'inf' : '-inf';
  if (x === 0) return Object.is(x, -0) ? '-0.0' : '0.0';
  const [mantissa = '', exponent = '0'] = x.toExponential().split('e');
  const e = Number(exponent);
  if (e < -4 || e >= 16) return `${mantissa}e${e < 0 ? '-' : '+'}${String(Math.abs(e)).padStart(2, '0')}`;
  const negative = mantissa.startsWith('-');
  const digits = mantissa.replace('-', '').replace('.', '');
  const body =
    e < 0
      ? `0.${'0'.repeat(-e - 1)}${digits}`
      : digits.length <= e + 1
        ? `${digits.padEnd(e + 1, '0')}.0`
        : `${digits.slice(0, e + 1)}.${digits.slice(e + 1)}`;
  return (negative ? '-' : '') + body;
}

/** `str(bool)`. */
export function pyBool(value: boolean): string {
  return value ? 'True' : 'False';
}

/**
 * `json.dumps(value, indent=2, ensure_ascii=False)`: the text whose sha256 is the harness's `doc_hash`. Differs from
 * `JSON.stringify(value, null, 2)` only for numbers that are not integers.
 */
export function pyJsonDumps(value: Json, indent = ''): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number') return Number.isInteger(value) ? String(value) : pyFloatRepr(value);
  const inner = `${indent}  `;
  if (isArray(value)) {
    if (value.length === 0) return '[]';
    return `[\n${value.map((v) => inner + pyJsonDumps(v, inner)).join(',\n')}\n${indent}]`;
  }
  const entries = Object.entries(value);
  if (entries.length === 0) return '{}';
  return `{\n${entries.map(([k, v]) => `${inner}${JSON.stringify(k)}: ${pyJsonDumps(v, inner)}`).join(',\n')}\n${indent}}`;
}

function isArray(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}
