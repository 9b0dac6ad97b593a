/** The writer's promises: bytes as planned, nothing half-done under the final name, clear refusals. */
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readHeaderSync } from 'safetensors-js';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { MoeError } from '../../src/common/errors.ts';
import { Evaluator } from '../../src/evaluate/index.ts';
import { verifyOutput } from '../../src/verify/index.ts';
import { executePlan, readManifest } from '../../src/write/index.ts';
import type { ProgressEvent, WriteOptions, WriteReport } from '../../src/write/index.ts';
import type { Plan } from '../../src/plan/types.ts';
import type { Checkpoint } from '../../src/checkpoint/types.ts';
import type { Recipe } from '../../src/recipe/types.ts';
import { hashes, newFolder, planOf, writeDense } from './dense.ts';
import type { DenseOptions } from './dense.ts';

interface Case {
  readonly dense: string;
  readonly out: string;
  readonly plan: Plan;
  readonly sources: Checkpoint[];
  write(options?: WriteOptions, out?: string): Promise<WriteReport>;
}

async function make(changes: Partial<Recipe> = {}, options: DenseOptions = {}): Promise<Case> {
  const dense = writeDense(options);
  const { plan, sources } = await planOf([dense], changes);
  const out = join(dirname(dense), 'moe');
  return { dense, out, plan, sources, write: (given, to = out) => executePlan(plan, sources, to, given) };
}

async function failure(work: Promise<unknown>): Promise<MoeError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof MoeError) return error;
    throw error;
  }
  throw new Error('expected a failure');
}

const leftovers = (out: string): string[] => readdirSync(dirname(out)).filter((name) => name.includes('moe-partial'));
const workOf = (out: string): string => join(dirname(out), leftovers(out)[0] ?? '');

