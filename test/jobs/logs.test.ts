import { appendFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { JobLog, readLog } from '../../src/jobs/logs.ts';
import { newPath } from './bundle.ts';

describe('logs', () => {
  it('are read in pieces, each line once', async () => {
    const path = newPath('log');
    const log = new JobLog(path, () => undefined);
    for (let i = 0; i < 100; i++) log.add(i % 2 === 0 ? 'info' : 'warning', `line ${String(i)} äöü`);
    const messages: string[] = [];
    let from = 0;
    for (;;) {
      const piece = await readLog(path, from, 1000);
      messages.push(...piece.lines.map(({ message }) => message));
      from = piece.next;
      if (piece.end) break;
    }
    expect(messages).toEqual(Array.from({ length: 100 }, (_, i) => `line ${String(i)} äöü`));
    // Reading on after new lines have come.
    log.add('error', 'more');
    expect((await readLog(path, from)).lines).toMatchObject([{ level: 'error', message: 'more' }]);
  });

  it('end with a word where a job writes without end', async () => {
    const path = newPath('log');
    const heard: string[] = [];
    const log = new JobLog(
      path,
      () => undefined,
      (line) => heard.push(line.message),
      2000,
    );
    for (let i = 0; i < 100; i++) log.add('info', `line ${String(i)}`);
    const { lines } = await readLog(path);
    expect(lines.length).toBeLessThan(40);
    expect(lines.at(-1)?.message).toContain('full');
    // Whoever listens still hears everything.
    expect(heard).toHaveLength(100);
  });

  it('cut what is too long for a line', async () => {
    const path = newPath('log');
    new JobLog(path, () => undefined).add('info', 'x'.repeat(100_000));
    const [line] = (await readLog(path)).lines;
    expect(line?.message.length).toBeLessThan(20_000);
    expect(line?.message.endsWith('… (cut)')).toBe(true);
  });

  it('pass over what is no line of theirs, and come to an end', async () => {
    const path = newPath('log');
    appendFileSync(path, `garbage\n{"time":"t","level":"loud","message":"x"}\n${'y'.repeat(5000)}`);
    new JobLog(path, () => undefined).add('info', 'after the cut');
    const seen: string[] = [];
    let from = 0;
    for (let i = 0; i < 100; i++) {
      const piece = await readLog(path, from, 1000);
      seen.push(...piece.lines.map(({ message }) => message));
      from = piece.next;
      if (piece.end) break;
    }
    expect(seen).toEqual(['after the cut']);
  });

  it('say once where the disk refuses, and do not stop the job', () => {
    const failures: unknown[] = [];
    const log = new JobLog(newPath('missing/folder/log'), (error) => failures.push(error));
    log.add('info', 'a');
    log.add('info', 'b');
    expect(failures).toHaveLength(1);
  });

  it('that are not there are empty', async () => {
    expect(await readLog(newPath('none'))).toEqual({ lines: [], next: 0, end: true });
  });
});
