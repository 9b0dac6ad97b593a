import { MoeError } from '../../common/errors.ts';
import { CHOICE_TASKS } from './builtin.ts';
import { MMLU_GROUPS, MMLU_GROUP_LIST, MMLU_TASKS } from './mmlu.ts';
import { ROLLING_TASKS } from './rolling.ts';
import type { Task, TaskGroup } from './types.ts';

const TASKS: ReadonlyMap<string, Task> = new Map(
  [...CHOICE_TASKS, ...ROLLING_TASKS, ...MMLU_TASKS].map((task) => [task.name, task]),
);
const GROUPS: ReadonlyMap<string, TaskGroup> = new Map(MMLU_GROUP_LIST.map((group) => [group.name, group]));
const OTHER_NAMES: ReadonlyMap<string, string> = new Map([
  ['lambada', 'lambada_openai'],
  ['rolling', 'perplexity'],
  ['copa_harness', 'copa'],
  ...MMLU_GROUPS.map((g): [string, string] => [
    `mmlu_${g}_continuation`,
    `mmlu_continuation::${g.replaceAll('_', ' ')}`,
  ]),
]);

/** Tasks to run and groups to aggregate, children before parents. */
export interface TaskSelection {
  readonly tasks: readonly Task[];
  readonly groups: readonly TaskGroup[];
}

/** Built-in names for a picker: groups and tasks outside groups first, then the subjects. */
export function taskNames(): string[] {
  const inGroup = new Set(MMLU_TASKS.map((t) => t.name));
  return [...GROUPS.keys(), ...[...TASKS.keys()].filter((name) => !inGroup.has(name)), ...inGroup];
}

/** A built-in task by name. */
export function builtinTask(name: string): Task | undefined {
  return TASKS.get(OTHER_NAMES.get(name) ?? name);
}

/**
 * Expands names of tasks and groups; `custom` tasks take precedence. Each task is run once. Unknown names fail with the
 * nearest known ones.
 */
export function selectTasks(names: readonly string[], custom: ReadonlyMap<string, Task> = new Map()): TaskSelection {
  const tasks = new Map<string, Task>();
  const groups = new Map<string, TaskGroup>();
  const add = (given: string): void => {
    const name = custom.has(given) ? given : (OTHER_NAMES.get(given) ?? given);
    const task = custom.get(name) ?? TASKS.get(name);
    if (task !== undefined) {
      tasks.set(name, task);
      return;
    }
    const group = GROUPS.get(name);
    if (group === undefined) throw unknownTask(given, [...custom.keys()]);
    group.members.forEach(add);
    groups.set(name, group);
  };
  names
    .map((n) => n.trim())
    .filter((n) => n !== '')
    .forEach(add);
  if (tasks.size === 0) {
    throw new MoeError('usage', 'no-tasks', 'no task was named', {
      hint: `Choose from: ${taskNames().slice(0, 22).join(', ')}.`,
    });
  }
  return { tasks: [...tasks.values()], groups: [...groups.values()] };
}

/** Names of all leaf tasks below a group. */
export function leavesOf(group: TaskGroup, groups: readonly TaskGroup[]): string[] {
  return group.members.flatMap((member) => {
    const inner = groups.find((g) => g.name === member);
    return inner === undefined ? [member] : leavesOf(inner, groups);
  });
}

function unknownTask(name: string, custom: readonly string[]): MoeError {
  const known = [...custom, ...taskNames()];
  const near = known
    .map((k) => ({ k, d: distance(name, k) }))
    .filter(({ k, d }) => d <= Math.max(2, name.length / 3) || k.startsWith(name))
    .sort((a, b) => a.d - b.d)
    .slice(0, 5)
    .map(({ k }) => k);
  const hint =
    near.length > 0
      ? `Did you mean ${near.join(', ')}?`
      : `Known: ${taskNames().slice(0, 22).join(', ')}; or give a task file (.yaml, .jsonl).`;
  return new MoeError('usage', 'unknown-task', `there is no task "${name.slice(0, 80)}"`, { field: 'tasks', hint });
}

/** Levenshtein distance of short names. */
function distance(a: string, b: string): number {
  const s = a.slice(0, 64);
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= s.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = (row[j - 1] ?? 0) + (s[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