describe('what is written', () => {
  const shapes = fc.record({
    granularity: fc.constantFrom(1, 2, 4),
    replicas: fc.constantFrom(1, 2, 3),
    init: fc.constantFrom('copy', 'noise', 'permute', 'drop', 'random', 'norm', 'svd'),
    dtype: fc.constantFrom('same', 'float32', 'float16'),
    shard: fc.constantFrom(1500, 9000, 5_000_000_000),
    router: fc.constantFrom('normal', 'uniform', 'zero', 'orthogonal'),
    model: fc.constantFrom('llama', 'qwen2', 'qwen3', 'granite', 'olmo2'),
    shards: fc.constantFrom(1, 2, 3),
  });

  it('is the plan: headers, sizes and every tensor the value of its expression', async () => {
    await fc.assert(
      fc.asyncProperty(shapes, async ({ granularity, replicas, init, dtype, shard, router, model, shards }) => {
        const method = (
          {
            copy: { method: 'copy' },
            noise: { method: 'noise', std: 0.01, ratio: 0.5 },
            permute: { method: 'permute' },
            drop: { method: 'drop', ratio: 0.5, variant: 'official' },
            random: { method: 'split', by: 'random' },
            norm: { method: 'split', by: 'norm' },
            svd: { method: 'svd', rank: 2, scale: 0.5 },
          } as const
        )[init];
        const { plan, sources, write, out } = await make(
          {
            granularity,
            experts: granularity * replicas,
            top_k: granularity,
            expert_init: method,
            router: { init: router, std: 0.02, order: 'topk-softmax' },
            output: { dtype, shard_size: shard, clone: 'auto' },
          },
          { modelType: model, shards },
        );
        const report = await write();
        expect(report.bytes).toBe(plan.target.fileBytes);
        const evaluator = new Evaluator(sources, plan.recipe.seed);
        for (const file of plan.files) {
          const path = join(out, file.name);
          expect(statSync(path).size).toBe(8 + file.headerBytes + file.dataBytes);
          const header = readHeaderSync(path);
          expect([...header.tensors.keys()]).toEqual(file.tensors);
          const bytes = readFileSync(path);
          for (const name of file.tensors) {
            const tensor = plan.tensors.find((candidate) => candidate.name === name);
            const info = header.tensors.get(name);
            if (tensor === undefined || info === undefined) throw new Error(name);
            expect([info.dtype, info.shape]).toEqual([tensor.dtype, tensor.shape]);
            const expected = evaluator.readBytes(
              tensor.expr,
              0,
              tensor.shape.reduce((a, b) => a * b, 1),
            );
            const found = bytes.subarray(header.dataStart + info.begin, header.dataStart + info.end);
            expect(found.equals(expected), name).toBe(true);
          }
        }
        evaluator.sources.close();
        expect(leftovers(out)).toEqual([]);
      }),
      { numRuns: 25 },
    );
  });

  it('records the sha256 of every tensor, of its source and of every document', async () => {
    const { plan, out, dense, write } = await make({}, { shards: 2 });
    await write();
    const manifest = readManifest(join(out, 'moe-manifest.json'));
    const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
    for (const [folder, digests] of [
      [out, manifest.tensors],
      [dense, new Map(Object.entries(manifest.sources[0]?.tensors ?? {}).map(([name, hex]) => [name, [hex]]))],
    ] as const) {
      let count = 0;
      for (const file of readdirSync(folder).filter((name) => name.endsWith('.safetensors'))) {
        const header = readHeaderSync(join(folder, file));
        const bytes = readFileSync(join(folder, file));
        for (const { name, begin, end } of header.tensors.values()) {
          count += 1;
          expect(digests.get(name), name).toEqual([
            sha256(bytes.subarray(header.dataStart + begin, header.dataStart + end)),
          ]);
        }
      }
      expect(digests.size).toBe(count);
    }
    for (const { name, sha256: recorded } of manifest.documents) {
      expect(sha256(readFileSync(join(out, name)))).toBe(recorded);
    }
    expect(manifest.plan.tensors).toEqual(plan.tensors);
  });

  it('tells no path of this machine, neither in the manifest nor in the card', async () => {
    const { out, write, dense } = await make();
    await write();
    for (const name of readdirSync(out))
      expect(readFileSync(join(out, name), 'latin1'), name).not.toContain(dirname(dense));
  });

  it('carries sidecars, licence, generation config and the old card; the new card’s front matter is right', async () => {
    const { out, write, dense } = await make();
    await write();
    for (const name of ['tokenizer.json', 'LICENSE', 'generation_config.json']) {
      expect(readFileSync(join(out, name))).toEqual(readFileSync(join(dense, name)));
    }
    expect(readFileSync(join(out, 'README.dense.md'))).toEqual(readFileSync(join(dense, 'README.md')));
    const card = readFileSync(join(out, 'README.md'), 'utf8');
    expect(card).toMatch(
      /^---\nlicense: apache-2\.0\nlanguage:\n {2}- en\nlibrary_name: transformers\nbase_model: dense\ntags:\n {2}- tiny\n {2}- moe\n {2}- upcycled\n {2}- mixtral\n---\n/,
    );
  });

  it('reads each source byte once, copies or slices alike', async () => {
    for (const changes of [{}, { granularity: 2, experts: 8, top_k: 4 }, { target: 'granitemoe' }] as const) {
      const { plan, write } = await make(changes);
      const report = await write();
      const bytes = [...(plan.sources[0]?.tensors.values() ?? [])].reduce((sum, tensor) => sum + tensor.bytes, 0);
      expect(report.sourceBytesRead).toBe(bytes);
    }
  });

  it('reports progress that grows to the end', async () => {
    const { write, plan } = await make({ output: { dtype: 'same', shard_size: 2000, clone: false } });
    const events: ProgressEvent[] = [];
    await write({ onProgress: (event) => events.push(event) });
    const last = events.at(-1);
    expect(last).toMatchObject({
      bytesDone: plan.target.fileBytes,
      bytesTotal: plan.target.fileBytes,
      tensorsDone: plan.tensors.length,
      tensorsTotal: plan.tensors.length,
    });
    expect(events.every((event, i) => i === 0 || event.bytesDone >= (events[i - 1]?.bytesDone ?? 0))).toBe(true);
  });

  it('goes through several parents', async () => {
    const base = writeDense({ seed: 1 });
    const other = writeDense({ seed: 2 });
    const { plan, sources } = await planOf([base, other], {
      parents: [{ path: other, experts: 2 }],
      experts: 4,
      rest: 'average',
    });
    const out = join(dirname(base), 'moe');
    await executePlan(plan, sources, out);
    const verdict = await verifyOutput(out, { sources });
    expect(verdict.problems).toEqual([]);
  });
});

