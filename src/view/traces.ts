/** Expert statistics of a results file, as views show them. Pure. */
import { isJsonObject } from '../common/json.ts';
import type { LayerReport, TraceReport } from '../eval/trace-report.ts';
import type { TraceSummary } from '../protocol/results.ts';

/** What the file says its experts did; null where it says nothing, or nothing of the right shape. */
export function tracesIn(value: unknown): TraceReport | null {
  if (!isJsonObject(value) || !Array.isArray(value['layers']) || !isJsonObject(value['definitions'])) return null;
  const { experts, topK, layers } = value as unknown as TraceReport;
  if (!Number.isInteger(experts) || !Number.isInteger(topK) || experts < 1 || experts > 100_000) return null;
  const whole = layers.every(
    (layer) =>
      isJsonObject(layer) &&
      ['load', 'importance', 'meanGate', 'coactivation', 'dead', 'cold', 'domains', 'drops'].every((name) =>
        Array.isArray(layer[name]),
      ) &&
      isJsonObject(layer['vocabulary']),
  );
  return whole ? (value as unknown as TraceReport) : null;
}

/** Everything but pairs and shares by domain, which go layer by layer. */
export function traceSummaryOf(report: TraceReport, without: string | null): TraceSummary {
  const { experts, topK, layers } = report;
  const all = (pick: (layer: LayerReport) => readonly number[]): Float32Array => {
    const values = new Float32Array(layers.length * experts).fill(Number.NaN);
    for (const [y, layer] of layers.entries()) values.set(pick(layer).slice(0, experts), y * experts);
    return values;
  };
  const domains = new Map<string, number>();
  for (const layer of layers) for (const { domain, tokens } of layer.domains) domains.set(domain, tokens);
  return {
    experts,
    topK,
    layers: layers.map((layer) => ({
      layer: layer.layer,
      tokens: layer.tokens,
      routerEntropy: layer.routerEntropy,
      loadEntropy: layer.loadEntropy,
      maxVio: layer.maxVio,
      dead: [...layer.dead],
      cold: [...layer.cold],
      specialisation: layer.vocabulary.specialisation,
      bf16TieRate: layer.bf16TieRate,
      marginMean: layer.margin?.mean ?? null,
      drops: layer.drops.map(({ factor, convention, base, share }) => ({ factor, convention, base, share })),
    })),
    maxVio: report.maxVio,
    load: all((layer) => layer.load),
    importance: all((layer) => layer.importance),
    meanGate: all((layer) => layer.meanGate),
    domains: [...domains].slice(0, 1000).map(([name, tokens]) => ({ name, tokens })),
    definitions: Object.entries(report.definitions).map(([name, text]) => ({ name, text })),
    without,
  };
}

/** One layer's pairs of experts and shares by domain, row by row; NaN where there is nothing. */
export function traceLayerOf(
  report: TraceReport,
  number: number,
): { readonly coactivation: Float32Array; readonly domains: Float32Array; readonly layer: LayerReport } | null {
  const layer = report.layers.find((one) => one.layer === number);
  if (layer === undefined) return null;
  const { experts } = report;
  const coactivation = new Float32Array(experts * experts).fill(Number.NaN);
  for (const [i, row] of layer.coactivation.slice(0, experts).entries())
    if (row !== null) coactivation.set(row.slice(0, experts), i * experts);
  const names = [...new Set(report.layers.flatMap((one) => one.domains.map(({ domain }) => domain)))].slice(0, 1000);
  const domains = new Float32Array(names.length * experts).fill(Number.NaN);
  for (const { domain, share } of layer.domains) {
    const at = names.indexOf(domain);
    if (at >= 0) domains.set(share.slice(0, experts), at * experts);
  }
  return { coactivation, domains, layer };
}
