/**
 * The families: one small file each says how a family names its tensors, what its config means, and what it can become.
 * `readDense` and `expectedTensors` are the entrances.
 */
import type { JsonObject } from '../common/json.ts';
import { MoeError } from '../common/errors.ts';
import { DENSE_FAMILIES } from './dense/index.ts';
import { expectedMoeTensors } from './moe-expected.ts';
import type { DenseFamily, DenseSpec, ExpectedTensor } from './spec.ts';
import { languageConfig, modelTypeOf, readDenseSpec } from './spec.ts';

export type { DenseFamily, DenseSpec, ExpectedTensor, Role } from './spec.ts';
export { chooseTarget, neverReason } from './pairs.ts';
export { TARGET_FAMILIES } from './targets/index.ts';

/** model_type of the language model in a (possibly composite) config; null where it says none. */
export function familyName(config: JsonObject | null): string | null {
  return config === null ? null : (modelTypeOf(languageConfig(config)) ?? modelTypeOf(config));
}

/** Has this config experts? (Any of the field names in use; enough to refuse an MoE as a dense source.) */
function hasExperts(config: JsonObject): boolean {
  return ['num_local_experts', 'num_experts', 'n_routed_experts', 'moe_num_experts'].some((field) => {
    const value = config[field];
    return typeof value === 'number' && value > 1;
  });
}

/** The dense family and spec of a config. Throws MoeError (exit 3) when it is no dense family that can be a source. */
export function readDense(config: JsonObject | null): { family: DenseFamily; spec: DenseSpec } {
  if (config === null) {
    throw new MoeError('input', 'config-missing', 'There is no config.json, so the model family is unknown', {
      file: 'config.json',
      hint: 'Open the folder that holds config.json beside the weights.',
    });
  }
  const name = familyName(config);
  const family = name === null ? undefined : DENSE_FAMILIES.get(name);
  if (hasExperts(languageConfig(config))) {
    throw new MoeError(
      'input',
      'source-is-moe',
      `The source (${name ?? 'unknown family'}) is already a Mixture-of-Experts; an upcycle starts from a dense model`,
      {
        file: 'config.json',
        field: 'model_type',
        hint: 'Give the dense checkpoint. `inspect` shows this one’s experts.',
      },
    );
  }
  if (family === undefined) {
    throw new MoeError(
      'input',
      'family-not-supported',
      name === null ? 'config.json has no model_type' : `model_type ${name} has no exact MoE target`,
      {
        file: 'config.json',
        field: 'model_type',
        hint: `Dense families that can be upcycled: ${[...DENSE_FAMILIES.keys()].join(', ')}.`,
      },
    );
  }
  return { family, spec: readDenseSpec(family, config) };
}

/**
 * The tensors that a checkpoint with this config must have, in layer order; null for a family that is not known tensor by
 * tensor. Throws MoeError `config-field` on a config that contradicts itself.
 */
export function expectedTensors(config: JsonObject): ExpectedTensor[] | null {
  const name = familyName(config);
  if (name === null) return null;
  const family = DENSE_FAMILIES.get(name);
  if (family !== undefined && !hasExperts(languageConfig(config))) return family.tensors(readDenseSpec(family, config));
  return expectedMoeTensors(name, config);
}
