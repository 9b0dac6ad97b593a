/**
 * Tokens per second of the engine on a real checkpoint folder, one row: all logits, log-probabilities of given targets at all
 * positions, last position only; two-byte weights as stored or widened at creation; and greedy decoding.
 * Arguments: FOLDER [threads] [tokens] [rounds].
 */
import { closeSync, openSync, readFileSync, readSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { isJsonObject } from '../../src/common/json.ts';
import type { WeightEntry, WeightSource } from '../../src/model/weights.ts';
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

function source(from: string): WeightSource {
  const entries = new Map<string, WeightEntry>();
  for (const name of readdirSync(from).filter((entry) => entry.endsWith('.safetensors'))) {
    const file = join(from, name);
    const fd = openSync(file, 'r');
    const prefix = Buffer.alloc(8);
    readSync(fd, prefix, 0, 8, 0);
    const size = Number(prefix.readBigUInt64LE());
    const text = Buffer.alloc(size);
    readSync(fd, text, 0, size, 8);
    closeSync(fd);
    const header = JSON.parse(text.toString('utf8')) as Record<
      string,
      { dtype: string; shape: number[]; data_offsets: [number, number] }
    >;
    for (const [tensor, { dtype, shape, data_offsets }] of Object.entries(header)) {
      if (tensor !== '__metadata__')
        entries.set(tensor, {
          dtype,
          shape,
          data: { kind: 'file', file, offset: 8 + size + data_offsets[0], bytes: data_offsets[1] - data_offsets[0] },
        });
    }
  }
  return { get: (name) => entries.get(name), names: () => entries.keys() };
}

const config: unknown = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
if (!isJsonObject(config)) throw new Error('config.json');
const weights = source(folder);
const tasks: Record<string, Task> = {};
for (const mode of ['stored', 'packed'] as const) {
  const model = new RunnableModel(config, weights, { weights: mode, threads });
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
