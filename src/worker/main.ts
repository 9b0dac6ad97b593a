/**
 * The worker process: everything that reads checkpoints or plans, outside the extension host: neither its memory nor its thread.
 * Forked by src/extension/worker-client.ts.
 */
import { processEndpoint } from '../protocol/host.ts';
import { Checkpoints } from './checkpoints.ts';
import { serveCheckpoints } from './serve-checkpoints.ts';
import { serveDevices } from './serve-devices.ts';
import { serveLab } from './serve-lab.ts';
import { servePlaygrounds } from './serve-playground.ts';
import { servePlans } from './serve-plans.ts';
import { serveEvaluations } from './serve-evaluations.ts';
import { serveStats } from './serve-stats.ts';

if (process.send === undefined) throw new Error('This is the worker of MoE Workbench; it is started by the extension.');

// A worker without its window has nothing to do.
process.once('disconnect', () => process.exit(0));
const endpoint = processEndpoint(process, {
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
servePlaygrounds(endpoint);
serveLab(endpoint, checkpoints);
serveDevices(endpoint);
