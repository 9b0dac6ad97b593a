import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { keepProof, keptProof } from '../../src/write/manifest-proof.ts';
import type { KeptProof } from '../../src/write/manifest-proof.ts';

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'moe-proof-'));
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

const PROOF: KeptProof = {
  at: '2026-11-26T12:00:00.000Z',
  tool: 'moe-workbench 0.1.0',
  class: 'exact',
  ok: true,
  input: '7 tokens of the given text\n "proof": {"x": 1},',
  positions: 7,
  relativeNorm: 2e-7,
  limit: 1e-5,
  bitEqual: false,
};

/** A file that is sealed as a manifest is; names in it may look like anything. */
function sealed(body: string): string {
  const file = join(dir, 'moe-manifest.json');
  const text = `${body},\n "selfDigest": "`;
  writeFileSync(file, `${text}${createHash('sha256').update(text).digest('hex')}"\n}\n`);
  return file;
}

const HASH = 'a'.repeat(64);
const BODY = `{\n "planHash": "${HASH}",\n "notes": [${JSON.stringify('\n "proof": {}')}],\n "plan": {"tensors":[\n1\n]}`;

describe('a proof in the manifest', () => {
  it('is put before the seal, replaced by the next, and read back; all else stays as it was', async () => {
    const file = sealed(BODY);
    expect(await keptProof(file)).toBeNull();
    await keepProof(file, HASH, PROOF);
    expect(await keptProof(file)).toEqual(PROOF);
    const once = readFileSync(file, 'utf8');
    expect(once.startsWith(`${BODY},\n "proof": `)).toBe(true);
    expect(JSON.parse(once)).toMatchObject({ plan: { tensors: [1] }, proof: PROOF });
    const next = { ...PROOF, ok: false, relativeNorm: null };
    await keepProof(file, HASH, next);
    expect(await keptProof(file)).toEqual(next);
    await keepProof(file, HASH, PROOF);
    expect(readFileSync(file, 'utf8')).toBe(once);
    const end = once.length - 64 - 4;
    expect(once.slice(end, end + 64)).toBe(createHash('sha256').update(once.slice(0, end)).digest('hex'));
  });

  it('is not put into a manifest that is damaged, and not read from one that is cut off', async () => {
    const file = sealed(BODY);
    await keepProof(file, HASH, PROOF);
    const whole = readFileSync(file, 'utf8');
    writeFileSync(file, whole.replace('"plan"', '"plaN"'));
    await expect(keepProof(file, HASH, PROOF)).rejects.toMatchObject({ code: 'manifest-damaged' });
    writeFileSync(file, whole);
    await expect(keepProof(file, 'b'.repeat(64), PROOF)).rejects.toMatchObject({ code: 'manifest-replaced' });
    for (let cut = 0; cut < whole.length - 200; cut += 11) {
      writeFileSync(file, whole.slice(0, cut));
      expect(await keptProof(file)).toBeNull();
    }
    expect(await keptProof(join(dir, 'absent'))).toBeNull();
    expect(await keptProof(dir)).toBeNull();
  });
});
