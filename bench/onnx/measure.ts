/** Timing that survives a busy machine: rounds in turn, minima of wall time and of process CPU time. */

export interface Timing {
  readonly wall: number;
  readonly cpu: number;
}

export type Task = () => Promise<unknown>;

/** Runs the tasks in turn for `rounds` rounds after one warm-up each; milliseconds per run. */
export async function interleaved(
  tasks: Readonly<Record<string, Task>>,
  rounds: number,
): Promise<Readonly<Record<string, Timing>>> {
  const best = new Map<string, Timing>();
  for (const task of Object.values(tasks)) await task();
  for (let round = 0; round < rounds; round++) {
    for (const [name, task] of Object.entries(tasks)) {
      const cpu = process.cpuUsage();
      const start = performance.now();
      await task();
      const wall = performance.now() - start;
      const used = process.cpuUsage(cpu);
      const spent = (used.user + used.system) / 1000;
      const known = best.get(name) ?? { wall: Number.POSITIVE_INFINITY, cpu: Number.POSITIVE_INFINITY };
      best.set(name, { wall: Math.min(known.wall, wall), cpu: Math.min(known.cpu, spent) });
    }
  }
  return Object.fromEntries(best);
}

/** Resident, anonymous and file-backed memory in MiB (Linux); only the first elsewhere. */
export async function memory(): Promise<{
  readonly rss: number;
  readonly anonymous: number | null;
  readonly peak: number | null;
}> {
  const rss = process.memoryUsage().rss / 2 ** 20;
  try {
    const { readFile } = await import('node:fs/promises');
    const status = await readFile('/proc/self/status', 'utf8');
    const field = (name: string): number | null => {
      const match = new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status);
      return match?.[1] === undefined ? null : Number(match[1]) / 1024;
    };
    return { rss, anonymous: field('RssAnon'), peak: field('VmHWM') };
  } catch {
    return { rss, anonymous: null, peak: null };
  }
}

export const ms = (value: number): string => value.toFixed(value < 10 ? 2 : 1);

/** Normally distributed numbers, seeded; enough for weights. */
export function gaussian(count: number, scale: number, seed: number): Float32Array {
  let state = seed >>> 0;
  const uniform = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 4294967296;
  };
  return Float32Array.from(
    { length: count },
    () => scale * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}
