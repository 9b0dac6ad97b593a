import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readJsonRows } from '../../src/eval/data/jsonl.ts';
import type { DatasetSpec } from '../../src/eval/data/locate.ts';
import { hubCacheRoots, locateInFolder, locateInHubCache } from '../../src/eval/data/locate.ts';
import { readParquetRows } from '../../src/eval/data/parquet.ts';
import { RowReader, joinRowSets, selectRows } from '../../src/eval/data/rows.ts';
import { DataStore } from '../../src/eval/data/store.ts';
import { builtinTask } from '../../src/eval/tasks/registry.ts';
import { FIXTURES } from './helpers/shared.ts';

let dir = '';
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'moe-data-'));
});
afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

async function put(path: string, content: string | Uint8Array = '{}\n'): Promise<string> {
  const file = join(dir, path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, content);
  return file;
}

describe('jsonl', () => {
  it('splits at the byte \\n only, skips a byte order mark and blank lines, keeps line numbers', async () => {
    const file = await put('a.jsonl', '\ufeff{"t":"a\u0085b\u2028c"}\r\n\n  \n{"t":"d"}');
    const set = await readJsonRows(file, 'a.jsonl');
    expect(set.rows).toEqual([{ t: 'a\u0085b\u2028c' }, { t: 'd' }]);
    expect(set.place(1)).toEqual({ file: 'a.jsonl', where: 'line 4' });
  });

  it('reads lines longer than a read chunk', async () => {
    const long = 'x'.repeat(3 * 2 ** 20);
    const set = await readJsonRows(await put('l.jsonl', `{"t":"${long}"}\n{"t":"y"}\n`));
    expect(set.rows.map((r) => String(r['t']).length)).toEqual([long.length, 1]);
  });

  it('reads a file that holds one list', async () => {
    const set = await readJsonRows(await put('a.json', '[\n {"t": 1},\n {"t": 2}\n]\n'), 'a.json');
    expect(set.rows).toEqual([{ t: 1 }, { t: 2 }]);
    expect(set.place(1).where).toBe('row 1');
  });

  it.each([
    ['{"t":1}\n{"t":\n', 'line 2 is not JSON'],
    ['{"t":1}\n[1]\n', 'line 2 should hold a record, found a list'],
    ['"text"\n', 'line 1 should hold a record, found a string'],
    ['[1]', 'row 0: should be a record, found a number'],
  ])('%j: names the line', async (content, message) => {
    await expect(readJsonRows(await put('b.jsonl', content), 'b.jsonl')).rejects.toThrow(message);
  });

  it('names the line that is not UTF-8', async () => {
    const file = await put(
      'c.jsonl',
      Buffer.concat([Buffer.from('{"t":1}\n{"t":"'), Buffer.from([0xff]), Buffer.from('"}\n')]),
    );
    await expect(readJsonRows(file, 'c.jsonl')).rejects.toThrow('c.jsonl, line 2 is not valid UTF-8');
  });

  it('a key named __proto__ changes nothing', async () => {
    const set = await readJsonRows(await put('d.jsonl', '{"__proto__":{"query":"x"}}\n'));
    expect(new RowReader(set.rows[0] ?? {}, set.place(0)).has('query')).toBe(false);
    expect(({} as Record<string, unknown>)['query']).toBeUndefined();
  });
});

