/** The JSON schema of `*.moe.yaml`, for completion and diagnostics in editors (media/recipe.schema.json). */
import * as z from 'zod';
import { PRESETS } from './presets.ts';
import { recipeSchema } from './schema.ts';

/** JSON schema (draft 7) of what a user may write, made from the same zod schema that judges recipes. */
export function recipeJsonSchema(): Record<string, unknown> {
  const made = z.toJSONSchema(recipeSchema, { io: 'input', target: 'draft-7' });
  const { $schema, properties, ...rest } = made;
  const presetField = properties?.['preset'];
  return {
    $schema,
    title: 'MoE Workbench recipe',
    description:
      'How a dense checkpoint becomes a Mixture-of-Experts one. Every field has a default; paths are relative to this file.',
    ...rest,
    properties: {
      ...properties,
      preset: { ...(typeof presetField === 'object' ? presetField : {}), enum: PRESETS.map((preset) => preset.name) },
    },
  };
}
