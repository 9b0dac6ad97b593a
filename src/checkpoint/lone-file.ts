/** A single .safetensors file, named by itself. */
import { basename, dirname, join } from 'node:path';
import type { JsonObject } from '../common/json.ts';
import { parseTensorName } from '../inspect/expert-names.ts';
import { configInteger, textSection } from '../inspect/moe-config.ts';
import { HIDDEN } from '../inspect/wanted.ts';
import { aliasesOf } from './aliases.ts';
import { classify, shardName } from './classify.ts';
import { throwIfAborted, toProblem } from './errors.ts';
import { readConfigFile } from './json-file.ts';
import { listFolder } from './listing.ts';
import type { Entry } from './listing.ts';
import { linkAsText, sidecarsOf } from './sidecars.ts';
import type { Checkpoint, Problem, Sidecar, SourceTensor } from './types.ts';
import { readWeightFile, refusalOf } from './weight-file.ts';
import { append } from '../common/lists.ts';

/** Opens one file. Its config.json counts only where the file is the whole model and the sizes agree. */
export async function openLoneFile(
  target: string,
  entry: Entry,
  options: { readonly signal?: AbortSignal | undefined; readonly lenient?: boolean },
): Promise<Checkpoint> {
  throwIfAborted(options.signal);
  const folder = dirname(target);
  const read = await readWeightFile(folder, entry);
  const refusal = refusalOf(read);
  if (refusal !== null && options.lenient !== true) throw refusal;
  const tensors = new Map(read.tensors.map((tensor) => [tensor.name, tensor]));
  const problems: Problem[] = [];
  if (read.problem !== undefined) problems.push(read.problem);
  if (entry.linkAsText === true) problems.push(linkAsText(entry));
  const beside = await configBeside(folder, basename(target), tensors, problems);
  return {
    path: target,
    root: folder,
    format: 'safetensors',
    config: beside.config,
    configFloats: beside.floats,
    tensors,
    aliases: aliasesOf(read.metadata, tensors),
    gguf: null,
    files: [read.file],
    index: null,
    sidecars: beside.sidecars,
    problems,
    planOnly: false,
  };
}

interface Beside {
  readonly config: JsonObject | null;
  readonly floats: readonly string[];
  readonly sidecars: readonly Sidecar[];
}

async function configBeside(
  folder: string,
  name: string,
  tensors: ReadonlyMap<string, SourceTensor>,
  problems: Problem[],
): Promise<Beside> {
  const none: Beside = { config: null, floats: [], sidecars: [] };
  const contents = classify(await listFolder(folder).catch(() => []));
  const entry = contents.others.find((other) => other.name === 'config.json' && other.kind === 'file');
  if (entry === undefined) return none;
  const shard = shardName(name);
  if (shard !== null && shard.of > 1) {
    problems.push({
      severity: 'info',
      code: 'one-shard',
      file: name,
      message: `${name} is shard ${String(shard.number)} of ${String(shard.of)}; config.json describes the whole model and is not used`,
      hint: `Open ${folder} for the whole model.`,
    });
    return none;
  }
  let config: JsonObject;
  let floats: readonly string[];
  try {
    const parsed = await readConfigFile(join(folder, entry.name), entry.name);
    ({ config, floats } = parsed);
    append(problems, parsed.problems);
  } catch (error) {
    problems.push(toProblem(error, entry.name));
    return none;
  }
  const reason = misfit(config, tensors);
  if (reason !== null) {
    problems.push({
      severity: 'info',
      code: 'config-not-used',
      file: entry.name,
      message: `config.json beside ${name} is not used: ${reason}`,
      hint: `Open ${folder} if they belong together.`,
    });
    return none;
  }
  const { sidecars, problems: more } = await sidecarsOf(contents.others);
  append(problems, more);
  return { config, floats, sidecars };
}

/** Why a config does not describe these tensors, or null where nothing speaks against it. */
function misfit(config: JsonObject, tensors: ReadonlyMap<string, SourceTensor>): string | null {
  const hidden = configInteger(config, HIDDEN);
  if (hidden === null || typeof textSection(config).section['model_type'] !== 'string') {
    return 'it names no model_type or no hidden size';
  }
  let known = 0;
  let looked = 0;
  for (const { name, shape } of tensors.values()) {
    if (looked++ > 2000 || known > 50) break;
    const { role, suffix, tower } = parseTensorName(name);
    if (suffix !== 'weight' || tower !== 'text') continue;
    if (role === 'embed' || role === 'head') {
      known++;
      if (shape.length === 2 && shape[1] !== hidden.value) {
        return `${name} is [${shape.join(', ')}], but ${hidden.field} is ${String(hidden.value)}`;
      }
    } else if (role === 'ffn' || role === 'expert' || role === 'router') {
      known++;
      if (shape.length >= 2 && !shape.includes(hidden.value)) {
        return `${name} is [${shape.join(', ')}], but ${hidden.field} is ${String(hidden.value)}`;
      }
    }
  }
  return known === 0 ? 'no tensor has a name of the model that it describes' : null;
}
