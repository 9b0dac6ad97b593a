/** Files that are written whole or not at all. */
import { randomBytes } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';

/**
 * Writes text or bytes to `path` by way of a temporary file beside it, flushed and then renamed: a link at the target is replaced, never
 * written through, and whoever reads meanwhile finds the old file. Returns the bytes written. Throws the system's own error, with
 * nothing left behind.
 */
export async function writeWhole(path: string, text: string | Uint8Array | Iterable<string>): Promise<number> {
  // Numbers of processes come again, in containers soon: what a killed one left must not be in the way.
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  const handle = await open(temporary, 'wx');
  let bytes = 0;
  try {
    for (const chunk of typeof text === 'string' || text instanceof Uint8Array ? [text] : text) {
      await handle.writeFile(chunk);
      bytes += Buffer.byteLength(chunk);
    }
    await handle.sync();
    await handle.close();
    await rename(temporary, path);
  } catch (error) {
    await handle.close().catch(() => undefined);
    await rm(temporary, { force: true });
    throw error;
  }
  return bytes;
}
