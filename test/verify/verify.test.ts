/** One flipped bit anywhere is found and named; what is proven is said, and no more. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { readHeaderSync } from 'safetensors-js';
import { beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { MoeError } from '../../src/common/errors.ts';
import type { Checkpoint } from '../../src/checkpoint/types.ts';
import { verifyOutput } from '../../src/verify/index.ts';
import { firstDifference } from '../../src/verify/problems.ts';
import { executePlan } from '../../src/write/index.ts';
import { newFolder, planOf, writeDense } from '../write/dense.ts';

let dense = '';
let out = '';
let sources: Checkpoint[] = [];

beforeAll(async () => {
  dense = writeDense({ shards: 2 });
  const planned = await planOf([dense], { granularity: 2, experts: 4, top_k: 2 });
  sources = planned.sources;
  out = join(dirname(dense), 'moe');
  await executePlan(planned.plan, sources, out);
});

/** Runs `work` with one bit of a file flipped, and flips it back. */
async function withFlip<T>(name: string, byte: number, bit: number, work: () => Promise<T>): Promise<T> {
  const path = join(out, name);
  const bytes = readFileSync(path);
  const flipped = Buffer.from(bytes);
  flipped[byte] = (flipped[byte] ?? 0) ^ (1 << bit);
  writeFileSync(path, flipped);
  try {
    return await work();
  } finally {
    writeFileSync(path, bytes);
  }
}

/** The tensor whose data holds byte `byte` of a weight file; undefined in the header. */
function tensorAt(name: string, byte: number): string | undefined {
  const header = readHeaderSync(join(out, name));
  return [...header.tensors.values()].find(
    ({ begin, end }) => header.dataStart + begin <= byte && byte < header.dataStart + end,
  )?.name;
}

describe('an untouched output', () => {
  it('is proven against its source', async () => {
    const report = await verifyOutput(out, { sources });
    expect(report.problems).toEqual([]);
    expect([report.ok, report.againstSource, report.problemCount]).toEqual([true, true, 0]);
    expect(report.checks.map(({ name }) => name)).toEqual([
      'manifest',
      'files',
      'headers',
      'documents',
      'tensors',
      'source',
      'source config',
      'statistics',
    ]);
    const text = report.proven.join('\n');
    expect(text).toMatch(/byte-equal copies or slices of \d+ source tensors/);
    // Granularity 2: up or down is scaled by 2, exactly.
    expect(text).toMatch(/8 pieces are exact power-of-two multiples of their source: no element was rounded/);
    expect(text).toMatch(/follow from the seed alone/);
    expect(report.notProven.join('\n')).toMatch(/That both models compute the same is algebra, not bytes/);
  });

  it('is checked against its own record where the source is not at hand, and nothing more is claimed', async () => {
    const report = await verifyOutput(out);
    expect([report.ok, report.againstSource]).toEqual([true, false]);
    expect(report.proven.join('\n')).not.toMatch(/source tensor/);
    expect(report.notProven.join('\n')).toMatch(/give the source to prove it/);
  });

  it('can be moved and still be verified', async () => {
    const moved = join(newFolder(), 'elsewhere');
    cpSync(out, moved, { recursive: true });
    expect((await verifyOutput(moved, { sources })).ok).toBe(true);
  });
});

