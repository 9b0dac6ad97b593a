/** Tensors against config.json: what is missing, of another shape, or not of the model. */
import type { Checkpoint, Problem, SourceTensor } from '../checkpoint/types.ts';
import { listed, namesDetail } from '../checkpoint/errors.ts';
import { grouped } from '../common/errors.ts';
import type { JsonObject } from '../common/json.ts';
import type { ExpectedTensor } from '../families/index.ts';
import { isBuffer } from './facts.ts';
import type { Facts, LayerFacts } from './facts.ts';
import { parseTensorName } from './expert-names.ts';
import { configInteger } from './moe-config.ts';
import { HIDDEN, LAYERS, VOCAB, shapeByRole, wantedTensors } from './wanted.ts';
import type { Wanted } from './wanted.ts';
import { counted } from '../common/words.ts';
import { append } from '../common/lists.ts';

/** All checks of tensors against the config. `cp.format` gguf has its own names, which its reader checks. */
export function checkTensors(cp: Checkpoint, config: JsonObject, facts: Facts): Problem[] {
  // A plan without weights was made from the config; pieces are not whole tensors.
  if (cp.planOnly || cp.pieces !== undefined) return [];
  const byName = cp.format !== 'gguf' && facts.quantised.length === 0;
  const wanted: Wanted = byName ? wantedTensors(config) : { tensors: null };
  const problems = [...checkLayers(config, facts, wanted.tensors !== null), ...checkEmbedding(config, facts)];
  if (!byName) return problems;
  if (wanted.problem !== undefined) problems.push(wanted.problem);
  append(problems, wanted.tensors === null ? checkByRole(cp, config) : compare(cp, wanted.tensors, facts));
  return problems;
}

/** Prefix of the language model on disk, where it is not the usual `model.`. */
function prefixOf(facts: Facts): string | null {
  if (facts.embed !== null) {
    const { name } = facts.embed;
    const at = name.indexOf('embed_tokens.');
    return at < 0 ? null : name.slice(0, at);
  }
  for (const layer of facts.layers.values()) if (layer.tower === 'text') return layer.stem;
  return null;
}

function compare(cp: Checkpoint, wanted: readonly ExpectedTensor[], facts: Facts): Problem[] {
  const prefix = prefixOf(facts) ?? 'model.';
  const named = (name: string): string =>
    prefix !== 'model.' && name.startsWith('model.') ? prefix + name.slice('model.'.length) : name;
  const missing: string[] = [];
  const misshapen: { readonly name: string; readonly has: SourceTensor; readonly wants: readonly number[] }[] = [];
  let found = 0;
  for (const { name: usual, shape, role, layer } of wanted) {
    const name = named(usual);
    const tensor = cp.tensors.get(cp.aliases.get(name) ?? name);
    if (tensor === undefined) {
      // The untied head has a problem of its own; experts in another layout are counted, not named.
      if (role !== 'head' && !otherwiseThere(facts, prefix, role, layer, usual)) missing.push(name);
      continue;
    }
    found++;
    if (!sameShape(tensor.shape, shape) && role !== 'embed' && role !== 'head') {
      misshapen.push({ name, has: tensor, wants: shape });
    }
  }
  const problems: Problem[] = [];
  if (missing.length > 0) problems.push(missingProblem(missing));
  if (misshapen.length > 0) problems.push(shapeProblem(misshapen));
  // Half a million names are not looked up again where all of them were asked for.
  const strangers =
    found === cp.tensors.size ? [] : strangersOf(cp, new Set(wanted.map((tensor) => named(tensor.name))));
  if (strangers.length > 0) {
    problems.push({
      severity: 'warning',
      code: 'unexpected-tensors',
      tensor: strangers[0] ?? '',
      message: `${counted(strangers.length, 'tensor is', 'tensors are')} not of a model with this config, and loaders leave ${strangers.length === 1 ? 'it' : 'them'} out: ${listed(strangers)}`,
      hint: 'Check that config.json and the weights are of the same model.',
      details: namesDetail(strangers),
    });
  }
  return problems;
}

/** Does the layer have this router or these experts under the names of another layout? */
function otherwiseThere(
  facts: Facts,
  prefix: string,
  role: ExpectedTensor['role'],
  layer: number | null,
  usual: string,
): boolean {
  if (layer === null || (role !== 'expert' && role !== 'router')) return false;
  const found = facts.layers.get(`${prefix}/${String(layer)}`);
  if (found === undefined) return false;
  if (role === 'router') return found.router !== null;
  return found.packed.size > 0 && !layoutMatches(found, usual);
}

/** Are the layer's packed tensors of the very layout that is asked for (granitemoe's own)? */
function layoutMatches(found: LayerFacts, usual: string): boolean {
  const style = parseTensorName(usual).style;
  return style !== null && found.styles.has(style);
}

function missingProblem(missing: readonly string[]): Problem {
  return {
    severity: 'error',
    code: 'missing-tensors',
    tensor: missing[0] ?? '',
    message: `${counted(missing.length, 'tensor that config.json asks for is', 'tensors that config.json asks for are')} in no file: ${listed(missing)}`,
    hint: 'A loader would leave them at random values: fetch the missing weights, or correct config.json.',
    details: namesDetail(missing),
  };
}

