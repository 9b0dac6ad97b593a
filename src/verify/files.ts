/** Checks of everything but tensor data: which files are there, headers, config, index and the other documents. */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, lstatSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Checkpoint } from '../checkpoint/types.ts';
import { grouped, messageOf } from '../common/errors.ts';
import { throwIfCancelled } from '../evaluate/index.ts';
import type { PlanContents } from '../write/contents.ts';
import { CONFIG_NAME, INDEX_NAME, MANIFEST_NAME, configText, indexText } from '../write/documents.ts';
import { unpack } from '../write/manifest.ts';
import type { Manifest, ManifestDocument } from '../write/manifest.ts';
import { readExactly } from '../write/read-exactly.ts';
import { describeByte, firstDifference } from './problems.ts';
import type { Findings } from './problems.ts';

/** Documents up to this size are compared byte by byte; larger ones by digest alone. */
const MAX_COMPARED_BYTES = 64 << 20;
/** What a loader would pick up although this tool did not write it. */
const LOADED = /\.(?:safetensors|bin|pt|pth|gguf|h5|msgpack)$|\.index\.json$/i;

function sizeOf(path: string): number | null {
  try {
    const facts = statSync(path);
    return facts.isFile() ? facts.size : null;
  } catch {
    return null;
  }
}

/** Weight files that can be compared: those that are there in their size. Reports the others, and files too many. */
export function checkPresence(out: string, manifest: Manifest, layout: PlanContents, findings: Findings): Set<number> {
  const usable = new Set<number>();
  let bad = 0;
  for (const [index, { file, bytes }] of layout.files.entries()) {
    const size = sizeOf(join(out, file.name));
    if (size === bytes) {
      usable.add(index);
      continue;
    }
    bad += 1;
    findings.problem(
      size === null
        ? { code: 'file-missing', message: `"${file.name}" is missing.`, file: file.name }
        : {
            code: size < bytes ? 'file-truncated' : 'file-too-long',
            message: `"${file.name}" has ${grouped(size)} bytes, ${grouped(Math.abs(size - bytes))} ${size < bytes ? 'fewer' : 'more'} than it was written with.`,
            file: file.name,
            byte: Math.min(size, bytes),
          },
    );
  }
  for (const { name } of manifest.documents) {
    if (existsSync(join(out, name))) continue;
    bad += 1;
    findings.problem({ code: 'file-missing', message: `"${name}" is missing.`, file: name });
  }
  const expected = new Set([
    MANIFEST_NAME,
    ...layout.files.map(({ file }) => file.name),
    ...manifest.documents.map(({ name }) => name),
  ]);
  const extra = readdirSync(out).filter((name) => !expected.has(name));
  for (const name of extra.filter((candidate) => LOADED.test(candidate))) {
    bad += 1;
    findings.problem({
      code: 'file-extra',
      message: `"${name}" does not belong to this output, and loaders may read it.`,
      file: name,
    });
  }
  const harmless = extra.filter((name) => !LOADED.test(name));
  if (harmless.length > 0) {
    findings.notProven.push(
      `Not written by this tool and not looked at: ${harmless.slice(0, 10).join(', ')}${harmless.length > 10 ? ', …' : ''}.`,
    );
  }
  findings.check(
    'files',
    bad === 0,
    `${String(layout.files.length)} weight file${layout.files.length === 1 ? '' : 's'} and ${String(manifest.documents.length)} documents expected${bad === 0 ? ', all there' : `, ${String(bad)} wrong`}`,
  );
  return usable;
}

/** Every weight file begins with exactly the planned header. */
export function checkHeaders(out: string, layout: PlanContents, usable: ReadonlySet<number>, findings: Findings): void {
  let bad = 0;
  for (const index of usable) {
    const planned = layout.files[index];
    if (planned === undefined) continue;
    const { file, header } = planned;
    const found = readExactly(join(out, file.name), 0, header.length);
    const at = firstDifference(header, found);
    if (at < 0) continue;
    bad += 1;
    findings.problem({
      code: 'header-differs',
      message: `The header of "${file.name}" differs at byte ${grouped(at)} (${describeByte(header[at], found[at])}).`,
      file: file.name,
      byte: at,
    });
  }
  findings.check('headers', bad === 0, `${String(usable.size)} compared with the plan byte by byte`);
}

async function sha256Of(path: string, signal: AbortSignal | undefined): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    throwIfCancelled(signal);
    hash.update(chunk as Buffer);
  }
  return hash.digest('hex');
}

/** The bytes that a document must have, where they are known: from the plan, the manifest or the source at hand. */
function expectedBytes(
  document: ManifestDocument,
  manifest: Manifest,
  sources: readonly Checkpoint[] | undefined,
): Buffer | null {
  if (document.bytes > MAX_COMPARED_BYTES) return null;
  if (document.name === CONFIG_NAME) return Buffer.from(configText(manifest.plan), 'utf8');
  if (document.name === INDEX_NAME) return Buffer.from(indexText(manifest.plan) ?? '', 'utf8');
  if (document.content !== undefined) return unpack(document.content, document.bytes, document.name);
  const sidecar = sources?.[0]?.sidecars.find(({ name }) => name === document.name);
  if (sidecar?.text !== undefined) return Buffer.from(sidecar.text, 'utf8');
  return sidecar?.path === undefined || sidecar.bytes !== document.bytes ? null : readFileSync(sidecar.path);
}

/** config.json and index against the plan, all other documents against their digests. */
export async function checkDocuments(
  out: string,
  manifest: Manifest,
  sources: readonly Checkpoint[] | undefined,
  findings: Findings,
  signal: AbortSignal | undefined,
): Promise<void> {
  let bad = 0;
  for (const document of manifest.documents) {
    const { name } = document;
    const path = join(out, name);
    if (!existsSync(path)) continue;
    try {
      if (lstatSync(path).isFile() && (await sha256Of(path, signal)) === document.sha256) {
        // Digest as recorded; config and index must also be what the plan says.
        if (name !== CONFIG_NAME && name !== INDEX_NAME) continue;
      }
      const expected = expectedBytes(document, manifest, sources);
      const found = sizeOf(path) !== null && document.bytes <= MAX_COMPARED_BYTES ? readFileSync(path) : null;
      const at = expected === null || found === null ? null : firstDifference(expected, found);
      if (at === -1) continue;
      bad += 1;
      findings.problem(
        at === null || expected === null || found === null
          ? {
              code: 'document-differs',
              message: `"${name}" is not as it was written (its sha256 differs).`,
              file: name,
            }
          : {
              code: 'document-differs',
              message: `"${name}" is not as it was written: it differs at byte ${grouped(at)} (${describeByte(expected[at], found[at])}).`,
              file: name,
              byte: at,
            },
      );
    } catch (error) {
      throwIfCancelled(signal);
      bad += 1;
      findings.problem({
        code: 'document-unreadable',
        message: `"${name}" cannot be read: ${messageOf(error)}`,
        file: name,
      });
    }
  }
  findings.check(
    'documents',
    bad === 0,
    `config and index compared with the plan, ${String(manifest.documents.length)} documents with their digests`,
  );
}