describe('refusals, before anything is written', () => {
  it('an existing output, a file, a link; an empty folder is fine', async () => {
    const { write, dense, out } = await make();
    const base = dirname(dense);
    writeFileSync(join(base, 'file'), 'x');
    mkdirSync(join(base, 'full'));
    writeFileSync(join(base, 'full', 'x'), 'x');
    mkdirSync(join(base, 'empty'));
    symlinkSync(join(base, 'empty'), join(base, 'link'));
    symlinkSync(join(base, 'nowhere'), join(base, 'dangling'));
    expect((await failure(write({}, join(base, 'file')))).code).toBe('output-exists');
    expect((await failure(write({}, join(base, 'full')))).code).toBe('output-exists');
    expect((await failure(write({}, join(base, 'link')))).code).toBe('output-is-link');
    expect((await failure(write({}, join(base, 'dangling')))).code).toBe('output-is-link');
    expect((await failure(write({ overwrite: true }, join(base, 'full')))).code).toBe('output-not-a-checkpoint');
    expect(readdirSync(join(base, 'empty'))).toEqual([]);
    expect(readdirSync(join(base, 'full'))).toEqual(['x']);
    expect(leftovers(out)).toEqual([]);
    await write({}, join(base, 'empty'));
    expect(existsSync(join(base, 'empty', 'config.json'))).toBe(true);
  });

  it('output in source, source in output, source as output, also by way of links', async () => {
    const { write, dense } = await make();
    const base = dirname(dense);
    symlinkSync(base, join(base, 'detour'));
    const before = hashes(dense);
    expect((await failure(write({}, join(dense, 'moe')))).code).toBe('output-in-source');
    expect((await failure(write({}, join(base, 'detour', 'dense', 'moe')))).code).toBe('output-in-source');
    expect((await failure(write({ overwrite: true }, dense))).code).toBe('output-in-source');
    expect((await failure(write({ overwrite: true }, base))).code).toBe('source-in-output');
    expect(hashes(dense)).toEqual(before);
  });

  it('never writes through a link into a hub cache’s blobs (G3-10)', async () => {
    const { plan, sources, dense } = await make();
    const cache = join(dirname(dense), 'models--org--moe');
    mkdirSync(join(cache, 'blobs'), { recursive: true });
    mkdirSync(join(cache, 'snapshots', 'abc'), { recursive: true });
    writeFileSync(join(cache, 'blobs', '1111'), 'precious');
    writeFileSync(join(cache, 'blobs', '2222'), '{}');
    const name = plan.files[0]?.name ?? '';
    const snapshot = join(cache, 'snapshots', 'abc');
    symlinkSync('../../blobs/1111', join(snapshot, name));
    symlinkSync('../../blobs/2222', join(snapshot, 'config.json'));
    expect((await failure(executePlan(plan, sources, snapshot))).code).toBe('output-exists');
    // Even when told to overwrite: the folder is replaced, its links' targets stay as they are.
    await executePlan(plan, sources, snapshot, { overwrite: true });
    expect(readFileSync(join(cache, 'blobs', '1111'), 'utf8')).toBe('precious');
    expect(readFileSync(join(cache, 'blobs', '2222'), 'utf8')).toBe('{}');
    expect(lstatSync(join(snapshot, name)).isSymbolicLink()).toBe(false);
  });

  it('opens a hub snapshot’s links as source and names it by its repository', async () => {
    const plain = writeDense();
    const cache = join(newFolder(), 'models--org--tiny');
    const snapshot = join(cache, 'snapshots', 'abc');
    mkdirSync(join(cache, 'blobs'), { recursive: true });
    mkdirSync(snapshot, { recursive: true });
    for (const [i, name] of readdirSync(plain).entries()) {
      writeFileSync(join(cache, 'blobs', String(i)), readFileSync(join(plain, name)));
      symlinkSync(`../../blobs/${String(i)}`, join(snapshot, name));
    }
    const { plan, sources } = await planOf([snapshot]);
    const out = join(newFolder(), 'moe');
    await executePlan(plan, sources, out);
    expect(readFileSync(join(out, 'README.md'), 'utf8')).toContain('base_model: org/tiny\n');
    expect(readdirSync(out).every((name) => lstatSync(join(out, name)).isFile())).toBe(true);
  });

  it('another source than the planned one', async () => {
    const { plan } = await make();
    const other = await openCheckpoint(writeDense({ config: { intermediate_size: 32 } }));
    const error = await failure(executePlan(plan, [other], join(newFolder(), 'moe')));
    expect([error.code, error.kind]).toEqual(['source-mismatch', 'input']);
  });

  it('tied weights that are not equal, with the plan’s own words', async () => {
    const config = { tie_word_embeddings: true };
    const equal = await make({}, { config, tiedHead: 'equal' });
    expect(equal.plan.preconditions).toHaveLength(1);
    await equal.write();
    const differing = await make({}, { config, tiedHead: 'different' });
    const error = await failure(differing.write());
    expect([error.code, error.message]).toEqual(['precondition-failed', differing.plan.preconditions[0]?.message]);
    expect(leftovers(differing.out)).toEqual([]);
  });
});