describe('parquet', () => {
  const parquet = (name: string): string => join(FIXTURES, 'parquet', name);

  it('reads the same records as jsonl: snappy and gzip, nested lists, int64', async () => {
    const fromJson = await readJsonRows(join(FIXTURES, 'data/arc_easy_test.jsonl'));
    expect((await readParquetRows(parquet('arc_easy_test.parquet'))).rows).toEqual(fromJson.rows);
    const mmlu = await readJsonRows(join(FIXTURES, 'data/mmlu/test.jsonl'));
    expect((await readParquetRows(parquet('mmlu_test.parquet'))).rows).toEqual(mmlu.rows);
  });

  it('a list of records (zstd) gives the same question as a record of lists', async () => {
    const task = builtinTask('arc_easy');
    if (task?.outputType !== 'multiple_choice') throw new Error('arc_easy');
    const lists = await readParquetRows(parquet('arc_easy_test.parquet'));
    const records = await readParquetRows(parquet('arc_list_of_records.parquet'));
    const [a, b] = [lists, records].map((set) =>
      set.rows.map((row, i) => {
        const { contexts, choices, gold } = task.read(new RowReader(row, set.place(i)));
        return { contexts, choices, gold };
      }),
    );
    expect(a).toEqual(b);
    expect(a).toHaveLength(7);
  });

  it('an integer beyond 2^53 fails rather than being rounded', async () => {
    await expect(readParquetRows(parquet('huge_int.parquet'), 'h.parquet')).rejects.toThrow(
      'h.parquet, row 1: field "n" holds 1152921504606846976, too large',
    );
  });

  it('a broken file is named, with what to do', async () => {
    // Two columns of one struct: the second failure must not end the process.
    const damaged = await readFile(parquet('arc_easy_test.parquet'));
    damaged[901] = 123;
    damaged[1170] = 66;
    await expect(readParquetRows(await put('two.parquet', damaged), 'two.parquet')).rejects.toMatchObject({
      code: 'bad-parquet',
    });
    await expect(readParquetRows(await put('x.parquet', 'version https://git-lfs'), 'x.parquet')).rejects.toMatchObject(
      {
        code: 'bad-parquet',
        place: { file: 'x.parquet' },
      },
    );
  });
});

describe('fields of a record', () => {
  const reader = new RowReader({ n: -1, s: '3', list: ['a', 1], deep: { x: 1 } }, { file: 'f.jsonl', where: 'line 9' });

  it('fail with file, line, field, expectation and what was found', () => {
    expect(() => reader.string('n')).toThrow('f.jsonl, line 9: field "n" should be a text, found a number -1');
    expect(() => reader.string('toString')).toThrow('field "toString" should be a text, found nothing');
    expect(() => reader.strings('list')).toThrow('field "list" should be a list of at least 1 texts, found a list');
    expect(() => reader.record('deep').string('x')).toThrow('field "deep.x" should be a text');
    expect(() => reader.index('s', 4)).toThrow('found a string "3"');
    expect(reader.index('s', 4, true)).toBe(3);
    expect(() => reader.index('s', 3, true)).toThrow('a whole number from 0 to 2');
  });

  it('explain a label of -1', () => {
    expect.assertions(1);
    try {
      reader.index('n', 4);
    } catch (error) {
      expect(error).toMatchObject({ place: { hint: expect.stringContaining('no public answers') as string } });
    }
  });

  it('joined and selected sets keep places', async () => {
    const a = await readJsonRows(await put('1.jsonl', '{"i":0}\n{"i":1}\n'), '1');
    const b = await readJsonRows(await put('2.jsonl', '{"i":2}\n'), '2');
    const joined = joinRowSets([a, b]);
    expect(joined.place(2)).toEqual({ file: '2', where: 'line 1' });
    const some = selectRows(joined, [2, 1]);
    expect(some.rows).toEqual([{ i: 2 }, { i: 1 }]);
    expect(some.place(1)).toEqual({ file: '1', where: 'line 2' });
  });
});

