/** Entry of dist/cli.js: binds the command line to this process. */
import { inferEntry } from '../infer/entry.ts';
import { main } from './main.ts';
import type { CliIo } from './io.ts';

const cancel = new AbortController();
let presses = 0;

/** First signal: stop cleanly, keeping what a resume needs. Second: at once. */
function onSignal(): void {
  presses++;
  if (presses > 1) process.exit(130);
  cancel.abort();
  if (process.stderr.isTTY) process.stderr.write('\nStopping… (once more to stop at once)\n');
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);

// A reader that closes the pipe (head, less) is no failure of ours: what is left to say is dropped, the work goes on.
let outClosed = false;
let errClosed = false;
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  outClosed = true;
  if (error.code !== 'EPIPE') process.exitCode = 4;
});
process.stderr.on('error', () => {
  errClosed = true;
});

const io: CliIo = {
  out: (text) =>
    new Promise((resolve) => {
      if (outClosed || text === '') resolve();
      else
        process.stdout.write(text, () => {
          resolve();
        });
    }),
  err: (text) => {
    if (!errClosed) process.stderr.write(text);
  },
  outIsTty: process.stdout.isTTY,
  errIsTty: process.stderr.isTTY,
  columns: process.stderr.columns,
  env: process.env,
  cwd: process.cwd(),
  input: async () => {
    const chunks: Buffer[] = [];
    for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk as Uint8Array));
    return Buffer.concat(chunks);
  },
  inferEntry: inferEntry(),
  signal: cancel.signal,
};

void main(process.argv.slice(2), io).then((code) => {
  // Not exit(): what is still in the pipes must get out first.
  process.exitCode ??= code;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, onSignal);
});
