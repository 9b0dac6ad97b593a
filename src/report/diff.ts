/** A comparison as text: what was added, removed, reshaped; how far values are apart, worst first; experts by layer. */
import type { DiffReport, ExpertDistance, TensorDistance } from '../diff/index.ts';
import { bullets, plural, rangesText, table, visible } from './text.ts';
import type { Style } from './text.ts';
import { largest, smallest } from '../common/lists.ts';

/** Rows of a list before it is cut; `--json` has all. */
const MOST_ROWS = 20;

export function diffText(a: string, b: string, report: DiffReport, style: Style): string {
  const head = `${style.bold(`${visible(a)} → ${visible(b)}`)}: ${report.identical ? style.green('identical') : 'different'}`;
  const parts = [
    head,
    names('Only in the first', report.removed, style),
    names('Only in the second', report.added, style),
    list(
      'Reshaped',
      report.reshaped.map(({ name, a: from, b: to }) => `${visible(name)}: [${from.join(', ')}] → [${to.join(', ')}]`),
      style,
    ),
    list(
      'Other dtype',
      report.dtypeChanged.map(({ name, a: from, b: to }) => `${visible(name)}: ${from} → ${to}`),
      style,
    ),
    configText(report, style),
    valuesText(report.tensors, style),
    expertsText(report.experts, style),
    list(
      'Not compared',
      report.notCompared.map(({ name, reason }) => `${visible(name)}: ${visible(reason)}`),
      style,
    ),
  ];
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}

function list(title: string, items: readonly string[], style: Style): string {
  if (items.length === 0) return '';
  const shown = items.slice(0, MOST_ROWS);
  const rest = items.length - shown.length;
  return `${style.bold(`${title} (${items.length})`)}\n${bullets(shown)}${rest > 0 ? `\n… and ${rest} more (all with --json)` : ''}`;
}

function names(title: string, items: readonly string[], style: Style): string {
  if (items.length === 0) return '';
  const rows = collapseNames(items);
  const shown = rows.slice(0, MOST_ROWS).map(({ name, count }) => `${visible(name)}${count > 1 ? ` (${count})` : ''}`);
  const rest = rows.length - shown.length;
  return `${style.bold(`${title} (${items.length})`)}\n${bullets(shown)}${rest > 0 ? `\n… and ${plural(rest, 'more name pattern')} (all with --json)` : ''}`;
}

/** Names that differ in layer and expert numbers alone as one: `model.layers.{0–7}.mlp.experts.{0–3}.w1.weight`. */
export function collapseNames(items: readonly string[]): { readonly name: string; readonly count: number }[] {
  const groups = new Map<string, { count: number; numbers: Set<number>[] }>();
  for (const item of items) {
    const numbers = [...item.matchAll(/(?<=\.)\d{1,6}(?=\.)/g)].map(([digits]) => Number(digits));
    const pattern = item.replace(/(?<=\.)\d{1,6}(?=\.)/g, '#');
    const group = groups.get(pattern) ?? { count: 0, numbers: numbers.map(() => new Set<number>()) };
    groups.set(pattern, group);
    group.count++;
    numbers.forEach((number, i) => group.numbers[i]?.add(number));
  }
  return [...groups].map(([pattern, { count, numbers }]) => {
    let i = 0;
    const name = pattern.replace(/(?<=\.)#(?=\.)/g, () => {
      const set = numbers[i++] ?? new Set<number>();
      return set.size === 1 ? rangesText(set) : `{${rangesText(set)}}`;
    });
    return { name, count };
  });
}

function configText({ config }: DiffReport, style: Style): string {
  if (config === null) return 'config.json: one side has none';
  return list(
    'config.json',
    config.map(({ field, a, b }) => `${visible(field)}: ${value(a)} → ${value(b)}`),
    style,
  );
}

