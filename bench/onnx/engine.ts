/**
 * Tokens per second of the engine on a real checkpoint folder, one row: all logits, log-probabilities of given targets at all
 * positions, last position only; two-byte weights as stored or widened at creation; and greedy decoding.
 * Arguments: FOLDER [threads] [tokens] [rounds].
 */
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { weightsOf } from '../../src/runtime/checkpoint.ts';
import { Decoder } from '../../src/runtime/generate.ts';
import { RunnableModel } from '../../src/runtime/model.ts';
import { interleaved, memory, ms } from './measure.ts';
import type { Task } from './measure.ts';

const [folder, threads, tokens, rounds] = [
  process.argv[2],
  Number(process.argv[3] ?? 1),
  Number(process.argv[4] ?? 400),
  Number(process.argv[5] ?? 8),
];
if (folder === undefined) throw new Error('usage: engine FOLDER [threads] [tokens] [rounds]');

const { config, source } = weightsOf(await openCheckpoint(folder));
const tasks: Record<string, Task> = {};
for (const mode of ['stored', 'packed'] as const) {
  const model = new RunnableModel(config, source, { weights: mode, threads });
  const ids = Array.from({ length: tokens }, (_, i) => (i * 7919 + 13) % model.spec.vocabSize);
  const at = ids.map((_, i) => i);
  tasks[`${mode}: all logits`] = () => model.logits({ rows: [ids] });
  tasks[`${mode}: targets, all positions`] = () => model.targets(model.feeds({ rows: [ids] }), at, ids);
  tasks[`${mode}: last position`] = () => model.logitsAt({ rows: [ids] }, [tokens - 1]);
  const decoder = new Decoder(model);
  await decoder.advance(ids.slice(0, 64));
  tasks[`${mode}: decode one token`] = () => decoder.advance([1]);
}
const results = await interleaved(tasks, rounds);
for (const [name, { wall, cpu }] of Object.entries(results)) {
  const count = name.includes('decode') ? 1 : tokens;
  console.log(`${name}: ${ms(wall)} ms (cpu ${ms(cpu)}), ${Math.round((count / wall) * 1000)} tok/s`);
}
console.log(await memory());
