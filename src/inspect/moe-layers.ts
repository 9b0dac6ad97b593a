/** Which layers a config makes MoE layers: every family has its own rule (reference: upcycling.md §4.1). */
import type { JsonObject, JsonValue } from '../common/json.ts';
import { configInteger, textSection } from './moe-config.ts';
import { LAYERS } from './wanted.ts';

/** No model has nearly as many layers; keeps a hostile config from costing memory. */
const MAX_LAYERS = 100_000;

/**
 * 0-based MoE layers by the config's own rule: a list of layers, a period, or a range; all layers where no rule is written.
 * Empty where the number of layers is not given (or absurd).
 */
export function moeLayerIndices(config: JsonObject): number[] {
  const layers = configInteger(config, LAYERS)?.value ?? 0;
  if (layers > MAX_LAYERS) return [];
  const { section } = textSection(config);
  const isMoe = rule(section, layers);
  return Array.from({ length: layers }, (_, i) => i).filter(isMoe);
}

function rule(section: JsonObject, layers: number): (layer: number) => boolean {
  const int = (field: string): number | null => integer(section[field]);
  const listed = integers(section['moe_layers']);
  if (listed !== null) return (layer) => listed.has(layer);
  const step = int('interleave_moe_layer_step');
  if (step !== null && step > 0) return (layer) => (layer + 1) % step === 0;
  const period = int('expert_layer_period');
  if (period !== null && period > 0) {
    const offset = int('expert_layer_offset') ?? 0;
    return (layer) => layer % period === offset % period;
  }
  const start = int('moe_layer_start_index');
  if (start !== null) {
    const end = int('moe_layer_end_index') ?? -1;
    const last = end < 0 ? layers - 1 : end;
    const interval = Math.max(1, int('moe_layer_interval') ?? 1);
    return (layer) => layer >= start && layer <= last && (layer + 1) % interval === 0;
  }
  const dense = int('first_k_dense_replace') ?? int('num_dense_layers');
  if (dense !== null) {
    const every = Math.max(1, int('moe_layer_freq') ?? 1);
    return (layer) => layer >= dense && layer % every === 0;
  }
  const only = integers(section['mlp_only_layers']) ?? new Set<number>();
  const sparse = Math.max(1, int('decoder_sparse_step') ?? 1);
  return (layer) => !only.has(layer) && (layer + 1) % sparse === 0;
}

function integer(value: JsonValue | undefined): number | null {
  return typeof value === 'number' && Number.isSafeInteger(value) ? value : null;
}

function integers(value: JsonValue | undefined): ReadonlySet<number> | null {
  if (!Array.isArray(value)) return null;
  const list = (value as readonly JsonValue[]).filter((n): n is number => typeof n === 'number');
  return new Set(list);
}
