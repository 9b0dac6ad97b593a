/** Where tests find models that are not in the repository. */
import * as fs from 'node:fs';
import * as path from 'node:path';

/** A path beside the repository; null, and said loudly, where it is absent. */
export function sharedFolder(...parts: string[]): string | null {
  return present('../shared files', path.resolve(import.meta.dirname, '../../../shared', ...parts));
}

const cache = path.resolve(import.meta.dirname, '../../.cache');

/** The real SmolLM2-135M-Instruct as a folder (../shared/models/smollm2-135m/make.py makes it). */
export const smollm2Folder = present(
  'SmolLM2-135M as a folder (set MOE_SMOLLM2)',
  ...[process.env['MOE_SMOLLM2'], path.join(cache, 'smollm2-135m')].filter((at) => at !== undefined),
);

/** The same as Q4_1 GGUF (scripts/fetch-smollm2.mjs fetches it). */
export const smollm2Gguf = present(
  'SmolLM2-135M as GGUF (node scripts/fetch-smollm2.mjs)',
  path.join(cache, 'smollm2', 'SmolLM2-135M-Instruct.Q4_1.gguf'),
);

function present(what: string, ...places: string[]): string | null {
  const found = places.find((place) => {
    const facts = fs.statSync(place, { throwIfNoEntry: false });
    return facts?.isDirectory() === true ? fs.readdirSync(place).length > 0 : facts !== undefined;
  });
  if (found !== undefined) return found;
  console.warn(`SKIPPED: ${what} is absent; tests that need it do not run`);
  return null;
}