describe('overwriting', () => {
  it('replaces a checkpoint, and keeps the old one if the run fails', async () => {
    const { write, out } = await make();
    await write();
    const before = hashes(out);
    const other = await make({ seed: 43 });
    const stop = failure(
      executePlan(other.plan, other.sources, out, {
        overwrite: true,
        onStep: (step) => {
          if (step === 'manifest') throw new MoeError('resources', 'disk-full', 'simulated');
        },
      }),
    );
    expect((await stop).code).toBe('disk-full');
    expect(hashes(out)).toEqual(before);
    await executePlan(other.plan, other.sources, out, { overwrite: true });
    expect(hashes(out)).not.toEqual(before);
    expect(leftovers(out)).toEqual([]);
  });

  it('gives the old output back if a run was killed between taking it away and putting the new one there', async () => {
    const { write, out } = await make();
    await write();
    const before = hashes(out);
    // As such a kill leaves it: the old output in the working folder, none under the final name.
    const tag = createHash('sha256').update(out).digest('hex').slice(0, 12);
    const work = join(dirname(out), `.moe.moe-partial-${tag}`);
    mkdirSync(work);
    const { renameSync } = await import('node:fs');
    renameSync(out, join(work, 'old'));
    const error = await failure(write());
    expect(error.code).toBe('output-exists');
    expect(hashes(out)).toEqual(before);
    expect(leftovers(out)).toEqual([]);
  });
});

