/**
 * Tokens per second of the engine against PyTorch eager (transformers), interleaved: SmolLM2-135M, f32, one row of 400 tokens;
 * log-probabilities of given targets at all positions, and logits of the last position only.
 *
 *   MOE_SMOLLM2=FOLDER MOE_PYTHON=python-with-transformers npm run bench -- engine
 *
 * PyTorch runs in a process of its own and is asked in turn, at each number of threads; its best counts.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { cwd, env } from 'node:process';
import { createInterface } from 'node:readline';
import { openCheckpoint } from '../src/checkpoint/open.ts';
import { weightsOf } from '../src/runtime/checkpoint.ts';
import { RunnableModel } from '../src/runtime/model.ts';

const folder = env['MOE_SMOLLM2'] ?? join(cwd(), '.cache', 'smollm2-135m');
const python = env['MOE_PYTHON'];
const [TOKENS, ROUNDS] = [400, 15];
const THREADS = Math.min(2, availableParallelism());
const FLOORS: Readonly<Record<string, number>> = { all: 1.2, last: 1.05 };

/** Answers a line "all|last THREADS" with milliseconds and one number of the result. */
const TORCH = `
import sys, time, torch
from transformers import AutoModelForCausalLM
m = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
ids = torch.tensor([[(i * 7919 + 13) % m.config.vocab_size for i in range(${TOKENS})]])
print('ready', torch.__version__, flush=True)
for line in sys.stdin:
    what, threads = line.split()
    torch.set_num_threads(int(threads))
    start = time.perf_counter()
    with torch.inference_mode():
        if what == 'all':
            logits = m(ids, use_cache=False).logits
            found = torch.log_softmax(logits[0], -1).gather(-1, ids[0][:, None])[-1, 0].item()
        else:
            found = m(ids, use_cache=False, logits_to_keep=1).logits[0, -1, 7].item()
    print((time.perf_counter() - start) * 1000, found, flush=True)
`;

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

async function main(): Promise<void> {
  const { config, source } = weightsOf(await openCheckpoint(folder));
  const times = new Map<string, number[]>();
  const values = new Map<string, number>();
  const tasks: [string, () => Promise<readonly [number, number]>][] = [];
  for (const mode of ['packed', 'stored'] as const) {
    const model = new RunnableModel(config, source, { weights: mode, threads: THREADS });
    const ids = Array.from({ length: TOKENS }, (_, i) => (i * 7919 + 13) % model.spec.vocabSize);
    const at = ids.map((_, i) => i);
    const timed = async (run: () => Promise<number>): Promise<readonly [number, number]> => {
      const start = performance.now();
      const found = await run();
      return [performance.now() - start, found];
    };
    tasks.push([
      `all: moe, ${mode}`,
      () =>
        timed(async () => (await model.targets(model.feeds({ rows: [ids] }), at, ids)).logprob.at(-1) ?? Number.NaN),
    ]);
    tasks.push([
      `last: moe, ${mode}`,
      () => timed(async () => (await model.logitsAt({ rows: [ids] }, [TOKENS - 1])).data[7] ?? Number.NaN),
    ]);
  }
  const peer =
    python === undefined ? null : spawn(python, ['-c', TORCH, folder], { stdio: ['pipe', 'pipe', 'inherit'] });
  if (peer !== null) {
    const lines = createInterface({ input: peer.stdout })[Symbol.asyncIterator]();
    const next = async (): Promise<string> => String((await lines.next()).value);
    console.log(`peer: torch ${await next()}`);
    for (const what of ['all', 'last'])
      for (let threads = 1; threads <= THREADS; threads++)
        tasks.push([
          `${what}: torch, ${threads} threads`,
          async () => {
            peer.stdin.write(`${what} ${threads}\n`);
            const [time, found] = (await next()).split(' ').map(Number);
            return [time ?? Number.NaN, found ?? Number.NaN];
          },
        ]);
  }
  for (let round = 0; round <= ROUNDS; round++)
    for (const [name, task] of tasks) {
      const [time, found] = await task();
      values.set(name, found);
      if (round > 0) times.set(name, [...(times.get(name) ?? []), time]);
    }
  peer?.kill();
  for (const [name, list] of [...times].sort())
    console.log(
      `${name.padEnd(24)} median ${median(list).toFixed(1).padStart(7)} ms (best ${Math.min(...list).toFixed(1)}), ${Math.round((TOKENS / median(list)) * 1000)} tok/s, value ${values.get(name)?.toFixed(5) ?? '?'}`,
    );
  if (peer === null) return;
  for (const what of ['all', 'last']) {
    const names = [...times.keys()].filter((name) => name.startsWith(`${what}: torch`));
    const best = names.reduce((a, b) => (median(times.get(b) ?? []) < median(times.get(a) ?? []) ? b : a));
    for (const mode of ['packed', 'stored']) {
      const ours = times.get(`${what}: moe, ${mode}`) ?? [];
      const ratios = (times.get(best) ?? []).map((time, i) => time / (ours[i] ?? Number.NaN));
      const sorted = [...ratios].sort((a, b) => a - b);
      console.log(
        `${what}, ${mode}: ${median(ratios).toFixed(2)}x of ${best.slice(what.length + 2)} (rounds ${sorted[0]?.toFixed(2) ?? '?'} to ${sorted.at(-1)?.toFixed(2) ?? '?'}; floor ${FLOORS[what] ?? '?'})`,
      );
    }
  }
}

if (existsSync(join(folder, 'model.safetensors'))) await main();
else console.log(`SKIPPED: ${folder} is absent`);
