/** moe eval-compare: results of ours and of the harness, samples files, folders; paired where questions are known. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { JsonObject } from '../../src/common/json.ts';
import { cli, errorOf, scratch } from '../cli/helpers.ts';

const [folder, remove] = scratch();
afterAll(remove);

const compare = (...argv: string[]) => cli(['eval-compare', ...argv, '--json'], { cwd: folder });

interface Line {
  readonly task: string;
  readonly acc: readonly number[];
}

/** A samples file in the harness's shape. */
function samples(name: string, lines: readonly Line[]): string {
  const text = lines.flatMap(({ task, acc }) =>
    acc.map((value, i) =>
      JSON.stringify({
        task,
        doc_id: i,
        filter: 'none',
        metrics: ['acc'],
        doc_hash: `${task}${i}`,
        prompt_hash: 'p',
        acc: value,
      }),
    ),
  );
  return write(name, `${text.join('\n')}\n`);
}

function write(name: string, text: string): string {
  const file = path.join(folder, name);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, text);
  return file;
}

function results(
  name: string,
  tasks: Readonly<Record<string, readonly [number, number | 'N/A']>>,
  model = 'm',
): string {
  const entries = Object.entries(tasks).map(([task, [acc, stderr]]) => [
    task,
    { alias: task, 'acc,none': acc, 'acc_stderr,none': stderr },
  ]);
  return write(name, JSON.stringify({ results: Object.fromEntries(entries) as JsonObject, model_name: model }));
}

describe('moe eval-compare', () => {
  it('samples: flips by subject, paired standard error, McNemar', async () => {
    samples('a.jsonl', [
      { task: 'x', acc: [1, 0, 0, 0, 0, 0, 1] },
      { task: 'y', acc: [1, 1] },
    ]);
    samples('b.jsonl', [
      { task: 'x', acc: [1, 1, 1, 1, 1, 1, 1] },
      { task: 'y', acc: [0, 1] },
    ]);
    const ran = await compare('a.jsonl', 'b.jsonl');
    expect(ran.code).toBe(0);
    const { paired } = ran.json() as { paired: { overall: JsonObject; tasks: JsonObject[]; flips: JsonObject[] } };
    // 5 gained, 1 lost: p = 2 · (1 + 6) / 64.
    expect(paired.overall).toMatchObject({ documents: 9, gained: 5, lost: 1 });
    expect(paired.overall['p']).toBeCloseTo(0.21875, 12);
    expect(paired.overall['difference']).toBeCloseTo(4 / 9, 12);
    // Sample standard deviation of (+1 ×5, −1, 0 ×3) by √9: √((6 − 16/9) / 8) / 3.
    expect(paired.overall['stderr']).toBeCloseTo(Math.sqrt((6 - 16 / 9) / 8) / 3, 12);
    expect(paired.tasks.map(({ task, gained, lost, p }) => [task, gained, lost, p])).toEqual([
      ['x', 5, 0, 0.0625],
      ['y', 0, 1, 1],
    ]);
    expect(paired.flips).toHaveLength(6);
  });

  it('results without samples: differences with the standard error of independent runs, and why nothing is paired', async () => {
    results('r1.json', { mmlu: [0.25, 0.03], copa: [0.6, 'N/A'] });
    results('r2.json', { mmlu: [0.27, 0.04], boolq: [0.5, 0.1] });
    const report = (await compare('r1.json', 'r2.json')).json();
    const rows = report['rows'] as JsonObject[];
    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatchObject({ task: 'mmlu', metric: 'acc', a: 0.25, b: 0.27 });
    expect(rows[0]?.['stderr']).toBeCloseTo(0.05, 12);
    expect(report['paired']).toBeNull();
    const notes = (report['notes'] as string[]).join('\n');
    expect(notes).toContain('Only A has copa.');
    expect(notes).toContain('A does not name its documents one by one');
  });

  it('a folder of the harness: its newest results, with the samples of that run', async () => {
    const run = (date: string, acc: readonly number[]): void => {
      results(`h/some__model/results_${date}.json`, { copa: [0.5, 0.1] });
      samples(`h/some__model/samples_copa_${date}.jsonl`, [{ task: 'copa', acc }]);
    };
    run('2025-01-02T00-00-00.000000', [0, 0]);
    run('2025-01-03T00-00-00.000000', [1, 0]);
    const old = path.join(folder, 'h/some__model/results_2025-01-02T00-00-00.000000.json');
    fs.utimesSync(old, 1, 1);
    const ran = await compare(old, 'h');
    expect(ran.err).toContain('results_2025-01-03T00-00-00.000000.json is the newest');
    expect((ran.json()['paired'] as JsonObject)['overall']).toMatchObject({ documents: 2, gained: 1, lost: 0 });
  });

  it('as text: over all first, then tasks, then metrics', async () => {
    const ran = await cli(['eval-compare', 'a.jsonl', 'b.jsonl'], { cwd: folder });
    expect(ran.out).toMatch(/^over all +9 +0\.4444 +0\.8889 +\+0\.4444 +± 0\.2422 +5 +1 +0\.2188$/m);
    expect(ran.out).toMatch(/^y +2 +1\.0000 +0\.5000 +−0\.5000 +± 0\.5000 +0 +1 +1\.0000$/m);
  });

  it('refuses what cannot be compared', async () => {
    expect(errorOf(await compare('r1.json', 'none.json'))).toMatchObject({ code: 'results-not-found' });
    write('empty/x.txt', '');
    expect(errorOf(await compare('r1.json', 'empty'))).toMatchObject({ code: 'results-not-found' });
    write('odd.json', '{"a": 1}');
    expect(errorOf(await compare('r1.json', 'odd.json'))).toMatchObject({ code: 'bad-results-file' });
    results('r3.json', { piqa: [0.5, 0.1] });
    expect(errorOf(await compare('r1.json', 'r3.json'))).toMatchObject({ code: 'nothing-to-compare' });
    expect(errorOf(await compare('a.jsonl', 'b.jsonl', '--metric', 'acc_norm'))).toMatchObject({
      code: 'nothing-to-compare',
    });
  });
});
