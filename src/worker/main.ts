/**
 * The worker thread: everything that reads checkpoints or plans, off the extension host's thread. Started by
 * src/extension/worker-client.ts.
 */
import { parentPort } from 'node:worker_threads';
import { portEndpoint } from '../protocol/host.ts';
import { Checkpoints } from './checkpoints.ts';
import { serveCheckpoints } from './serve-checkpoints.ts';
import { servePlans } from './serve-plans.ts';
import { serveEvaluations } from './serve-evaluations.ts';
import { serveStats } from './serve-stats.ts';

if (parentPort === null) throw new Error('This is the worker of MoE Workbench; it is started by the extension.');

const endpoint = portEndpoint(parentPort, {
  peer: 'the extension',
  onFault: ({ method, message, error }) => {
    process.stderr.write(`${method}: ${error instanceof Error ? (error.stack ?? message) : message}\n`);
  },
});
const checkpoints = new Checkpoints();
serveCheckpoints(endpoint, checkpoints);
serveStats(endpoint, checkpoints);
servePlans(endpoint, checkpoints);
serveEvaluations(endpoint);
