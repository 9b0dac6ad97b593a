/**
 * A thread that beats once a second over fd 4 while the main thread computes, and that ends the process when its parent is
 * gone and the main thread does not notice. It is given as text, so that the bundle stays one file.
 */
import { writeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';

/** Seconds that an orphaned process has to come to an orderly end. */
const ORPHAN_SECONDS = 30;
const TICK_MS = 250;

/** What the thread is given. */
interface Given {
  /** [0]: tenths of a second (monotonic) at which the main thread was last idle. */
  readonly idle: Int32Array;
  readonly parent: number;
  readonly orphanSeconds: number;
  readonly fd: number;
}

const THREAD = `
'use strict';
const { workerData, parentPort } = require('node:worker_threads');
const { writeSync } = require('node:fs');
const { idle, parent, orphanSeconds, fd } = workerData;
let id = null, peak = 0, lastCpu = 0, orphanedFor = 0, broken = false;
let lastAt = process.hrtime.bigint() - BigInt(Math.round(process.uptime() * 1e9));
parentPort.on('message', (value) => { id = value; });
const tenths = () => Number(process.hrtime.bigint() / 100000000n) | 0;
function beat() {
  const rssBytes = process.memoryUsage.rss();
  peak = Math.max(peak, rssBytes, process.resourceUsage().maxRSS * 1024);
  const { user, system } = process.cpuUsage();
  const cpuSeconds = (user + system) / 1e6;
  const at = process.hrtime.bigint();
  const cpuLoad = Math.max(0, (cpuSeconds - lastCpu) / Math.max(1e-3, Number(at - lastAt) / 1e9));
  lastCpu = cpuSeconds; lastAt = at;
  const busy = (tenths() - Atomics.load(idle, 0)) / 10;
  const usage = { pid: process.pid, rssBytes, peakRssBytes: peak, cpuSeconds, cpuLoad, seconds: process.uptime(), busySeconds: busy < 1 ? 0 : busy };
  const message = { jsonrpc: '2.0', method: 'job/heartbeat', params: { value: { id, usage } } };
  try { writeSync(fd, JSON.stringify(message) + '\\n'); }
  catch (error) { if (error.code !== 'EAGAIN') broken = true; }
  // The parent is gone: the main thread is told by its channel, unless it is busy.
  if (broken || process.ppid !== parent) {
    if (++orphanedFor > orphanSeconds) process.kill(process.pid, 'SIGKILL');
  }
}
beat();
setInterval(beat, 1000);
`;

export interface Heartbeat {
  /** Names the job that runs, or null. */
  job(id: string | null): void;
  stop(): Promise<void>;
}

/** Starts beating on `fd`. Does nothing where that is not open (the process was not forked by a runner). */
export function startHeartbeat(fd = 4): Heartbeat {
  try {
    writeSync(fd, '\n');
  } catch {
    return { job: () => undefined, stop: () => Promise.resolve() };
  }
  const idle = new Int32Array(new SharedArrayBuffer(4));
  const tick = (): void => {
    Atomics.store(idle, 0, Number(process.hrtime.bigint() / 100_000_000n) | 0);
  };
  tick();
  const timer = setInterval(tick, TICK_MS);
  timer.unref();
  const workerData: Given = { idle, parent: process.ppid, orphanSeconds: ORPHAN_SECONDS, fd };
  const thread = new Worker(THREAD, { eval: true, workerData });
  thread.unref();
  return {
    job: (id) => {
      thread.postMessage(id);
    },
    stop: async () => {
      clearInterval(timer);
      await thread.terminate();
    },
  };
}
