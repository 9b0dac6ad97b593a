/**
 * Whole-process time of `moe eval` against lm-evaluation-harness, interleaved: hellaswag --limit 60 and mmlu --limit 2.
 *
 *   MOE_SMOLLM2=FOLDER MOE_PYTHON=python-with-lm_eval npm run bench -- eval
 *
 * Needs `npm run build`, the model folder and ../shared/data/eval; without MOE_PYTHON only our own time is taken. Times are wall
 * and CPU seconds per run: on a machine that does other things compare the CPU seconds.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { cwd, env } from 'node:process';

const root = cwd();
const model = env['MOE_SMOLLM2'] ?? join(root, '.cache', 'smollm2-135m');
const data = join(root, '..', 'shared', 'data', 'eval');
const python = env['MOE_PYTHON'];
const ROUNDS = 3;

interface Job {
  readonly task: string;
  readonly limit: number;
  /** Asked of `moe eval` at most. */
  readonly floor: number;
}
const JOBS: readonly Job[] = [
  { task: 'hellaswag', limit: 60, floor: 0.5 },
  { task: 'mmlu', limit: 2, floor: 0.8 },
];

/** The harness with its data sets replaced by the local files: nothing else of it is changed. */
const HARNESS = `
import sys, json, os, datasets
model, data, batch, task, limit = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
read = lambda f: [json.loads(l) for l in open(os.path.join(data, f), encoding='utf8').read().split('\\n') if l]
if task == 'mmlu':
    splits = {s: read(f'mmlu/{s}.jsonl') for s in ('dev', 'test')}
    def load(path=None, name=None, **kw):
        return datasets.DatasetDict({s: datasets.Dataset.from_list([r for r in rows if r['subject'] == name]) for s, rows in splits.items()})
else:
    d = datasets.Dataset.from_list(read('hellaswag_validation_1000.jsonl'))
    load = lambda *a, **k: datasets.DatasetDict(validation=d, train=d)
datasets.load_dataset = load
import lm_eval
from lm_eval.models.huggingface import HFLM
m = HFLM(pretrained=model, dtype='float32', device='cpu', batch_size=batch)
r = lm_eval.simple_evaluate(model=m, tasks=[task], limit=limit, bootstrap_iters=0)
print('acc', r['results'][task]['acc,none'])
`;

/** Wall seconds of a whole process; says them, with the score found in what it printed. */
function timed(name: string, command: string, argv: readonly string[], score: RegExp): number {
  const start = performance.now();
  const ran = spawnSync('/usr/bin/env', ['bash', '-c', 'TIMEFORMAT="%R %U %S"; time "$@"', '-', command, ...argv], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  const [, user = '', system = ''] = /([\d.]+) ([\d.]+) ([\d.]+)\s*$/.exec(ran.stderr) ?? [];
  const wall = (performance.now() - start) / 1000;
  const cpu = Number(user) + Number(system);
  console.log(
    `${name.padEnd(24)} wall ${wall.toFixed(1).padStart(7)} s   cpu ${cpu.toFixed(1).padStart(7)} s   exit ${String(ran.status)}   acc ${score.exec(ran.stdout)?.[1] ?? '?'}`,
  );
  if (ran.status !== 0) console.log(ran.stderr.slice(-2000));
  return wall;
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

if (!existsSync(join(model, 'model.safetensors')) || !existsSync(data)) {
  console.log(`SKIPPED: ${model} or ${data} is absent`);
} else {
  for (const { task, limit, floor } of JOBS) {
    const ours = ['dist/cli.js', 'eval', model, '--tasks', task, '--limit', String(limit), '--data', data, '--json'];
    const walls = new Map<string, number[]>();
    const note = (name: string, wall: number): void => void walls.set(name, [...(walls.get(name) ?? []), wall]);
    for (let round = 0; round < ROUNDS; round++) {
      const found = new RegExp(`"${task}": ?{[^}]*?"acc,none": ?([0-9.]+)`);
      note('moe', timed(`moe eval ${task}`, process.execPath, ours, found));
      if (python === undefined) continue;
      for (const batch of ['1', '8']) {
        const argv = ['-c', HARNESS, model, data, batch, task, String(limit)];
        note(batch, timed(`lm_eval ${task}, batch ${batch}`, python, argv, /^acc ([0-9.]+)/m));
      }
    }
    const best = Math.min(...['1', '8'].map((batch) => median(walls.get(batch) ?? [])));
    if (!Number.isNaN(best))
      console.log(
        `${task} --limit ${limit}: median ${(median(walls.get('moe') ?? []) / best).toFixed(2)}x of lm_eval's best batch (floor ${floor})`,
      );
  }
}
