/**
 * One process at a time on one output. The lock is a file with the owner's process id, host and
 * start time; it appears whole (written aside, then linked) and its owner keeps it open, so that a
 * lock left by a killed process, or by a terminated worker thread, is recognised and taken over.
 */
import { closeSync, openSync, promises as fs, readFileSync, writeSync } from "node:fs";
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { LockedError } from "../errors.js";
import { systemCode, toIoError } from "./fs-errors.js";

/** Far longer than the few file operations of `clearIfDead`. */
const SETTLE_MS = 100;

export interface LockOwner {
  readonly pid: number;
  readonly host: string;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly command: string;
  readonly token: string;
}

/**
 * What opens the lock file is synchronous: when a worker thread is terminated, Node.js closes its plain
 * descriptors, but not those of a FileHandle or of an asynchronous read that is under way, and the lock
 * would look held for as long as the process lives. The file is a few hundred bytes.
 */
function readOwner(path: string): LockOwner | "gone" | "damaged" {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    if (systemCode(cause) === "ENOENT") return "gone";
    throw toIoError("acquireLock", "read", path, cause);
  }
  try {
    const value = JSON.parse(text) as Partial<LockOwner> | null;
    if (typeof value?.pid !== "number" || typeof value.host !== "string") return "damaged";
    return {
      pid: value.pid,
      host: value.host,
      startedAt: value.startedAt ?? "an unknown time",
      command: value.command ?? "",
      token: value.token ?? "",
    };
  } catch {
    return "damaged";
  }
}

/** Whether process `pid` of this host has `path` open; undefined where /proc does not tell. */
async function holdsOpen(pid: number, path: string): Promise<boolean | undefined> {
  try {
    const target = await fs.stat(path, { bigint: true });
    const folder = `/proc/${pid}/fd`;
    for (const name of await fs.readdir(folder)) {
      try {
        const open = await fs.stat(join(folder, name), { bigint: true });
        if (open.ino === target.ino && open.dev === target.dev) return true;
      } catch {
        // Closed between listing and looking.
      }
    }
    return false;
  } catch {
    return undefined;
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return systemCode(cause) === "EPERM";
  }
}

async function isAlive(owner: LockOwner, path: string): Promise<boolean> {
  if (owner.host !== hostname()) return true; // Cannot be known from here: ask the user.
  if (!isRunning(owner.pid)) return false;
  // A running process that does not hold the file is a stranger that was given the same id.
  return (await holdsOpen(owner.pid, path)) ?? true;
}

function locked(path: string, owner: LockOwner): LockedError {
  const where =
    owner.host === hostname()
      ? owner.pid === process.pid
        ? `this process (${owner.pid})`
        : `process ${owner.pid}`
      : `process ${owner.pid} on ${owner.host}`;
  const hint =
    owner.host === hostname()
      ? "wait for it or stop it"
      : `wait for it, or delete ${path} if it no longer runs`;
  return new LockedError(
    `acquireLock: ${where}, started ${owner.startedAt}, is already working on this output; ${hint}`,
    {
      details: {
        pid: owner.pid,
        host: owner.host,
        startedAt: owner.startedAt,
        command: owner.command,
        path,
      },
    },
  );
}

/** A held lock. `release()` gives it back; `check()` fails when somebody took it away. */
export class Lock {
  readonly path: string;
  readonly owner: LockOwner;
  #descriptor: number | undefined;

  /** @internal The file must be there, and held open until now. */
  constructor(path: string, owner: LockOwner) {
    this.path = path;
    this.owner = owner;
    this.#descriptor = openSync(path, "r");
  }

  /** @throws LockedError when the lock file was removed or replaced while we worked. */
  check(): void {
    const owner = readOwner(this.path);
    if (typeof owner === "object" && owner.token === this.owner.token) return;
    if (typeof owner === "object") throw locked(this.path, owner);
    throw new LockedError(
      `acquireLock: the lock ${this.path} disappeared during the work; another process may be using this output. Run again`,
      { details: { path: this.path } },
    );
  }

  /** Give the lock back. Safe to call twice; never removes a lock that is no longer ours. */
  async release(): Promise<void> {
    const descriptor = this.#descriptor;
    if (descriptor === undefined) return;
    this.#descriptor = undefined;
    const owner = readOwner(this.path);
    if (typeof owner === "object" && owner.token === this.owner.token) {
      await fs.rm(this.path, { force: true });
    }
    closeSync(descriptor);
  }
}

/**
 * Take the lock at `path` (its folder must exist). A lock of a process that is gone is taken over.
 *
 * @throws LockedError naming process, host and start time; IoError.
 */
export async function acquireLock(path: string): Promise<Lock> {
  const owner: LockOwner = {
    pid: process.pid,
    host: hostname(),
    startedAt: new Date().toISOString(),
    command: process.argv.slice(1, 4).join(" "),
    token: randomUUID(),
  };
  const aside = join(dirname(path), `.lock.${owner.token}`);
  let descriptor: number | undefined;
  let written: number | undefined;
  try {
    descriptor = openSync(aside, "wx");
    writeSync(descriptor, JSON.stringify(owner) + "\n");
    for (let attempt = 0; attempt < 5; attempt += 1) {
      try {
        written = await appear(aside, path);
        const lock = new Lock(path, owner);
        if (attempt > 0) {
          // Somebody else may have been about to clear the same dead lock and may have hit ours.
          await sleep(SETTLE_MS);
          try {
            lock.check();
          } catch (cause) {
            await lock.release();
            throw cause;
          }
        }
        return lock;
      } catch (cause) {
        if (systemCode(cause) !== "EEXIST") throw cause;
      }
      await clearIfDead(path, owner.token);
    }
    throw new LockedError(`acquireLock: could not take ${path}: other processes keep taking it`, {
      details: { path },
    });
  } catch (cause) {
    throw toIoError("acquireLock", "lock", path, cause);
  } finally {
    // The lock holds the file itself by now.
    for (const open of [descriptor, written]) if (open !== undefined) closeSync(open);
    await fs.rm(aside, { force: true });
  }
}

/**
 * Makes `path` appear with the content of `aside`, or fails with EEXIST. File systems without hard links
 * get a file that is written in place: exclusive all the same. Returns a descriptor that must stay open
 * until the lock is.
 */
async function appear(aside: string, path: string): Promise<number | undefined> {
  try {
    await fs.link(aside, path);
    return undefined;
  } catch (cause) {
    if (!["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"].includes(systemCode(cause) ?? ""))
      throw cause;
    const descriptor = openSync(path, "wx");
    writeSync(descriptor, readFileSync(aside));
    return descriptor;
  }
}

/** Removes the lock at `path` when its owner is dead; throws LockedError when it lives. */
async function clearIfDead(path: string, token: string): Promise<void> {
  const found = readOwner(path);
  if (found === "gone") return;
  if (typeof found === "object" && (await isAlive(found, path))) throw locked(path, found);
  // Two processes may both see the dead lock. Moving it aside shows whether it still is the dead
  // one; a fresh lock moved by mistake is put back. Its owner looks again after a moment, so that
  // even a third process slipping in between leaves one winner.
  const moved = join(dirname(path), `.lock.dead.${token}`);
  try {
    await fs.rename(path, moved);
  } catch (cause) {
    if (systemCode(cause) === "ENOENT") return;
    throw cause;
  }
  const now = readOwner(moved);
  if (typeof found === "object" && typeof now === "object" && now.token !== found.token) {
    await fs.link(moved, path).catch(() => undefined);
  }
  await fs.rm(moved, { force: true });
}