describe('resume', () => {
  const changes = { output: { dtype: 'same', shard_size: 3000, clone: false } } as const;

  /** Runs until `step`, then fails as a full disk does. */
  async function stopAt(item: Case, step: string): Promise<MoeError> {
    return failure(
      item.write({
        onStep: (now) => {
          if (now === step) throw new MoeError('resources', 'disk-full', 'simulated');
        },
      }),
    );
  }

  it('keeps finished files after a failure, says so, and does not write them again', async () => {
    const item = await make(changes);
    const third = item.plan.files[2]?.name ?? '';
    const error = await stopAt(item, `file ${third}`);
    expect(error.kind).toBe('resources');
    expect(error.message).toMatch(/Nothing stands under/);
    expect(error.place.hint).toMatch(/--resume/);
    expect(existsSync(item.out)).toBe(false);
    const kept = readdirSync(join(workOf(item.out), 'out'));
    expect(kept).toContain(item.plan.files[0]?.name);
    const inode = statSync(join(workOf(item.out), 'out', item.plan.files[0]?.name ?? '')).ino;
    const report = await item.write({ resume: true });
    expect(report.resumedFiles).toBeGreaterThanOrEqual(1);
    expect(statSync(join(item.out, item.plan.files[0]?.name ?? '')).ino).toBe(inode);
    expect((await verifyOutput(item.out, { sources: item.sources })).problems).toEqual([]);
  });

  it('redoes what has no finish mark or does not look as it did: short, full length with a zero tail, touched (G8-07)', async () => {
    const item = await make(changes);
    const reference = join(dirname(item.dense), 'reference');
    await item.write({}, reference);
    await stopAt(item, 'manifest');
    const staging = join(workOf(item.out), 'out');
    const marked = readdirSync(staging).filter((name) => name.endsWith('.safetensors'));
    expect(marked.length).toBeGreaterThan(3);
    const [short = '', zeros = '', header = ''] = marked;
    truncateSync(join(staging, short), Math.floor(statSync(join(staging, short)).size * 0.91));
    // Right length, wrong tail, and even the old time.
    const { size, mtime } = statSync(join(staging, zeros));
    truncateSync(join(staging, zeros), size - 100);
    truncateSync(join(staging, zeros), size);
    expect(statSync(join(staging, zeros)).size).toBe(size);
    const bytes = readFileSync(join(staging, header));
    bytes[20] = (bytes[20] ?? 0) ^ 1;
    const time = statSync(join(staging, header)).mtime;
    writeFileSync(join(staging, header), bytes);
    utimesSync(join(staging, header), time, time);
    expect(mtime).toBeInstanceOf(Date);
    // And one that was never marked.
    const unmarked = item.plan.files.find(({ name }) => !marked.includes(name))?.name ?? 'extra.safetensors';
    writeFileSync(join(staging, unmarked), Buffer.alloc(5000));
    const report = await item.write({ resume: true });
    expect(report.resumedFiles).toBe(marked.length - 3);
    expect(hashes(item.out)).toEqual(hashes(reference));
  });

  it('trusts no line after a torn or damaged one', async () => {
    const item = await make(changes);
    await stopAt(item, 'manifest');
    const journal = join(workOf(item.out), 'journal.jsonl');
    const lines = readFileSync(journal, 'utf8').trimEnd().split('\n');
    writeFileSync(journal, `${lines.slice(0, 3).join('\n')}\n${(lines[3] ?? '').slice(0, 40)}`);
    const report = await item.write({ resume: true });
    expect(report.resumedFiles).toBe(2);
    expect((await verifyOutput(item.out, { sources: item.sources })).ok).toBe(true);
  });

  it('refuses another plan, and a source that was changed meanwhile', async () => {
    const item = await make(changes);
    await stopAt(item, 'manifest');
    const { plan } = await planOf([item.dense], { ...changes, seed: 7 });
    const other = await failure(executePlan(plan, item.sources, item.out, { resume: true }));
    expect([other.code, other.kind]).toEqual(['resume-other-plan', 'input']);
    expect(other.place.hint).toMatch(/without --resume|delete/);
    const weights = join(item.dense, 'model.safetensors');
    utimesSync(weights, new Date(), new Date(Date.now() + 60_000));
    expect((await failure(item.write({ resume: true }))).code).toBe('resume-source-changed');
    // The unfinished run is still there, untouched.
    expect(readdirSync(join(workOf(item.out), 'out')).length).toBeGreaterThan(0);
    // Without resume it starts afresh, and says that it threw something away.
    const report = await item.write();
    expect(report.resumedFiles).toBe(0);
    expect(report.notes.join()).toMatch(/unfinished run .* was removed/);
  });

  it('starts afresh where there is nothing to resume; is done at once on the finished output', async () => {
    const item = await make();
    const first = await item.write({ resume: true });
    expect([first.alreadyComplete, first.resumedFiles]).toEqual([false, 0]);
    expect(first.notes.join()).toMatch(/nothing to resume/);
    const again = await item.write({ resume: true });
    expect([again.alreadyComplete, again.sourceBytesRead]).toEqual([true, 0]);
    // Unasked, an existing output is never touched, not even the same one.
    const error = await failure(item.write());
    expect([error.code, error.place.hint]).toEqual([
      'output-exists',
      expect.stringMatching(/finished output of this very plan/),
    ]);
    // A damaged one is not taken for finished.
    appendFileSync(join(item.out, 'config.json'), ' ');
    expect((await failure(item.write({ resume: true }))).code).toBe('output-exists');
  });

  it('keeps the statistics of finished files', async () => {
    const item = await make({ ...changes, experts: 4, expert_init: { method: 'drop', ratio: 0.5, variant: 'paper' } });
    const reference = join(dirname(item.dense), 'reference');
    await item.write({}, reference);
    await stopAt(item, `file ${item.plan.files[2]?.name ?? ''}`);
    expect((await item.write({ resume: true })).resumedFiles).toBeGreaterThan(0);
    const resolved = (folder: string): unknown => readManifest(join(folder, 'moe-manifest.json')).resolved;
    expect(resolved(item.out)).toEqual(resolved(reference));
    expect((await verifyOutput(item.out, { sources: item.sources })).problems).toEqual([]);
  });

  it('does not read sources again whose every output is finished', async () => {
    const item = await make(changes);
    await stopAt(item, 'manifest');
    const report = await item.write({ resume: true });
    const bytes = [...(item.plan.sources[0]?.tensors.values() ?? [])].reduce((sum, tensor) => sum + tensor.bytes, 0);
    expect(report.sourceBytesRead).toBeLessThan(bytes);
  });
});

