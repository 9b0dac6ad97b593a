// npm test: installs what is needed, builds, checks types, lint and format, runs the tests, and says at the end what passed.
// Options after -- go to vitest (npm test -- test/recipe). Every step runs even after a failed one, save that nothing runs
// without an install and no test without a build.
import { performance } from 'node:perf_hooks';
import { installIfNeeded, run } from './lib/run.mjs';

installIfNeeded();
const filters = process.argv.slice(2);

const steps = [
  { name: 'build', args: ['scripts/build.mjs'], needed: true },
  { name: 'types', args: ['scripts/typecheck.mjs'] },
  { name: 'lint', args: ['node_modules/eslint/bin/eslint.js', '.', '--max-warnings', '0'] },
  { name: 'format', args: ['node_modules/prettier/bin/prettier.cjs', '--check', '--log-level', 'warn', '.'] },
  { name: 'tests', args: ['node_modules/vitest/vitest.mjs', 'run', ...filters] },
];

const results = [];
for (const step of steps) {
  console.log(`\n── ${step.name} ──`);
  const start = performance.now();
  const status = await run('node', step.args);
  results.push({ name: step.name, status, seconds: (performance.now() - start) / 1000 });
  if (status !== 0 && step.needed) break;
}

console.log('\n── summary ──');
for (const { name, status, seconds } of results)
  console.log(`${status === 0 ? 'ok    ' : 'FAILED'} ${name.padEnd(8)} ${seconds.toFixed(1).padStart(7)} s`);
for (const step of steps.slice(results.length)) console.log(`not run ${step.name}`);
process.exit(results.length === steps.length && results.every(({ status }) => status === 0) ? 0 : 1);
