/**
 * What running source and result has shown, kept in moe-manifest.json. It is the last member before the manifest's own digest, on a
 * line of its own, and can come long after the model: the seal is made anew, and the rest of the text stays as it is.
 */
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { open, readFile } from 'node:fs/promises';
import { z } from 'zod';
import { MoeError } from '../common/errors.ts';
import { writeWhole } from '../common/write-whole.ts';
import { sealOf } from './manifest.ts';

/** As `LogitProof`; what is not a finite number is null in JSON. */
export const keptProofSchema = z.looseObject({
  at: z.string(),
  tool: z.string(),
  class: z.string(),
  ok: z.boolean(),
  input: z.string(),
  positions: z.number(),
  relativeNorm: z.number().nullable(),
  limit: z.number().nullable(),
  bitEqual: z.boolean(),
});
export type KeptProof = z.infer<typeof keptProofSchema>;

const LEAD = '\n "proof": ';
const SEAL = '\n "selfDigest": "';
/** A proof is a few hundred bytes; what is looked for at the end of a manifest. */
const TAIL_BYTES = 2 ** 14;

/**
 * Puts a proof into the manifest at `path`, in place of an earlier one. Throws what `readManifest` throws, the system's error, or
 * `manifest-replaced` where it is no longer that of the plan whose output was run.
 */
export async function keepProof(path: string, planHash: string, proof: KeptProof): Promise<void> {
  const bytes = await readFile(path);
  const { end } = sealOf(bytes);
  if (!bytes.includes(`\n "planHash": "${planHash}",`))
    throw new MoeError('input', 'manifest-replaced', 'The output was written anew while it was run', { file: path });
  const before = bytes.subarray(0, end - SEAL.length);
  const last = before.lastIndexOf('\n');
  const rest = before.subarray(last, last + LEAD.length).equals(Buffer.from(LEAD)) ? before.subarray(0, last) : before;
  const added = Buffer.from(`${LEAD}${JSON.stringify(proof)},${SEAL}`);
  const digest = createHash('sha256').update(rest).update(added).digest('hex');
  await writeWhole(path, Buffer.concat([rest, added, Buffer.from(`${digest}"\n}\n`)]));
}

/** The proof in a manifest, read from its end alone; null where there is none, or no manifest. The seal is not checked. */
export async function keptProof(path: string): Promise<KeptProof | null> {
  let handle: FileHandle;
  try {
    handle = await open(path, 'r');
  } catch {
    return null;
  }
  try {
    const { size } = await handle.stat();
    const from = Math.max(0, size - TAIL_BYTES);
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(size - from), 0, size - from, from);
    const text = buffer.subarray(0, bytesRead).toString('utf8');
    const at = text.lastIndexOf(LEAD);
    if (at < 0) return null;
    const line = text.slice(at + LEAD.length, text.indexOf('\n', at + 1)).replace(/,$/, '');
    return keptProofSchema.safeParse(JSON.parse(line)).data ?? null;
  } catch {
    return null;
  } finally {
    await handle.close();
  }
}