function value(json: unknown): string {
  const text = visible(JSON.stringify(json) ?? 'absent');
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

function valuesText(tensors: readonly TensorDistance[], style: Style): string {
  if (tensors.length === 0) return '';
  const different = tensors
    .filter((tensor) => !tensor.equal)
    .sort((x, y) => (y.relativeL2 ?? Infinity) - (x.relativeL2 ?? Infinity));
  const equal = `${plural(tensors.length - different.length, 'tensor')} of ${tensors.length} equal in every value`;
  if (different.length === 0) return `${style.bold('Values')}\n${equal}`;
  const rows = different
    .slice(0, MOST_ROWS)
    .map((tensor) => [
      tensor.name,
      distance(tensor.relativeL2),
      distance(tensor.maxAbs),
      tensor.notFinite === 0 ? '' : String(tensor.notFinite),
    ]);
  const rest = different.length - rows.length;
  const columns = [
    { title: 'tensor', max: 70 },
    { title: 'relative L2', right: true },
    { title: 'max |Δ|', right: true },
    { title: 'not finite', right: true },
  ];
  return `${style.bold('Values')}\n${equal}\n${table(columns, rows, style)}${rest > 0 ? `\n… and ${rest} more (all with --json)` : ''}`;
}

function distance(value: number | null): string {
  if (value === null) return '–';
  return value === 0 ? '0' : value.toExponential(2);
}

function expertsText(experts: DiffReport['experts'], style: Style): string {
  if (experts === undefined) return '';
  const { distances, likes, notes, skipped } = experts;
  if (distances.length + likes.length + notes.length + skipped.length === 0) return '';
  const title =
    experts.mode === 'dense-vs-moe'
      ? 'Experts beside the dense feed-forward of their layer'
      : 'Experts beside their like';
  const parts = [style.bold(title)];
  if (experts.distances.length > 0) parts.push(layerTable(experts.distances, style));
  if (experts.likes.length > 0) parts.push(valuesText(experts.likes, style));
  if (experts.notes.length > 0)
    parts.push(
      bullets(
        experts.notes.slice(0, MOST_ROWS).map((note) => `layer ${note.layer}, expert ${note.expert}: ${note.message}`),
      ),
    );
  if (experts.skipped.length > 0)
    parts.push(list('Not laid beside dense projections', experts.skipped.map(visible), style));
  return parts.join('\n');
}

/** Experts of a kind by layer: how far, which scale, where the neurons come from. Layers that read alike are one row. */
function layerTable(distances: readonly ExpertDistance[], style: Style): string {
  const perLayer = groupBy(distances, ({ layer, expert, neurons, exactScale }) =>
    [layer, expert === 'shared', neurons.kind, neurons.width, neurons.denseWidth, exactScale].join(),
  );
  const cells = perLayer.flatMap((group) => {
    const [first] = group;
    return first === undefined ? [] : [{ layer: first.layer, row: expertCells(first, group) }];
  });
  const rows = groupBy(cells, ({ row }) => row.join('\n')).map((alike) => [
    rangesText(alike.map(({ layer }) => layer)),
    ...(alike[0]?.row ?? []),
  ]);
  const columns = [
    { title: 'layers' },
    { title: 'experts' },
    { title: 'relative L2' },
    { title: 'up·down' },
    { title: 'neurons' },
  ];
  const shown = rows.slice(0, 3 * MOST_ROWS);
  const rest = rows.length - shown.length;
  return `${table(columns, shown, style)}${rest > 0 ? `\n… and ${rest} more rows (all with --json)` : ''}`;
}

function expertCells(first: ExpertDistance, group: readonly ExpertDistance[]): string[] {
  const { kind, width, denseWidth, found } = first.neurons;
  const values = group.map((item) => item.relativeL2 ?? NaN);
  const least = distance(smallest(values));
  const most = distance(largest(values));
  const routed = group.flatMap((item) => (item.expert === 'shared' ? [] : [item.expert]));
  return [
    routed.length === 0 ? 'shared' : rangesText(routed),
    least === most ? least : `${least} – ${most}`,
    first.exactScale === null ? '' : `× ${first.exactScale}`,
    `${width === denseWidth ? `all ${width}` : `${width} of ${denseWidth}`}, ${ORIGINS[kind]}${kind === 'matched' ? ` (${found} found)` : ''}`,
  ];
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return [...groups.values()];
}

const ORIGINS = {
  identity: 'in order',
  slice: 'one slice',
  matched: 'in another order',
  assumed: 'order assumed',
} as const;