function shapeProblem(
  misshapen: readonly { readonly name: string; readonly has: SourceTensor; readonly wants: readonly number[] }[],
): Problem {
  const [first] = misshapen;
  const text =
    first === undefined
      ? ''
      : `${first.name} is [${first.has.shape.join(', ')}], config.json makes it [${first.wants.join(', ')}]`;
  return {
    severity: 'error',
    code: 'shape-mismatch',
    ...(first === undefined ? {} : { tensor: first.name, file: first.has.file }),
    message: `${counted(misshapen.length, 'tensor has', 'tensors have')} another shape than config.json gives: ${text}`,
    hint: 'Correct config.json, or fetch the weights that belong to it.',
    details: {
      count: misshapen.length,
      tensors: misshapen.slice(0, 100).map(({ name, has, wants }) => ({ name, shape: has.shape, expected: wants })),
    },
  };
}

/** Names of the language model's tensors that the config does not ask for. */
function strangersOf(cp: Checkpoint, known: ReadonlySet<string>): string[] {
  const strangers: string[] = [];
  for (const { name, shape } of cp.tensors.values()) {
    if (known.has(name) || isBuffer(name, shape)) continue;
    const { role, tower, expert } = parseTensorName(name);
    // Packed experts and routers of another layout are judged by the expert checks; the head by the tie check.
    if (tower !== 'text' || role === 'head' || role === 'router' || expert === 'packed') continue;
    strangers.push(name);
  }
  return strangers;
}

/** For families that are not known tensor by tensor: shapes that follow from the sizes in the config. */
function checkByRole(cp: Checkpoint, config: JsonObject): Problem[] {
  const misshapen: { readonly name: string; readonly has: SourceTensor; readonly wants: readonly number[] }[] = [];
  for (const tensor of cp.tensors.values()) {
    const { role, tower, part } = parseTensorName(tensor.name);
    if (tower !== 'text' || (role !== 'expert' && role !== 'ffn') || part === 'gate_up') continue;
    const wants = shapeByRole(tensor.name, config);
    // Only the hidden size is sure: families differ in which width a dense layer has.
    const hidden = configInteger(config, HIDDEN)?.value;
    if (wants === null || hidden === undefined || tensor.shape.length !== 2 || tensor.shape.includes(hidden)) continue;
    misshapen.push({ name: tensor.name, has: tensor, wants });
  }
  return misshapen.length === 0 ? [] : [shapeProblem(misshapen)];
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((dim, d) => dim === b[d]);
}

function checkEmbedding(config: JsonObject, facts: Facts): Problem[] {
  const hidden = configInteger(config, HIDDEN);
  const vocab = configInteger(config, VOCAB);
  const problems: Problem[] = [];
  for (const tensor of [facts.embed, facts.head]) {
    if (tensor === null || tensor.shape.length !== 2) continue;
    const [rows, columns] = tensor.shape;
    const wrong = (field: string, has: number | undefined, wants: number): void => {
      problems.push({
        severity: 'error',
        code: 'config-mismatch',
        file: tensor.file,
        tensor: tensor.name,
        message: `${tensor.name} is [${tensor.shape.join(', ')}], but config.json has ${field} ${String(wants)} (the tensor: ${String(has)})`,
        hint: 'Correct config.json, or fetch the weights that belong to it.',
        details: { field, config: wants, tensor: has ?? null },
      });
    };
    if (vocab !== null && rows !== vocab.value) wrong(vocab.field, rows, vocab.value);
    if (hidden !== null && columns !== hidden.value && !isFactorised(config))
      wrong(hidden.field, columns, hidden.value);
  }
  return problems;
}

/** Embeddings narrower than the model, by the config's own word. */
function isFactorised(config: JsonObject): boolean {
  return configInteger(config, ['embedding_size', 'word_embed_proj_dim']) !== null;
}

function checkLayers(config: JsonObject, facts: Facts, namedOneByOne: boolean): Problem[] {
  const layers = configInteger(config, LAYERS);
  if (layers === null) return [];
  const seen = new Set<number>();
  for (const facts_ of facts.layers.values()) if (facts_.tower === 'text') seen.add(facts_.layer);
  if (seen.size === 0) return [];
  const extra = [...seen].filter((layer) => layer >= layers.value).sort((a, b) => a - b);
  const problems: Problem[] = [];
  const predicted = configInteger(config, ['num_nextn_predict_layers'])?.value ?? 0;
  if (extra.length > 0 && extra.length <= predicted) {
    problems.push({
      severity: 'info',
      code: 'mtp-layers',
      message: `${extra.length === 1 ? 'Layer' : 'Layers'} ${extra.join(', ')} ${extra.length === 1 ? 'is' : 'are'} for multi-token prediction (num_nextn_predict_layers ${String(predicted)})`,
    });
  } else if (extra.length > 0) {
    problems.push({
      severity: 'error',
      code: 'config-mismatch',
      message: `config.json has ${layers.field} ${grouped(layers.value)}, but the files hold layers up to ${grouped(extra.at(-1) ?? 0)}`,
      hint: `Correct ${layers.field} in config.json, or fetch the weights that belong to it.`,
      details: { field: layers.field, config: layers.value, tensor: (extra.at(-1) ?? 0) + 1 },
    });
  }
  // A family that is known tensor by tensor names each tensor instead.
  if (namedOneByOne) return problems;
  const absent: number[] = [];
  for (let layer = 0; layer < Math.min(layers.value, 100_000); layer++) if (!seen.has(layer)) absent.push(layer);
  if (absent.length > 0) {
    problems.push({
      severity: 'error',
      code: 'missing-layers',
      message: `${grouped(absent.length)} of ${grouped(layers.value)} layers have no tensor: ${listed(absent.map(String), 20)}`,
      hint: 'Fetch the missing weights, or correct config.json.',
      details: { layers: absent.slice(0, 1000), count: absent.length },
    });
  }
  return problems;
}
