/** All MoE families that can be written, by model_type. */
import type { TargetType } from '../../recipe/types.ts';
import { flexOlmo } from './flex_olmo.ts';
import { graniteMoe } from './granitemoe.ts';
import { mixtral } from './mixtral.ts';
import { qwen2Moe } from './qwen2_moe.ts';
import { qwen3Moe } from './qwen3_moe.ts';
import type { Target } from './types.ts';

export const TARGET_FAMILIES: Readonly<Record<TargetType, Target>> = {
  mixtral,
  qwen2_moe: qwen2Moe,
  qwen3_moe: qwen3Moe,
  flex_olmo: flexOlmo,
  granitemoe: graniteMoe,
};
