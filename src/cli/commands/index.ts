/** All commands, in the order of the help. Each loads its heavy parts when it runs. */
import type { Command } from '../command.ts';
import { devices } from './devices.ts';
import { diff } from './diff.ts';
import { doctor } from './doctor.ts';
import { evalCompare } from './eval-compare.ts';
import { evaluate } from './eval.ts';
import { generate } from './generate.ts';
import { inspect } from './inspect.ts';
import { logits } from './logits.ts';
import { plan } from './plan.ts';
import { presets } from './presets.ts';
import { recipe } from './recipe.ts';
import { revert } from './revert.ts';
import { routerLab } from './router-lab.ts';
import { sample } from './sample.ts';
import { tokenize } from './tokenize.ts';
import { trace } from './trace.ts';
import { upcycle } from './upcycle.ts';
import { verify } from './verify.ts';

export const COMMANDS: readonly Command[] = [
  inspect,
  plan,
  upcycle,
  verify,
  revert,
  doctor,
  diff,
  recipe,
  presets,
  sample,
  tokenize,
  logits,
  generate,
  evaluate,
  evalCompare,
  trace,
  routerLab,
  devices,
];
