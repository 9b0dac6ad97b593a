/**
 * Resident memory of scoring one row of 400 tokens, last position only, on a real checkpoint folder.
 * Arguments: FOLDER stored|packed. One mode per process: memory that was freed is not always given back.
 */
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { weightsOf } from '../../src/runtime/checkpoint.ts';
import { RunnableModel } from '../../src/runtime/model.ts';
import { memory } from './measure.ts';

const [folder, mode] = [process.argv[2], process.argv[3]];
if (folder === undefined || (mode !== 'stored' && mode !== 'packed'))
  throw new Error('usage: memory FOLDER stored|packed');

const show = async (label: string): Promise<void> => {
  const { rss, anonymous, peak } = await memory();
  const mib = (value: number | null): string => (value === null ? 'unknown' : value.toFixed(0));
  console.log(`${label}: RSS ${mib(rss)} MiB, of it anonymous ${mib(anonymous)}; peak ${mib(peak)}`);
};
const { config, source } = weightsOf(await openCheckpoint(folder));
const model = new RunnableModel(config, source, { weights: mode });
await show('before the session');
await model.session({ rows: 'chosen' });
await show('session created');
const ids = Array.from({ length: 400 }, (_, i) => (i * 7919 + 13) % model.spec.vocabSize);
for (let i = 0; i < 3; i++) await model.logitsAt({ rows: [ids] }, [399]);
await show('after three runs');
