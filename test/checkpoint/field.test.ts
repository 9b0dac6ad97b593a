/** Field reports: what is right is written beside each input, and nowhere else. */
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { Checkpoint } from '../../src/checkpoint/types.ts';
import { inspectCheckpoint } from '../../src/inspect/index.ts';
import type { InspectReport } from '../../src/inspect/index.ts';
import { doctor, rebuildIndex } from '../../src/doctor/index.ts';
import { isJsonObject } from '../../src/common/json.ts';
import type { JsonValue } from '../../src/common/json.ts';
import { codes, failure, problem, readJson, safetensors, shared, temporaryFolder } from './files.ts';

const FIELD = shared('field/inputs');

/** `expected.json`: the value of the check that starts with these words. */
function right(id: string, check: string): JsonValue {
  const expected = readJson(join(FIELD ?? '', id, 'expected.json')) as JsonValue;
  const list = isJsonObject(expected) ? expected['right'] : null;
  for (const item of Array.isArray(list) ? (list as readonly JsonValue[]) : []) {
    if (isJsonObject(item) && String(item['check']).startsWith(check)) return item['value'] ?? null;
  }
  throw new Error(`${id} has no check ${check}`);
}

async function look(id: string): Promise<{ cp: Checkpoint; report: InspectReport }> {
  const cp = await openCheckpoint(join(FIELD ?? '', id));
  return { cp, report: await inspectCheckpoint(cp) };
}

