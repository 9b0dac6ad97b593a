import type { LayerReport, TraceReport } from './trace-report.ts';

function cell(value: string | number | null): string {
  if (value === null) return '';
  const text = String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function csv(header: readonly string[], rows: readonly (readonly (string | number | null)[])[]): string {
  return [header, ...rows].map((row) => `${row.map(cell).join(',')}\n`).join('');
}

/** One row per layer and expert. */
export function expertsCsv(report: TraceReport): string {
  const rows = report.layers.flatMap((l) =>
    l.counts.map((count, i) => [
      l.layer,
      i,
      count,
      l.load[i] ?? 0,
      l.importance[i] ?? 0,
      l.meanGate[i] ?? 0,
      l.top1[i] ?? 0,
    ]),
  );
  return csv(['layer', 'expert', 'count', 'load', 'importance', 'mean_gate', 'top1_count'], rows);
}

/** One row per layer; drops have one column per rule, e.g. `dropped_share_cf1.25_megatron_valid-tokens`. */
export function layersCsv(report: TraceReport): string {
  const drops = report.layers[0]?.drops ?? [];
  const header = [
    ...[
      'layer',
      'tokens',
      'pads',
      'prefix_tokens',
      'router_entropy',
      'load_entropy',
      'max_vio',
      'batch_max_vio',
      'dead',
      'cold',
    ],
    ...[
      'importance_cv2',
      'aux_switch',
      'router_z',
      'margin_mean',
      'margin_min',
      'bf16_tie_rate',
      'vocabulary_specialisation',
    ],
    ...drops.map((d) => `dropped_share_cf${d.factor}_${d.convention}_${d.base}`),
  ];
  return csv(header, report.layers.map(layerRow));
}

function layerRow(l: LayerReport): (number | null)[] {
  return [
    ...[l.layer, l.tokens, l.pads, l.prefixTokens, l.routerEntropy, l.loadEntropy, l.maxVio, l.batchMaxVio],
    ...[l.dead.length, l.cold.length, l.importanceCv2, l.auxSwitch, l.routerZ],
    ...[l.margin?.mean ?? null, l.margin?.min ?? null, l.bf16TieRate, l.vocabulary.specialisation],
    ...l.drops.map((d) => d.share),
  ];
}

/** One row per layer, domain and expert. */
export function domainsCsv(report: TraceReport): string {
  const rows = report.layers.flatMap((l) =>
    l.domains.flatMap((d) => d.share.map((share, i) => [l.layer, d.domain, d.tokens, i, share])),
  );
  return csv(['layer', 'domain', 'tokens', 'expert', 'share'], rows);
}

/** One row per layer and ordered pair of different experts that were chosen together. */
export function coactivationCsv(report: TraceReport): string {
  const rows = report.layers.flatMap((l) =>
    l.coactivation.flatMap((row, i) => (row ?? []).flatMap((p, j) => (i === j || p === 0 ? [] : [[l.layer, i, j, p]]))),
  );
  return csv(['layer', 'expert', 'other', 'p_other_given_expert'], rows);
}

/** The report as JSON text, definitions included. */
export function traceJson(report: TraceReport): string {
  return `${JSON.stringify(report, null, 2)}\n`;
}
