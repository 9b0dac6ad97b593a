/** Which built-in tasks can be run with the data at hand. */
import { MoeError, messageOf } from '../common/errors.ts';
import { DataStore } from './data/store.ts';
import type { DataSource } from './data/store.ts';
import { MMLU_GROUP_LIST } from './tasks/mmlu.ts';
import { leavesOf, builtinTask, taskNames } from './tasks/registry.ts';
import type { Task } from './tasks/types.ts';

export interface TaskOfferFacts {
  readonly name: string;
  readonly label: string;
  readonly help: string;
  readonly group: boolean;
  readonly found: boolean;
  /** The file, or what was looked for and why it cannot be used. */
  readonly about: string;
  /** Few-shot examples are there too. */
  readonly fewshot: boolean;
}

/** Groups and tasks outside groups, each with whether its data is there. Nothing is read but names of files. */
export async function offeredTasks(source: DataSource): Promise<TaskOfferFacts[]> {
  const groups = new Map(MMLU_GROUP_LIST.map((group) => [group.name, group]));
  const inGroups = new Set(MMLU_GROUP_LIST.flatMap((group) => leavesOf(group, MMLU_GROUP_LIST)));
  const offers: TaskOfferFacts[] = [];
  for (const name of taskNames()) {
    if (inGroups.has(name)) continue;
    const group = groups.get(name);
    const task = builtinTask(group === undefined ? name : (leavesOf(group, MMLU_GROUP_LIST)[0] ?? name));
    if (task === undefined) continue;
    const label = group?.alias ?? task.alias;
    const help = group === undefined ? task.help : `${String(leavesOf(group, MMLU_GROUP_LIST).length)} subjects`;
    offers.push({ name, label, help, group: group !== undefined, ...(await dataOf(task, source)) });
  }
  return offers;
}

async function dataOf(task: Task, source: DataSource): Promise<Pick<TaskOfferFacts, 'found' | 'about' | 'fewshot'>> {
  const { dataset, evalSplit } = task;
  // A store of its own: a lone file serves one data set.
  const store = new DataStore(source);
  try {
    const files = await store.where(dataset, evalSplit);
    if (files === undefined)
      return { found: false, about: `needs ${dataset.stems[0] ?? task.name}_${evalSplit}.jsonl`, fewshot: false };
    const shots = task.outputType === 'loglikelihood_rolling' ? undefined : task.fewshot.split;
    const fewshot = shots !== undefined && (await store.where(dataset, shots)) !== undefined;
    return { found: true, about: files[0] ?? '', fewshot };
  } catch (error) {
    if (!(error instanceof MoeError) || error.code === 'no-such-data') throw error;
    return { found: false, about: messageOf(error), fewshot: false };
  }
}
