// Writes media/recipe.schema.json from the zod schema of the recipe loader. A test asserts that the file is current.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = mkdtempSync(join(tmpdir(), 'moe-schema-'));
try {
  const outfile = join(folder, 'schema.mjs');
  await build({
    entryPoints: [join(root, 'src/recipe/json-schema.ts')],
    bundle: true,
    platform: 'node',
    format: 'esm',
    outfile,
    logLevel: 'warning',
  });
  const { recipeJsonSchema } = await import(pathToFileURL(outfile).href);
  writeFileSync(join(root, 'media/recipe.schema.json'), `${JSON.stringify(recipeJsonSchema(), null, 2)}\n`);
} finally {
  rmSync(folder, { recursive: true });
}
