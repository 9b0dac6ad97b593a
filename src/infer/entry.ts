/** The program that runs models, beside whichever bundle asks. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** dist/infer.js. In a bundle, `import.meta.url` is the bundle's own address. */
export function inferEntry(): string {
  return join(dirname(fileURLToPath(import.meta.url)), 'infer.js');
}