describe.skipIf(FIELD === null)('field reports', () => {
  it('G1-06: a shared expert that is promised but not there', async () => {
    const { report } = await look('G1-06');
    const missing = problem(report.problems, 'missing-tensors');
    expect(missing.severity).toBe('error');
    expect(missing.details?.['tensors']).toEqual(right('G1-06', 'missing tensors listed'));
    expect(problem(report.problems, 'norm-topk-prob-absent').message).toContain('means false for qwen2_moe');
    expect(report.parameters.total).toBe(right('G1-06', 'parameters counted from the file'));
  });

  it('G2-05: fields in text_config, another prefix', async () => {
    const { report } = await look('G2-05');
    expect(report.kind).toBe('moe');
    expect([report.experts?.perLayer, report.experts?.topK]).toEqual(right('G2-05', 'experts / top-k'));
    expect(report.experts?.parallelSizes).toEqual(right('G2-05', 'expert parallel sizes'));
    expect(report.experts?.layerIndices).toEqual([0]);
    expect(report.parameters.total).toBe(right('G2-05', 'total parameters'));
    expect(codes(report.problems, 'error')).toEqual([]);
  });

  it('G2-07: an MLX export is named as one', async () => {
    const { report } = await look('G2-07');
    expect(report.experts?.layout).toBe('MLX switch_mlp');
    expect(report.experts?.perLayer).toBe(4);
    expect(report.parameters.total).toBe(right('G2-07', 'total parameters'));
    expect(codes(report.problems, 'error')).toEqual([]);
  });

  it('G2-08: three widths in one config', async () => {
    const { report } = await look('G2-08');
    expect(report.parameters.total).toBe(right('G2-08', 'total'));
    expect(report.parameters.active).toBe(right('G2-08', 'active'));
    expect(report.experts?.width).toBe(right('G2-08', 'per-expert width'));
    expect(report.experts?.sharedWidth).toBe(right('G2-08', 'shared width'));
    expect(problem(report.problems, 'unused-intermediate-size').message).toContain('intermediate_size 40');
  });

  it('G3-07: bytes too many and bytes too few are opposite cases', async () => {
    const folder = join(FIELD ?? '', 'G3-07');
    expect((await openCheckpoint(join(folder, 'good.safetensors'))).tensors.size).toBe(2);
    const longer = await failure(() => openCheckpoint(join(folder, 'trailing8.safetensors')));
    expect(longer).toMatchObject({ kind: 'input', code: 'trailing-bytes' });
    expect(longer.message).toContain('8 bytes after the last tensor; the reference loader refuses this file');
    expect(longer.message + String(longer.place['hint'])).not.toContain('incomplete download');
    expect(longer.place['hint']).toContain('rewrite');
    expect(longer.place['details']).toMatchObject({ extra: 8, tensors: ['a.weight', 'b.weight'] });
    const shorter = await failure(() => openCheckpoint(join(folder, 'short6.safetensors')));
    expect(shorter).toMatchObject({ kind: 'input', code: 'file-truncated', place: { tensor: 'b.weight' } });
    expect(shorter.message).toContain('file is 6 bytes shorter than its header says; first incomplete tensor b.weight');
    expect(shorter.place['details']).toMatchObject({ missing: 6, tensors: ['a.weight'] });
    const health = await doctor(join(folder, 'short6.safetensors'));
    expect(health.healthy).toBe(false);
    expect(health.checked.tensors).toBe(1);
  });

  it('G3-08: a Git LFS pointer as a shard', async () => {
    const { cp } = await look('G3-08');
    const pointer = problem(cp.problems, 'git-lfs-pointer');
    expect(pointer.message).toBe(right('G3-08', 'message'));
    expect(pointer.details?.['oid']).toBe(right('G3-08', 'oid shown'));
    expect(pointer.hint).toContain('4.98 GB');
    expect(pointer.details?.['neededBytes']).toBe(4_976_698_672);
    expect([...cp.tensors.keys()]).toEqual(right('G3-08', 'the other shard is still listed'));
  });

  it('G3-09: a header beyond the readers’ limit is refused unread and not called damaged', async () => {
    const file = join(temporaryFolder(), 'big_header.safetensors');
    // The same header length as the generator's first bytes imply, without writing 100 MB of names.
    const length = 110_000_000;
    const head = Buffer.alloc(64, 0x20);
    head.writeBigUInt64LE(BigInt(length), 0);
    head.write('{"sample.0":{"dtype":"U8"', 8);
    writeFileSync(file, head);
    truncateSync(file, 8 + length + 1_300_000);
    const before = process.memoryUsage().rss;
    const refused = await failure(() => openCheckpoint(file));
    expect(process.memoryUsage().rss - before).toBeLessThan(50e6);
    expect(refused).toMatchObject({ kind: 'input', code: 'header-too-large' });
    expect(refused.message).toMatch(/header is 110,000,000 bytes; the format's readers stop at 100,000,000/);
    expect(refused.message).toContain('too many tensors');
    expect(refused.message).not.toMatch(/corrupt|damaged|LFS/);
  });

  it('G7-05: DCP shards that do not cover their tensor', async () => {
    const { cp } = await look('G7-05');
    const gap = problem(cp.problems, 'dcp-rows-missing');
    expect(gap.message).toContain(
      'rows 4..7 of model.layers.0.mlp.up_proj.weight are in no shard (config wants [8,4])',
    );
    expect(gap.details?.['ranges']).toEqual([right('G7-05', 'error: rows 4..7'), [0, 4]]);
    expect(cp.tensors.size).toBe(0);
    expect(cp.pieces?.get('model.layers.0.mlp.up_proj.weight')).toHaveLength(2);
  });

  it('G7-07: an index that knows one shard of two, and its rebuilding', async () => {
    const { report } = await look('G7-07');
    const unlisted = problem(report.problems, 'unlisted-file');
    expect(unlisted.file).toBe(right('G7-07', 'unlisted file'));
    expect(unlisted.details?.['tensors']).toEqual(right('G7-07', 'unlisted tensors'));
    const { details } = problem(report.problems, 'index-experts');
    expect([details?.['index'], details?.['files'], details?.['config']]).toEqual(right('G7-07', 'experts:'));
    const copy = join(temporaryFolder(), 'G7-07');
    cpSync(join(FIELD ?? '', 'G7-07'), copy, { recursive: true });
    makeWritable(copy);
    const rebuilt = await rebuildIndex(copy);
    expect([rebuilt.entries, rebuilt.totalSize]).toEqual(right('G7-07', 'quick fix'));
    expect(rebuilt.added).toHaveLength(3);
    const after = await openCheckpoint(copy);
    expect(codes(after.problems)).not.toContain('unlisted-file');
    expect(after.index?.weightMap.size).toBe(5);
    expect(after.index?.totalSize).toBe(72);
  });

  it('G8-05: what a failed save left', async () => {
    const { cp } = await look('G8-05');
    const by = new Map(cp.problems.map((p) => [p.file ?? '', p]));
    expect(cp.files.find((f) => f.name.startsWith('model-00001'))?.state).toBe('ok');
    expect(by.get('model-00002-of-00004.safetensors')?.message).toContain('empty (0 bytes)');
    const third = by.get('model-00003-of-00004.safetensors');
    expect(third?.code).toBe('only-temporary-file');
    expect(third?.message).toMatch(/only a temporary file, .*\.tmp, 4 bytes short/);
    expect(by.get('model-00004-of-00004.safetensors')?.message).toContain('7 bytes shorter');
    const refused = await failure(() => rebuildIndex(join(FIELD ?? '', 'G8-05')));
    expect(refused.code).toBe('cannot-rebuild-index');
  });
});

/** Copies of read-only material are read-only. */
function makeWritable(folder: string): void {
  const index = join(folder, 'model.safetensors.index.json');
  const text = readFileSync(index);
  rmSync(index, { force: true });
  writeFileSync(index, text);
}

describe('G3-10: the hub cache', () => {
  const root = temporaryFolder();
  const model = join(root, 'models--x--y');
  beforeAll(() => {
    mkdirSync(join(model, 'blobs'), { recursive: true });
    mkdirSync(join(model, 'snapshots/abc'), { recursive: true });
    mkdirSync(join(model, 'snapshots/def'), { recursive: true });
    writeFileSync(join(model, 'blobs/1111'), safetensors([{ name: 'w.weight', shape: [2, 2] }]));
    symlinkSync('../../blobs/1111', join(model, 'snapshots/abc/model.safetensors'));
    symlinkSync('tmp/x/models--x--y/blobs/2222', join(model, 'snapshots/abc/config.json'));
  });

  it('follows the good link under its own name', async () => {
    const cp = await openCheckpoint(join(model, 'snapshots/abc'));
    expect(cp.files).toEqual([
      { name: 'model.safetensors', path: join(model, 'blobs/1111'), bytes: expect.any(Number) as number, state: 'ok' },
    ]);
    expect([...cp.tensors.keys()]).toEqual(['w.weight']);
    const lone = await openCheckpoint(join(model, 'snapshots/abc/model.safetensors'));
    expect(lone.files[0]?.name).toBe('model.safetensors');
  });

  it('names the dead target', async () => {
    const cp = await openCheckpoint(join(model, 'snapshots/abc'));
    const dead = problem(cp.problems, 'dangling-link');
    expect(dead.message).toBe('config.json: link points to tmp/x/models--x--y/blobs/2222 which does not exist');
    const alone = await failure(() => openCheckpoint(join(model, 'snapshots/abc/config.json')));
    expect(alone.message).toContain('link points to tmp/x/models--x--y/blobs/2222 which does not exist');
    expect(alone.kind).toBe('input');
  });

  it('says why a snapshot is empty', async () => {
    const empty = await failure(() => openCheckpoint(join(model, 'snapshots/def')));
    expect(empty.code).toBe('empty-snapshot');
    expect(empty.message).toContain('empty snapshot; files may be under blobs/ because links could not be made');
  });

  it('takes the model folder and the cache folder: refs/main, else the newest that is not empty', async () => {
    expect((await openCheckpoint(model)).root).toBe(join(model, 'snapshots/abc'));
    expect((await openCheckpoint(root)).root).toBe(join(model, 'snapshots/abc'));
    mkdirSync(join(model, 'refs'));
    writeFileSync(join(model, 'refs/main'), 'def\n');
    expect((await failure(() => openCheckpoint(model))).code).toBe('empty-snapshot');
    rmSync(join(model, 'refs'), { recursive: true });
  });

  it('never writes through a link: a rebuilt index replaces it', async () => {
    const before = readFileSync(join(model, 'blobs/1111'));
    writeFileSync(join(model, 'blobs/3333'), '{"metadata":{},"weight_map":{"w.weight":"model.safetensors"}}');
    const link = join(model, 'snapshots/abc/model.safetensors.index.json');
    symlinkSync('../../blobs/3333', link);
    await rebuildIndex(join(model, 'snapshots/abc'));
    expect(readFileSync(join(model, 'blobs/3333'), 'utf8')).toBe(
      '{"metadata":{},"weight_map":{"w.weight":"model.safetensors"}}',
    );
    expect(readFileSync(link, 'utf8')).toContain('"total_size": 16');
    expect(readFileSync(join(model, 'blobs/1111'))).toEqual(before);
    rmSync(link);
  });

  it('follows links that were stored as text, but only into the cache’s own blobs', async () => {
    const snapshot = join(model, 'snapshots/text');
    mkdirSync(snapshot);
    writeFileSync(join(snapshot, 'model.safetensors'), '../../blobs/1111');
    const cp = await openCheckpoint(snapshot);
    expect([...cp.tensors.keys()]).toEqual(['w.weight']);
    expect(codes(cp.problems)).toContain('link-stored-as-text');
    writeFileSync(join(snapshot, 'model.safetensors'), '../../../other/blobs/1111');
    const away = await failure(() => openCheckpoint(snapshot));
    expect(away.kind).toBe('input');
    rmSync(snapshot, { recursive: true });
  });
});
