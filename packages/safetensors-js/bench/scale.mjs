// Time and memory for half a million tensors: header (60 MB), index (60 MB), writer's header. Each case runs in a process
// of its own, so that its peak memory is its own. Usage: npm run build && node bench/scale.mjs
import { spawnSync } from 'node:child_process';
import { closeSync, createWriteStream, ftruncateSync, mkdtempSync, openSync, rmSync, statSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const COUNT = 500_000;
const library = new URL('../dist/index.js', import.meta.url).href;
const experts = 256;

function* names() {
  for (let i = 0; i < COUNT; i++) {
    const part = ['gate_proj', 'up_proj', 'down_proj'][i % 3];
    const e = Math.floor(i / 3);
    yield `model.layers.${Math.floor(e / experts)}.mlp.experts.${e % experts}.${part}.weight`;
  }
}

async function write(path, chunks) {
  const out = createWriteStream(path);
  for (const chunk of chunks) if (!out.write(chunk)) await once(out, 'drain');
  out.end();
  await once(out, 'finish');
}

function* batched(lines) {
  let batch = [];
  for (const line of lines) {
    batch.push(line);
    if (batch.length === 10_000) {
      yield batch.join('');
      batch = [];
    }
  }
  yield batch.join('');
}

async function makeHeader(path) {
  const shape = [2048, 7168];
  const bytes = shape[0] * shape[1] * 2;
  const parts = [];
  let i = 0;
  for (const name of names()) {
    parts.push(
      `"${name}":{"dtype":"BF16","shape":[${shape.join(',')}],"data_offsets":[${i * bytes},${(i + 1) * bytes}]}`,
    );
    i++;
  }
  const json = Buffer.from(`{${parts.join(',')}}`);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  await write(path, [length, json]);
  // Sparse: 14 TB of zeros that take no room, where the file system allows so large a file.
  const fd = openSync(path, 'r+');
  try {
    ftruncateSync(fd, 8 + json.length + COUNT * bytes);
  } catch {
    console.log('(the file system refuses so large a sparse file: the header is parsed, then reported truncated)');
  }
  closeSync(fd);
  return json.length;
}

async function makeIndex(path) {
  function* lines() {
    yield '{\n  "metadata": {\n    "total_size": 14680064000000\n  },\n  "weight_map": {\n';
    let i = 0;
    for (const name of names()) {
      const shard = String(Math.floor(i / 500) + 1).padStart(5, '0');
      i++;
      yield `    "${name}": "model-${shard}-of-01000.safetensors"${i < COUNT ? ',' : ''}\n`;
    }
    yield '  }\n}\n';
  }
  await write(path, batched(lines()));
}

const CASES = {
  header: (path) =>
    `let n; try { n = (await st.readHeader(${path})).tensors.size; } catch (e) { n = e.header.tensors.size; }`,
  'header (sync)': (path) =>
    `let n; try { n = st.readHeaderSync(${path}).tensors.size; } catch (e) { n = e.header.tensors.size; }`,
  index: (path) => `const n = (await st.readIndex(${path})).weightMap.size;`,
  encode: () => `
    const specs = Array.from({ length: ${COUNT} }, (_, i) => ({
      name: 'model.layers.' + (i >> 10) + '.mlp.experts.' + (i & 1023) + '.up_proj.weight', dtype: 'BF16', shape: [2048, 7168] }));
    const n = st.encodeHeader(specs).offsets.size;`,
  'nothing (Node itself)': () => 'const n = 0;',
};

function measure(label, body) {
  const script = `
    import * as st from ${JSON.stringify(library)};
    const cpu = process.cpuUsage();
    const from = performance.now();
    ${body}
    const ms = performance.now() - from;
    const { user, system } = process.cpuUsage(cpu);
    console.log(JSON.stringify({ n, ms, cpu: (user + system) / 1000, rss: process.resourceUsage().maxRSS / 1024 }));`;
  const runs = [];
  for (let i = 0; i < 5; i++) {
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
    if (stdout === '') throw new Error(stderr);
    runs.push(JSON.parse(stdout));
  }
  const ms = runs.map((run) => run.ms).sort((a, b) => a - b);
  const cpu = runs.map((run) => run.cpu).sort((a, b) => a - b);
  const rss = Math.max(...runs.map((run) => run.rss));
  console.log(
    `${label.padEnd(24)} ${String(runs[0].n).padStart(7)} tensors   median ${ms[2].toFixed(0).padStart(5)} ms   ` +
      `best ${ms[0].toFixed(0).padStart(5)} ms   CPU ${cpu[2].toFixed(0).padStart(5)} ms   peak RSS ${rss.toFixed(0).padStart(4)} MiB`,
  );
}

const folder = mkdtempSync(join(tmpdir(), 'safetensors-bench-'));
try {
  const header = join(folder, 'big.safetensors');
  const index = join(folder, 'model.safetensors.index.json');
  console.log(`header: ${((await makeHeader(header)) / 1e6).toFixed(1)} MB of JSON`);
  await makeIndex(index);
  console.log(`index:  ${(statSync(index).size / 1e6).toFixed(1)} MB`);
  for (const [label, body] of Object.entries(CASES)) {
    measure(label, body(JSON.stringify(label === 'index' ? index : header)));
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