describe('one flipped bit', () => {
  /** Any byte of any file, files weighted equally so that small ones come too. */
  const place = fc.record({
    file: fc.nat(1000),
    byte: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    bit: fc.nat(7),
  });

  it.each([true, false])(
    'anywhere is found and named by file, tensor and byte (source at hand: %s)',
    async (withSource) => {
      const names = readdirSync(out);
      await fc.assert(
        fc.asyncProperty(place, async ({ file, byte, bit }) => {
          const name = names[file % names.length] ?? '';
          const at = Math.floor(byte * statSync(join(out, name)).size);
          const tensor = name.endsWith('.safetensors') ? tensorAt(name, at) : undefined;
          const report = await withFlip(name, at, bit, () => verifyOutput(out, withSource ? { sources } : {}));
          expect(report.ok).toBe(false);
          const [problem] = report.problems;
          expect(problem?.file).toBe(name);
          expect(problem?.tensor).toBe(tensor);
          if (name === 'moe-manifest.json') expect(problem?.code).toBe('manifest-damaged');
          // Without the source the place is known from an equal expert, where there is one, or from the plan.
          else if (withSource) {
            expect(problem?.byte).toBe(at);
            expect(problem?.message).toMatch(new RegExp(`bit ${String(bit)} flipped`));
          } else if (problem?.byte !== undefined) expect(problem.byte).toBe(at);
        }),
        { numRuns: 60 },
      );
    },
  );

  it('in the header, in every byte of it', async () => {
    const name = readdirSync(out).find((file) => file.endsWith('.safetensors')) ?? '';
    const { dataStart } = readHeaderSync(join(out, name));
    for (const at of [0, 7, 8, 20, Math.floor(dataStart / 2), dataStart - 1]) {
      const report = await withFlip(name, at, 0, () => verifyOutput(out));
      expect(report.problems[0]).toMatchObject({ code: 'header-differs', file: name, byte: at });
      expect(report.checks.find((check) => check.name === 'headers')?.ok).toBe(false);
    }
  });

  it('in one of several equal experts is placed by comparing them, without the source', async () => {
    const base = writeDense();
    const { plan, sources: own } = await planOf([base]);
    const target = join(dirname(base), 'moe');
    await executePlan(plan, own, target);
    const name = plan.files.find(({ cloneOf }) => cloneOf !== undefined)?.name ?? '';
    const path = join(target, name);
    const bytes = readFileSync(path);
    const at = bytes.length - 5;
    bytes[at] = (bytes[at] ?? 0) ^ 4;
    writeFileSync(path, bytes);
    const report = await verifyOutput(target);
    expect(report.problems).toHaveLength(1);
    expect(report.problems[0]).toMatchObject({ code: 'tensor-differs', file: name, byte: at });
    expect(report.problems[0]?.message).toMatch(/differs from its equal .*bit 2 flipped/);
  });

  it('many of them: all counted, the first ones named', async () => {
    const name = readdirSync(out).find((file) => file.endsWith('.safetensors')) ?? '';
    const path = join(out, name);
    const bytes = readFileSync(path);
    const { dataStart, tensors } = readHeaderSync(path);
    const damaged = Buffer.from(bytes);
    for (const { begin } of tensors.values()) damaged[dataStart + begin] = (damaged[dataStart + begin] ?? 0) ^ 1;
    writeFileSync(path, damaged);
    try {
      const report = await verifyOutput(out, { sources, maxProblems: 3 });
      expect(report.problems).toHaveLength(3);
      expect(report.problemCount).toBe(tensors.size);
    } finally {
      writeFileSync(path, bytes);
    }
  });
});

describe('files', () => {
  it('missing, cut, grown or too many are named', async () => {
    const copy = join(newFolder(), 'moe');
    cpSync(out, copy, { recursive: true });
    const [first = '', second = ''] = readdirSync(copy).filter((name) => name.endsWith('.safetensors'));
    const bytes = readFileSync(join(copy, first));
    rmSync(join(copy, 'tokenizer.json'));
    writeFileSync(join(copy, first), bytes.subarray(0, -7));
    writeFileSync(join(copy, second), Buffer.concat([readFileSync(join(copy, second)), Buffer.from('xx')]));
    writeFileSync(join(copy, 'model-extra.safetensors'), bytes);
    writeFileSync(join(copy, 'notes.txt'), 'mine');
    const report = await verifyOutput(copy, { sources });
    expect(report.ok).toBe(false);
    const byFile = new Map(report.problems.map((problem) => [problem.file, problem.code]));
    expect(byFile.get('tokenizer.json')).toBe('file-missing');
    expect(byFile.get(first)).toBe('file-truncated');
    expect(byFile.get(second)).toBe('file-too-long');
    expect(byFile.get('model-extra.safetensors')).toBe('file-extra');
    expect(report.problems.find(({ file }) => file === first)?.message).toMatch(/7 fewer/);
    // A file that loaders ignore is mentioned, not condemned.
    expect(byFile.has('notes.txt')).toBe(false);
    expect(report.notProven.join()).toMatch(/notes\.txt/);
  });

  it('a swapped pair of equal-sized files is found', async () => {
    const base = writeDense();
    const { plan, sources: own } = await planOf([base]);
    const target = join(dirname(base), 'moe');
    await executePlan(plan, own, target);
    const [, a = '', b = ''] = plan.files.map(({ name }) => name);
    renameSync(join(target, a), join(target, 'x'));
    renameSync(join(target, b), join(target, a));
    renameSync(join(target, 'x'), join(target, b));
    const report = await verifyOutput(target, { sources: own });
    expect(report.problems.map(({ code }) => code)).toEqual(['header-differs', 'header-differs']);
  });
});

