// npm start [-- PATH [options]]: the main job, end to end: inspect → plan → upcycle → verify (on the sample with a proof by
// running both models, an evaluation and expert loads) → revert, then every file of the
// reverted checkpoint is compared with the source by its own hash. Without PATH on the built-in sample.
//   --out DIR      put results there instead of a fresh folder under ./out
//   other options  (--set, --preset, --recipe, --no-clone) go to plan and upcycle
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { isAbsolute, join, relative, resolve } from 'node:path';
import { performance } from 'node:perf_hooks';
import { installIfNeeded, root, run } from './lib/run.mjs';

// npm runs this in the root; INIT_CWD is where the user typed it.
const here = process.env.INIT_CWD ?? process.cwd();
const { path, out: wantedOut, options, writing } = readArguments(process.argv.slice(2));

installIfNeeded();
console.log('── build ──');
if ((await run('node', ['scripts/build.mjs', '--no-packages'])) !== 0) process.exit(1);

const cli = join(root, 'dist/cli.js');
const work = resolve(here, wantedOut ?? join(root, 'out', new Date().toISOString().replace(/[:.]/g, '-').slice(0, 19)));
if (existsSync(work) && readdirSync(work).length > 0) {
  console.error(`${work} is not empty; name a new folder with --out`);
  process.exit(2);
}
mkdirSync(work, { recursive: true });

const source = path === null ? join(work, 'sample') : resolve(here, path);
const moe = join(work, 'moe');
const dense = join(work, 'reverted');
const planFile = join(work, 'plan.json');
const results = [];

if (path === null) await step('sample', ['sample', source]);
await step('inspect', ['inspect', source]);
await step('plan', ['plan', source, ...options, '--out', moe, '--save', planFile]);
await step('upcycle', ['upcycle', source, moe, '--plan', planFile, ...writing]);
// The sample is run as well: the same logits from both models, a score, and which experts get which tokens.
await step('verify', ['verify', moe, '--source', source, ...(path === null ? ['--logits'] : [])]);
if (path === null) {
  const text = join(work, 'text.txt');
  writeFileSync(text, readFileSync(join(root, 'README.md'), 'utf8').slice(0, 2000));
  await step('eval', ['eval', moe, '--tasks', 'perplexity', '--data', text]);
  console.log('The sample has random weights, so it guesses: about 8 bits per byte. A trained model needs about 1.');
  await step('trace', ['trace', moe, '--text', text]);
}
const undone = await step('revert', ['revert', moe, dense], { mayRefuse: true });

if (undone) {
  title('compare');
  const start = performance.now();
  const { lines, equal } = await compare(source, dense);
  console.log(lines.join('\n'));
  results.push({ name: 'compare', ok: equal, seconds: (performance.now() - start) / 1000 });
}

title('summary');
for (const { name, ok, seconds, note } of results)
  console.log(
    `${ok ? 'ok    ' : 'FAILED'} ${name.padEnd(8)} ${seconds.toFixed(1).padStart(7)} s${note === undefined ? '' : `  ${note}`}`,
  );
console.log(`\nEverything lies in ${shown(work)}. Look around:`);
console.log(`  node dist/cli.js diff ${shown(source)} ${shown(moe)}`);
console.log(`  node dist/cli.js doctor ${shown(moe)}`);
if (path !== null) console.log(`  node dist/cli.js verify ${shown(moe)} --source ${shown(source)} --logits`);
console.log('  node dist/cli.js help');
process.exit(results.every(({ ok }) => ok) ? 0 : 1);

function readArguments(words) {
  const parsed = { path: null, out: null, options: [], writing: [] };
  const valued = ['--set', '--preset'];
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    if (word === '--out') parsed.out = words[++i] ?? null;
    else if (word === '--recipe') parsed.options.push(word, resolve(here, words[++i] ?? ''));
    else if (word === '--no-clone') parsed.writing.push(word);
    else if (valued.includes(word)) parsed.options.push(word, words[++i] ?? '');
    else if (word.startsWith('-')) parsed.options.push(word);
    else if (parsed.path === null) parsed.path = word;
    else {
      console.error(`one PATH is expected, got ${parsed.path} and ${word}`);
      process.exit(2);
    }
  }
  return parsed;
}

function title(name) {
  console.log(`\n── ${name} ──`);
}

/** Short for what lies in this folder, absolute for the rest. */
function shown(target) {
  const short = relative(root, target);
  return short === '' ? '.' : short.startsWith('..') ? target : short;
}

/** Runs one command with its output shown; a failure ends everything, save a revert that the recipe does not allow. */
async function step(name, args, { mayRefuse = false } = {}) {
  title(name);
  args = args.map((word) => (isAbsolute(word) ? shown(word) : word));
  console.log(`$ moe ${args.join(' ')}\n`);
  const start = performance.now();
  const status = await run('node', [cli, ...args]);
  const seconds = (performance.now() - start) / 1000;
  if (status === 0) {
    results.push({ name, ok: true, seconds });
    return true;
  }
  if (mayRefuse && status === 3 && isRefusal(args)) {
    results.push({ name, ok: true, seconds, note: 'this recipe or source cannot be undone; the reason is above' });
    return false;
  }
  console.error(`\n${name} failed (exit ${status}).`);
  process.exit(status);
}

/** Whether the command says that the request cannot be met, rather than that something broke. */
function isRefusal(args) {
  const again = spawnSync(process.execPath, [cli, ...args, '--json'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  try {
    return JSON.parse(again.stdout).error.code === 'not-revertible';
  } catch {
    return false;
  }
}

async function compare(before, after) {
  const folder = statSync(before).isDirectory() ? before : null;
  const names = readdirSync(after).filter((name) => statSync(join(after, name)).isFile());
  const lines = [];
  let equal = true;
  for (const name of names) {
    const original = folder === null ? before : join(folder, name);
    if (!existsSync(original)) {
      lines.push(`new       ${name} (the source has no such file)`);
      continue;
    }
    const [a, b] = await Promise.all([sha256(original), sha256(join(after, name))]);
    if (a !== b) equal = false;
    lines.push(`${a === b ? 'identical' : 'DIFFERENT'} ${name}  sha256 ${a.slice(0, 16)}…`);
  }
  const left =
    folder === null
      ? []
      : readdirSync(folder).filter((name) => statSync(join(folder, name)).isFile() && !names.includes(name));
  for (const name of left) {
    if (name.endsWith('.safetensors')) equal = false;
    lines.push(`not there ${name}`);
  }
  return { lines, equal };
}

async function sha256(file) {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk);
  return hash.digest('hex');
}
