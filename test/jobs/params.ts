/** Parameters of jobs for tests. */
import type { JobParams, UpcycleParams } from '../../src/protocol/jobs.ts';

export function doctorOf(path: string): JobParams {
  return { kind: 'doctor', path, rebuildIndex: false };
}

export function upcycleOf(
  src: string,
  out: string,
  change: Partial<UpcycleParams> = {},
  text = 'experts: 2\ntop_k: 1\n',
): UpcycleParams {
  return {
    kind: 'upcycle',
    from: { type: 'recipe', file: null, text, preset: null, sets: [], src },
    out,
    planHash: null,
    overwrite: false,
    resume: false,
    clone: true,
    verify: false,
    keepPartial: true,
    ...change,
  };
}
