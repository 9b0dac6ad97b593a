/**
 * Where things lie in the storage folder:
 *
 *   jobs.jsonl        history: events, one a line (see events.ts)
 *   jobs.lock         held for the moment of a change
 *   claims/ID         made once, by whoever starts the job: no job is started twice
 *   running/ID.lock   held by the window that runs the job: free means that it is gone
 *   live/ID.json      latest progress, for other windows
 *   logs/ID.jsonl     log lines
 *   results/ID.json   the whole result
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';

export class StorageLayout {
  readonly history: string;
  readonly lock: string;

  constructor(readonly folder: string) {
    this.history = join(folder, 'jobs.jsonl');
    this.lock = join(folder, 'jobs.lock');
    for (const name of ['claims', 'running', 'live', 'logs', 'results'])
      mkdirSync(join(folder, name), { recursive: true, mode: 0o700 });
  }

  claim(id: string): string {
    return join(this.folder, 'claims', id);
  }
  running(id: string): string {
    return join(this.folder, 'running', `${id}.lock`);
  }
  live(id: string): string {
    return join(this.folder, 'live', `${id}.json`);
  }
  log(id: string): string {
    return join(this.folder, 'logs', `${id}.jsonl`);
  }
  result(id: string): string {
    return join(this.folder, 'results', `${id}.json`);
  }

  /** Removes what belongs to one job. The claim stays until the history has forgotten the job too. */
  forget(id: string): void {
    for (const path of [this.running(id), this.live(id), this.log(id), this.result(id), this.claim(id)])
      rmSync(path, { force: true });
  }
}

/** A new id: sorts by time of creation. */
export function newJobId(): string {
  return `${Date.now().toString(36).padStart(9, '0')}-${randomBytes(5).toString('hex')}`;
}
