import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CliIo } from '../../src/cli/io.ts';
import { main } from '../../src/cli/main.ts';
import { isJsonObject } from '../../src/common/json.ts';
import type { JsonObject } from '../../src/common/json.ts';

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  /** Standard output as JSON; fails where it is anything else. */
  readonly json: () => JsonObject;
}

/** Runs the command line in this process. */
export async function cli(argv: readonly string[], more: Partial<CliIo> = {}): Promise<Ran> {
  const out: string[] = [];
  const err: string[] = [];
  const io: CliIo = {
    out: (text) => {
      out.push(text);
      return Promise.resolve();
    },
    err: (text) => {
      err.push(text);
    },
    outIsTty: false,
    errIsTty: false,
    columns: 80,
    env: {},
    cwd: tmpdir(),
    input: () => Promise.resolve(new Uint8Array()),
    inferEntry: join(tmpdir(), 'no-infer.js'),
    signal: new AbortController().signal,
    ...more,
  };
  const code = await main(argv, io);
  const text = out.join('');
  return {
    code,
    out: text,
    err: err.join(''),
    json: () => {
      const value: unknown = JSON.parse(text);
      if (!isJsonObject(value)) throw new Error('the JSON is no object');
      return value;
    },
  };
}

/** The `error` member of a failed `--json` run. */
export function errorOf(ran: Ran): JsonObject {
  const error = ran.json()['error'];
  if (!isJsonObject(error)) throw new Error(`no error in ${ran.out}`);
  return error;
}

/** A folder of its own; call the second to remove it. */
export function scratch(): readonly [string, () => void] {
  const folder = mkdtempSync(join(tmpdir(), 'cli-'));
  return [
    folder,
    () => {
      rmSync(folder, { recursive: true, force: true });
    },
  ];
}
