/**
 * One run per output. The lock names its process; that of a dead process is no obstacle. A process is recognised by its id
 * and start time where /proc tells them, and by a heartbeat where it cannot be seen from here (another host or container).
 */
import { linkSync, readFileSync, readlinkSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { MoeError, systemCodeOf } from '../common/errors.ts';

interface Owner {
  readonly pid: number;
  readonly host: string;
  /** Boot and process-id name space: process ids compare only within one. */
  readonly world: string;
  /** Clock ticks after boot at which the process started; null where /proc does not tell. */
  readonly started: string | null;
}

const HEARTBEAT_MS = 5_000;
const SILENT_MS = 60_000;

function textOf(path: string): string | null {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return null;
  }
}

function startOf(pid: number): string | null {
  // Field 22 of /proc/PID/stat; the name in field 2 may hold spaces and brackets.
  const stat = textOf(`/proc/${String(pid)}/stat`);
  return stat === null ? null : (stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null);
}

function world(): string {
  let space = '';
  try {
    space = readlinkSync('/proc/self/ns/pid');
  } catch {
    // Not Linux: host and process id must do.
  }
  return `${textOf('/proc/sys/kernel/random/boot_id') ?? ''}/${space}`;
}

function self(): Owner {
  return { pid: process.pid, host: hostname(), world: world(), started: startOf(process.pid) };
}

function readOwner(path: string): Owner | null {
  const text = textOf(path);
  if (text === null) return null;
  try {
    const data: unknown = JSON.parse(text);
    if (typeof data !== 'object' || data === null) return null;
    const { pid, host, world: place, started } = data as Record<string, unknown>;
    if (typeof pid !== 'number' || typeof host !== 'string' || typeof place !== 'string') return null;
    return { pid, host, world: place, started: typeof started === 'string' ? started : null };
  } catch {
    return null;
  }
}

/** True unless the owner is known to be gone. */
function isAlive(owner: Owner, path: string): boolean {
  const here = self();
  if (owner.host !== here.host || owner.world !== here.world) {
    try {
      return Date.now() - statSync(path).mtimeMs < SILENT_MS;
    } catch {
      return false;
    }
  }
  if (owner.started !== null) return startOf(owner.pid) === owner.started;
  try {
    process.kill(owner.pid, 0);
    return true;
  } catch (error) {
    return systemCodeOf(error) === 'EPERM';
  }
}

export interface Lock {
  /** Gives the output free. */
  release(): void;
}

/**
 * Takes the lock file at `path`. Throws `output-locked` (kind input) while another live run holds it; `what` names the
 * output in the message.
 */
export function takeLock(path: string, what: string): Lock {
  for (let attempt = 0; attempt < 10; attempt++) {
    if (create(path)) return held(path);
    const owner = readOwner(path);
    if (owner !== null && isAlive(owner, path)) throw locked(owner, what, path);
    // Dead, or cut off while being made. Whoever renames it away wins; a lock that turns out alive is put back.
    const aside = `${path}.dead-${randomBytes(6).toString('hex')}`;
    try {
      renameSync(path, aside);
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') continue;
      throw error;
    }
    const moved = readOwner(aside);
    if (moved !== null && isAlive(moved, aside)) {
      try {
        linkSync(aside, path);
      } catch {
        // A third run took it meanwhile; that one is found on the next attempt.
      }
    }
    rmSync(aside, { force: true });
  }
  throw new MoeError('input', 'output-locked', `Could not lock ${what}: other runs keep taking it.`);
}

/** Makes the lock with its contents in one step; false if there is one already. */
function create(path: string): boolean {
  const own = `${path}.${String(process.pid)}-${randomBytes(6).toString('hex')}`;
  writeFileSync(own, JSON.stringify(self()), { flag: 'wx' });
  try {
    linkSync(own, path);
    return true;
  } catch (error) {
    const code = systemCodeOf(error);
    if (code === 'EEXIST') return false;
    // No hard links here (FAT, some network disks): a file made exclusively has a moment without contents, no worse.
    try {
      writeFileSync(path, JSON.stringify(self()), { flag: 'wx' });
      return true;
    } catch (second) {
      if (systemCodeOf(second) === 'EEXIST') return false;
      throw second;
    }
  } finally {
    rmSync(own, { force: true });
  }
}

function held(path: string): Lock {
  const timer = setInterval(() => {
    try {
      const now = new Date();
      utimesSync(path, now, now);
    } catch {
      // The folder was moved to its final name or taken away; the run itself will notice.
    }
  }, HEARTBEAT_MS);
  timer.unref();
  return {
    release: () => {
      clearInterval(timer);
      rmSync(path, { force: true });
    },
  };
}

function locked(owner: Owner, what: string, path: string): MoeError {
  const here = owner.host === hostname() ? '' : ` on ${owner.host}`;
  return new MoeError(
    'input',
    'output-locked',
    `Another run (process ${String(owner.pid)}${here}) is writing ${what}.`,
    {
      file: what,
      hint: `Wait for it, or end it. If it is certainly gone, delete ${path}.`,
      details: { pid: owner.pid, host: owner.host },
    },
  );
}
