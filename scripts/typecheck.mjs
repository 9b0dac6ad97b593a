// Type checks host code (tsconfig.json) and, when there is any, webview code (webview/tsconfig.json).
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { root, run } from './lib/run.mjs';

const projects = ['tsconfig.json'];
const hasWebview = readdirSync(join(root, 'webview'), { recursive: true }).some((name) => String(name).endsWith('.ts'));
if (hasWebview) projects.push('webview/tsconfig.json');

let failed = 0;
for (const project of projects) {
  const status = await run('node', ['node_modules/typescript/bin/tsc', '-p', project, '--noEmit']);
  console.log(`types of ${project}: ${status === 0 ? 'ok' : 'FAILED'}`);
  if (status !== 0) failed = status;
}
process.exit(failed);