describe('cancelling', () => {
  it('keeps the working folder and says how to go on', async () => {
    const item = await make({ output: { dtype: 'same', shard_size: 3000, clone: false } });
    const control = new AbortController();
    const error = await failure(
      item.write({
        signal: control.signal,
        onStep: (step) => {
          if (step.startsWith('file ')) control.abort();
        },
      }),
    );
    expect([error.kind, error.code]).toEqual(['cancelled', 'cancelled']);
    expect(error.place.hint).toMatch(/--resume, or delete .*moe-partial/);
    expect(existsSync(item.out)).toBe(false);
    expect(existsSync(join(workOf(item.out), 'README.txt'))).toBe(true);
    expect(existsSync(join(workOf(item.out), 'lock'))).toBe(false);
    const report = await item.write({ resume: true });
    expect(report.resumedFiles).toBeGreaterThan(0);
    expect(leftovers(item.out)).toEqual([]);
  });

  it('before anything was begun leaves nothing', async () => {
    const item = await make();
    const error = await failure(item.write({ signal: AbortSignal.abort() }));
    expect(error.kind).toBe('cancelled');
    expect(leftovers(item.out)).toEqual([]);
  });
});

describe('a source that changes during the run', () => {
  it('is noticed', async () => {
    const item = await make();
    const error = await failure(
      item.write({
        onStep: (step) => {
          if (step === 'journal')
            utimesSync(join(item.dense, 'model.safetensors'), new Date(), new Date(Date.now() + 9000));
        },
      }),
    );
    expect([error.code, error.kind]).toEqual(['source-changed', 'input']);
    expect(existsSync(item.out)).toBe(false);
  });

  it('is never changed by us', async () => {
    const item = await make();
    chmodSync(item.dense, 0o555);
    const before = { ...hashes(item.dense), time: statSync(item.dense).mtimeMs };
    await item.write();
    expect({ ...hashes(item.dense), time: statSync(item.dense).mtimeMs }).toEqual(before);
    chmodSync(item.dense, 0o755);
  });
});