describe('finding splits', () => {
  const hellaswag: DatasetSpec = { stems: ['hellaswag'], hubId: 'Rowan/hellaswag', hubConfig: null };
  const arc: DatasetSpec = { stems: ['arc_challenge'], hubId: 'allenai/ai2_arc', hubConfig: 'ARC-Challenge' };
  const found = async (
    spec: DatasetSpec,
    split: 'test' | 'validation' | 'train' | 'dev',
  ): Promise<string[] | undefined> =>
    (await locateInFolder(dir, spec, split))?.files.map((f) => f.slice(dir.length + 1));

  it('by file name, with an unused suffix; other tasks’ files do not disturb', async () => {
    await put('hellaswag_validation_1000.jsonl');
    await put('hellaswag_train.jsonl');
    await put('arc_challenge_test.jsonl');
    expect(await found(hellaswag, 'validation')).toEqual(['hellaswag_validation_1000.jsonl']);
    expect(await found(hellaswag, 'train')).toEqual(['hellaswag_train.jsonl']);
    expect(await found({ ...hellaswag, stems: ['arc'] }, 'test')).toEqual(['arc_challenge_test.jsonl']);
    expect(await found({ ...hellaswag, stems: ['copa'] }, 'validation')).toBeUndefined();
  });

  it('by folder, by folder of a configuration, and when the folder is itself the data set', async () => {
    await put('hellaswag/validation.parquet');
    await put('ai2/ARC-Challenge/test-00000-of-00001.parquet');
    await put('ai2/ARC-Easy/test-00000-of-00001.parquet');
    expect(await found(hellaswag, 'validation')).toEqual(['hellaswag/validation.parquet']);
    expect(await found(arc, 'test')).toEqual(['ai2/ARC-Challenge/test-00000-of-00001.parquet']);
    const inside = await locateInFolder(join(dir, 'hellaswag'), hellaswag, 'validation');
    expect(inside?.files).toEqual([join(dir, 'hellaswag/validation.parquet')]);
  });

  it('"dev" serves as validation; a name without split is taken with a note; another split only with a note', async () => {
    await put('winogrande_dev.jsonl');
    await put('copa_query_choices_gold.jsonl');
    await put('piqa_test.jsonl');
    const spec = (stem: string): DatasetSpec => ({ stems: [stem], hubId: 'x/y', hubConfig: null });
    expect(await found(spec('winogrande'), 'validation')).toEqual(['winogrande_dev.jsonl']);
    expect((await locateInFolder(dir, spec('copa'), 'validation'))?.notes[0]).toContain('the name says no split');
    expect((await locateInFolder(dir, spec('piqa'), 'validation'))?.notes[0]).toContain(
      'test split used; the harness scores validation',
    );
    expect(await found(spec('copa'), 'train')).toBeUndefined();
  });

  it('ambiguity and missing shards are errors', async () => {
    await put('hellaswag_validation.jsonl');
    await put('hellaswag_validation_small.jsonl');
    await expect(found(hellaswag, 'validation')).rejects.toMatchObject({ code: 'ambiguous-data' });
    await put('arc_challenge/test-00000-of-00003.parquet');
    await put('arc_challenge/test-00002-of-00003.parquet');
    await expect(found(arc, 'test')).rejects.toThrow('has 3 parts, 1 are missing (first: part 1)');
    await put('arc_challenge/test-00001-of-00003.parquet');
    expect(await found(arc, 'test')).toHaveLength(3);
  });

  it('parts: a file per subject where none holds all; absent ones are noted', async () => {
    const mmlu: DatasetSpec = {
      stems: ['mmlu'],
      hubId: 'cais/mmlu',
      hubConfig: 'all',
      parts: ['anatomy', 'virology', 'law'],
    };
    await put('mmlu/anatomy/test-00000-of-00001.parquet');
    await put('mmlu/virology_test.jsonl');
    const split = await locateInFolder(dir, mmlu, 'test');
    expect(split?.files.map((f) => f.slice(dir.length + 1))).toEqual([
      'mmlu/anatomy/test-00000-of-00001.parquet',
      'mmlu/virology_test.jsonl',
    ]);
    expect(split?.notes[0]).toContain('no test data for 1 parts: law');
    await put('mmlu/test.jsonl');
    expect(await found(mmlu, 'test')).toEqual(['mmlu/test.jsonl']);
  });
});

