/**
 * The model process, dist/infer.js: forked by src/infer/client.ts. The native runtime lives here alone, so that its crashes
 * and its blocking runs stay here; it ends with its parent.
 */
import { processEndpoint } from '../protocol/host.ts';
import { inferQuit } from './protocol.ts';
import { serveModels } from './serve.ts';

function main(): void {
  if (process.send === undefined) {
    process.stderr.write('This process runs models for MoE Workbench, which starts it. For a terminal there is: moe\n');
    process.exitCode = 2;
    return;
  }
  const endpoint = processEndpoint(process, {
    peer: 'the parent process',
    onFault: ({ method, message, error }) => {
      process.stderr.write(`${method}: ${error instanceof Error ? (error.stack ?? message) : message}\n`);
    },
  });
  serveModels(endpoint);
  endpoint.handle(inferQuit, () => {
    // The answer goes out first.
    setTimeout(() => process.exit(0), 5);
    return {};
  });
  endpoint.onClose(() => process.exit(0));
  // Ctrl-C reaches the whole group; the parent decides.
  process.on('SIGINT', () => undefined);
}

main();
