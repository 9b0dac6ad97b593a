/**
 * Whole-process time of `moe eval` against lm-evaluation-harness, interleaved: hellaswag --limit 60.
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
const LIMIT = 60;

/** The harness with its data set replaced by the local file: nothing else of it is changed. */
const HARNESS = `
import sys, json, datasets
rows = [json.loads(l) for l in open(sys.argv[2], encoding='utf8').read().split('\\n') if l]
d = datasets.Dataset.from_list(rows)
datasets.load_dataset = lambda *a, **k: datasets.DatasetDict(validation=d, train=d)
import lm_eval
from lm_eval.models.huggingface import HFLM
m = HFLM(pretrained=sys.argv[1], dtype='float32', device='cpu', batch_size=int(sys.argv[3]))
r = lm_eval.simple_evaluate(model=m, tasks=['hellaswag'], limit=${LIMIT}, bootstrap_iters=0)
print(r['results']['hellaswag']['acc,none'])
`;

function timed(name: string, command: string, argv: readonly string[]): void {
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
    `${name.padEnd(24)} wall ${wall.toFixed(1).padStart(7)} s   cpu ${cpu.toFixed(1).padStart(7)} s   exit ${String(ran.status)}`,
  );
}

if (!existsSync(join(model, 'model.safetensors')) || !existsSync(data)) {
  console.log(`SKIPPED: ${model} or ${data} is absent`);
} else {
  const ours = [
    'dist/cli.js',
    'eval',
    model,
    '--tasks',
    'hellaswag',
    '--limit',
    String(LIMIT),
    '--data',
    data,
    '--json',
  ];
  for (let round = 0; round < ROUNDS; round++) {
    timed('moe eval', process.execPath, ours);
    if (python === undefined) continue;
    for (const batch of ['1', '8']) {
      const file = join(data, 'hellaswag_validation_1000.jsonl');
      timed(`lm_eval, batch ${batch}`, python, ['-c', HARNESS, model, file, batch]);
    }
  }
}
