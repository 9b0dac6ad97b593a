/** Runs the base model for prompt gates, in a model process that ends when they are made. */
import type { GateRunner } from '../gates/types.ts';
import { InferProcess } from './client.ts';
import type { OpenOptions } from './client.ts';

export interface GateSettings extends Pick<OpenOptions, 'cacheFolder' | 'threads' | 'device' | 'onProgress'> {
  /** dist/infer.js. */
  readonly entry: string;
}

/** A runner for `executePlan` and `verifyOutput`. */
export function gateRunner({ entry, ...open }: GateSettings): GateRunner {
  return async (base, use, signal) => {
    const child = new InferProcess({ entry, ...(signal === undefined ? {} : { signal }) });
    try {
      const model = await child.open(base.path, { weights: 'stored', ...open });
      return await use({
        maxPositions: model.facts.maxPositions,
        hidden: (rows, layers, take) => model.hidden(rows, layers, take),
      });
    } finally {
      await child.close();
    }
  };
}