describe('the source', () => {
  it('that was changed since is told from a damaged output', async () => {
    const folder = join(newFolder(), 'dense');
    cpSync(dense, folder, { recursive: true });
    const [shard = ''] = readdirSync(folder).filter((name) => name.endsWith('.safetensors'));
    const bytes = readFileSync(join(folder, shard));
    const { dataStart, tensors } = readHeaderSync(join(folder, shard));
    const tensor = [...tensors.values()].find(({ name }) => name.endsWith('gate_proj.weight'));
    if (tensor === undefined) throw new Error('no gate');
    bytes[dataStart + tensor.begin + 6] = (bytes[dataStart + tensor.begin + 6] ?? 0) ^ 1;
    writeFileSync(join(folder, shard), bytes);
    const report = await verifyOutput(out, { sources: [await openCheckpoint(folder)] });
    expect(report.ok).toBe(false);
    expect(report.problems.map(({ code }) => code)).not.toContain('tensor-differs');
    expect(report.problems.map(({ code }) => code)).toContain('source-differs');
    expect(report.problems.find(({ code }) => code === 'source-changed')?.tensor).toBe(tensor.name);
  });

  it('whose config was changed since is another model, though its weights are the same', async () => {
    const folder = join(newFolder(), 'dense');
    cpSync(dense, folder, { recursive: true });
    const file = join(folder, 'config.json');
    const config = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
    const change = async (fields: Record<string, unknown>) => {
      writeFileSync(file, JSON.stringify({ ...config, ...fields }));
      return verifyOutput(out, { sources: [await openCheckpoint(folder)] });
    };
    expect((await change({})).ok).toBe(true);
    const report = await change({ rms_norm_eps: 0.5 });
    expect(report.ok).toBe(false);
    expect(report.problems).toEqual([
      {
        code: 'source-config-changed',
        message: expect.stringMatching(/rms_norm_eps is .* in the output and would be 0\.5/) as string,
        file: 'config.json',
      },
    ]);
    // What no tensor's shape tells, but the planner refuses.
    const odd = await change({ model_type: 'qwen3' });
    expect(odd.problems.map(({ code }) => code)).toEqual(['source-config-changed']);
  });

  it('that is another model is refused', async () => {
    const other = await openCheckpoint(writeDense({ config: { intermediate_size: 48 } }));
    await expect(verifyOutput(out, { sources: [other] })).rejects.toMatchObject({ code: 'source-mismatch' });
  });
});

describe('no output of ours', () => {
  it('is said so', async () => {
    await expect(verifyOutput(dense)).rejects.toMatchObject({ code: 'manifest-missing', kind: 'input' });
    await expect(verifyOutput(join(dense, 'absent'))).rejects.toMatchObject({ code: 'not-found', kind: 'input' });
    await expect(verifyOutput(join(dense, 'config.json'))).rejects.toBeInstanceOf(MoeError);
  });

  it('a manifest that was edited, cut or emptied is damaged, and never crashes', async () => {
    const copy = join(newFolder(), 'moe');
    mkdirSync(copy);
    const text = readFileSync(join(out, 'moe-manifest.json'), 'utf8');
    for (const bad of [
      '',
      '{}',
      text.slice(0, -1),
      text.slice(0, 100),
      text.replace('"seed": 42', '"seed": 43'),
      `${text} `,
    ]) {
      writeFileSync(join(copy, 'moe-manifest.json'), bad);
      const report = await verifyOutput(copy);
      expect(report.ok).toBe(false);
      expect(report.problems[0]?.code).toBe('manifest-damaged');
    }
    expect(existsSync(copy)).toBe(true);
  });

  it('cancelling ends it', async () => {
    await expect(verifyOutput(out, { sources, signal: AbortSignal.abort() })).rejects.toMatchObject({
      kind: 'cancelled',
    });
    await expect(verifyOutput(out, { signal: AbortSignal.abort() })).rejects.toMatchObject({ kind: 'cancelled' });
  });
});

describe('recipes with data-dependent parts', () => {
  it.each([
    ['drop', { expert_init: { method: 'drop', ratio: 0.5, variant: 'paper' } }],
    ['norm split', { granularity: 2, experts: 4, expert_init: { method: 'split', by: 'norm' } }],
    ['svd', { expert_init: { method: 'svd', rank: 2, scale: 0.1 } }],
    ['noise', { expert_init: { method: 'noise', std: 0.1, ratio: 0.5 } }],
    ['orthogonal router', { router: { init: 'orthogonal', std: 0.02, order: 'topk-softmax' } }],
  ] as const)('%s: statistics are computed again and compared', async (_name, changes) => {
    const base = writeDense({ dtype: 'F32' });
    const { plan, sources: own } = await planOf([base], { ...changes, experts: 4, top_k: 2 });
    const target = join(dirname(base), 'moe');
    await executePlan(plan, own, target);
    const report = await verifyOutput(target, { sources: own });
    expect(report.problems).toEqual([]);
    expect(report.checks.find(({ name }) => name === 'statistics')?.ok).toBe(true);
  });
});

describe('first difference', () => {
  it('is that of a plain loop', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.array(fc.nat(399), { maxLength: 3 }), (bytes, flips) => {
        const a = Buffer.from(bytes);
        const b = Buffer.from(bytes);
        for (const at of flips) if (at < b.length) b[at] = (b[at] ?? 0) ^ 1;
        expect(firstDifference(a, b)).toBe(a.findIndex((x, i) => x !== b[i]));
      }),
    );
  });
});