describe('Hub cache', () => {
  const COMMIT = 'a'.repeat(40);
  const spec: DatasetSpec = { stems: ['arc_easy'], hubId: 'allenai/ai2_arc', hubConfig: 'ARC-Easy' };
  const repo = 'datasets--allenai--ai2_arc';

  it('roots by environment', () => {
    expect(hubCacheRoots({ HF_HUB_CACHE: '/a', HF_HOME: '/b' }, '/h')).toEqual(['/a']);
    expect(hubCacheRoots({ HUGGINGFACE_HUB_CACHE: '/a' }, '/h')).toEqual(['/a']);
    expect(hubCacheRoots({ HF_HOME: '/b' }, '/h')).toEqual([join('/b', 'hub')]);
    expect(hubCacheRoots({ XDG_CACHE_HOME: '/x' }, '/h')).toEqual([join('/x', 'huggingface', 'hub')]);
    expect(hubCacheRoots({}, '/h')).toEqual([join('/h', '.cache', 'huggingface', 'hub')]);
  });

  it('follows refs/main and links; takes the right configuration only', async () => {
    await put(`${repo}/refs/main`, `${COMMIT}\n`);
    await put(`${repo}/blobs/1`, '{"q":1}\n');
    await mkdir(join(dir, repo, 'snapshots', COMMIT, 'ARC-Easy'), { recursive: true });
    await mkdir(join(dir, repo, 'snapshots', 'b'.repeat(40)), { recursive: true });
    await symlink('../../../blobs/1', join(dir, repo, 'snapshots', COMMIT, 'ARC-Easy', 'test-00000-of-00001.jsonl'));
    const split = await locateInHubCache(dir, spec, 'test');
    expect(split?.files).toEqual([join(dir, repo, 'snapshots', COMMIT, 'ARC-Easy', 'test-00000-of-00001.jsonl')]);
    expect(await locateInHubCache(dir, { ...spec, hubConfig: 'ARC-Challenge' }, 'test')).toBeUndefined();
    const store = new DataStore({ env: { HF_HUB_CACHE: dir } });
    const loaded = await store.need(spec, 'test', 'arc_easy');
    expect(loaded.rows).toEqual([{ q: 1 }]);
    expect(loaded.origin).toBe('hub-cache');
  });

  it('without refs/main takes the only snapshot and says so; a dangling link names the file', async () => {
    await mkdir(join(dir, repo, 'snapshots', COMMIT, 'ARC-Easy'), { recursive: true });
    const link = join(dir, repo, 'snapshots', COMMIT, 'ARC-Easy', 'test.parquet');
    await symlink('../../../blobs/gone', link);
    await expect(locateInHubCache(dir, spec, 'test')).rejects.toMatchObject({
      code: 'dangling-link',
      place: { file: link },
    });
    await put(`${repo}/blobs/gone`);
    expect((await locateInHubCache(dir, spec, 'test'))?.notes[0]).toContain('no refs/main; snapshot aaaaaaaa used');
  });
});

describe('data store', () => {
  const spec = (stem: string, hubId: string): DatasetSpec => ({ stems: [stem], hubId, hubConfig: null });

  it('a single file serves one data set, and only as the scored split', async () => {
    const path = await put('mine.jsonl', '{"a":1}\n');
    const store = new DataStore({ path, hubCache: false });
    expect((await store.need(spec('piqa', 'a/b'), 'validation', 'piqa')).rows).toEqual([{ a: 1 }]);
    expect(await store.load(spec('piqa', 'a/b'), 'train')).toBeUndefined();
    await expect(store.load(spec('copa', 'c/d'), 'validation')).rejects.toMatchObject({ code: 'data-is-one-file' });
  });

  it('a txt file is one page', async () => {
    const store = new DataStore({ path: await put('p.txt', 'line\r\n two'), hubCache: false });
    expect((await store.need(spec('perplexity', 'local/text'), 'test', 'perplexity')).rows).toEqual([
      { page: 'line\r\n two' },
    ]);
  });

  it('absence says what would be found', async () => {
    const store = new DataStore({ path: dir, hubCache: false });
    await expect(store.need(spec('piqa', 'baber/piqa'), 'validation', 'piqa')).rejects.toMatchObject({
      code: 'data-not-found',
      place: { hint: expect.stringContaining('piqa_validation.jsonl') as string },
    });
    await expect(new DataStore({ path: join(dir, 'none') }).load(spec('x', 'y/z'), 'test')).rejects.toMatchObject({
      code: 'no-such-data',
    });
  });
});
