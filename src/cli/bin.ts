/** Entry of dist/cli.js: binds the command line to this process. */
import { guardBlockingWork } from '../common/blocking.ts';
import { inferEntry } from '../infer/entry.ts';
import { main } from './main.ts';
import { collect } from './values.ts';
import type { CliIo } from './io.ts';

const cancel = new AbortController();
let presses = 0;
/** Time to stop cleanly. */
const STOP_MS = 10_000;

/** First signal: stop cleanly, keeping what a resume needs. Second: at once. */
function onSignal(): void {
  presses++;
  if (presses > 1) process.exit(130);
  cancel.abort();
  // What waits for something that never comes (a pipe without a writer) cannot be told.
  setTimeout(() => process.exit(130), STOP_MS).unref();
  if (process.stderr.isTTY) process.stderr.write('\nStopping… (once more to stop at once)\n');
}
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const listen = (): void => {
  for (const signal of SIGNALS) process.on(signal, onSignal);
};
const ignore = (): void => {
  for (const signal of SIGNALS) process.off(signal, onSignal);
};
listen();
// Meanwhile a signal ends the process as it ends any other: nothing is ever half-written.
guardBlockingWork((work) => {
  ignore();
  try {
    return work();
  } finally {
    listen();
  }
});

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
  input: () => collect(process.stdin, 'standard input'),
  inferEntry: inferEntry(),
  signal: cancel.signal,
};

void main(process.argv.slice(2), io).then((code) => {
  // Not exit(): what is still in the pipes must get out first.
  process.exitCode ??= code;
  ignore();
});
