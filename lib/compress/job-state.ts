/** The folder of a running job (OUT.partial): who works there, and what is done so far. */
import { promises as fs } from "node:fs";
import { randomUUID } from "node:crypto";
import { basename, dirname, join, resolve } from "node:path";
import { ArgumentError } from "../errors.js";
import {
  acquireLock,
  canonicalJson,
  externalDataPath,
  fingerprint,
  Journal,
  kindOf,
  type Lock,
  manifestPath,
  partialPath,
  removeFolder,
  syncFolder,
  toIoError,
  writeWhole,
} from "../io/index.js";

/** What decides the bits of the result; a journal only serves a job with the same. */
export type JobIdentity = Readonly<Record<string, unknown>>;

interface Info {
  readonly identity: JobIdentity;
  /** The run was allowed to replace an output that was there. */
  readonly replaces: boolean;
  readonly threads: number;
}

export interface OpenJobOptions {
  readonly output: string;
  readonly identity: JobIdentity;
  readonly overwrite: boolean;
  readonly resume: boolean;
  readonly threads: number;
}

/** The files that a job writes beside its folder. */
export function outputFiles(output: string): { model: string; data: string; manifest: string } {
  return { model: output, data: externalDataPath(output), manifest: manifestPath(output) };
}

/** Those of the output's files that are there already. */
async function present(output: string): Promise<string[]> {
  const found: string[] = [];
  for (const path of Object.values(outputFiles(output))) {
    if ((await kindOf(path)) !== undefined) found.push(path);
  }
  return found;
}

/**
 * Refuse an output that is there or half done unless the caller allows it. Takes no lock and changes
 * nothing, so that the answer comes before any work.
 *
 * @throws ArgumentError that says which option helps.
 */
export async function checkOutputFree(
  fn: string,
  options: Pick<OpenJobOptions, "output" | "overwrite" | "resume">,
): Promise<void> {
  const { output, overwrite, resume } = options;
  if (overwrite) return;
  const journal = await Journal.peek(partialPath(output));
  const info = journal?.info as Info | undefined;
  const [existing] = await present(output);
  const goesOn = resume && journal !== undefined;
  const mayReplace = info?.replaces === true || journal?.notes.has("commit") === true;
  if (existing !== undefined && !(goesOn && mayReplace)) {
    throw new ArgumentError(
      `${fn}: ${existing} exists already; choose another output, or pass overwrite (--overwrite) to replace it`,
      { details: { path: existing } },
    );
  }
  if (journal !== undefined && journal.keys.length > 0 && !resume) {
    throw new ArgumentError(
      `${fn}: an interrupted run with ${journal.keys.length} finished layers is in ${partialPath(output)}; ` +
        "pass resume (--resume) to go on with it, or overwrite (--overwrite) to start over",
      { details: { path: partialPath(output) } },
    );
  }
}

/** Which parts of two identities differ. */
function differences(a: JobIdentity, b: JobIdentity): string[] {
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].filter((key) => canonicalJson([a[key]]) !== canonicalJson([b[key]]));
}

/** A job's folder, locked and with its journal open. Ends by `commit`, or by `close` after a failure. */
export class JobState {
  readonly output: string;
  readonly journal: Journal;
  /** Threads of the calibration runtime: those the job began with. */
  readonly threads: number;
  /** OUT.partial. */
  readonly folder: string;
  readonly #lock: Lock;

  private constructor(output: string, folder: string, lock: Lock, journal: Journal) {
    this.output = output;
    this.journal = journal;
    this.threads = (journal.info as Info).threads;
    this.folder = folder;
    this.#lock = lock;
  }

  /**
   * Take the folder of an output, new or left by an interrupted run.
   *
   * @throws LockedError naming the process that works there; ArgumentError when the interrupted run
   *   was another job, naming what differs; IoError.
   */
  static async open(fn: string, options: OpenJobOptions): Promise<JobState> {
    const output = resolve(options.output);
    const folder = partialPath(output);
    try {
      await fs.mkdir(folder, { recursive: true });
    } catch (cause) {
      throw toIoError(fn, "make", folder, cause);
    }
    const removeIfEmpty = (): Promise<void> => fs.rmdir(folder).catch(() => undefined);
    let lock: Lock;
    try {
      lock = await acquireLock(join(folder, "lock"));
    } catch (cause) {
      await removeIfEmpty();
      throw cause;
    }
    try {
      // Again, now that nobody else can change the answer.
      await checkOutputFree(fn, options);
      const journal = await JobState.#journal(fn, folder, options);
      return new JobState(output, folder, lock, journal);
    } catch (cause) {
      await lock.release();
      await removeIfEmpty();
      throw cause;
    }
  }

  static async #journal(fn: string, folder: string, options: OpenJobOptions): Promise<Journal> {
    const { identity, output, threads } = options;
    const wanted = fingerprint(identity);
    const old = await Journal.peek(folder);
    if (old !== undefined && old.keys.length > 0 && options.resume) {
      if (old.fingerprint === wanted) {
        const journal = await Journal.open(folder);
        if (journal !== undefined) return journal;
      }
      const what = differences((old.info as Info).identity, identity).join(", ");
      if (!options.overwrite) {
        throw new ArgumentError(
          `${fn}: the interrupted run in ${folder} was another job (different: ${what}); ` +
            "repeat its options to go on with it, or pass overwrite (--overwrite) to start over",
          { details: { path: folder, different: what } },
        );
      }
    }
    const replaces = (await present(output)).length > 0;
    const info: Info = { identity, replaces, threads };
    return Journal.create(folder, wanted, info);
  }

  /** Where outputs are written before they are moved into place. */
  get staging(): string {
    return join(this.folder, "output");
  }

  /** @throws LockedError when another process took the folder over. */
  check(): void {
    this.#lock.check();
  }

  /**
   * Move the staged files and the manifest into place and remove the folder. Data first and manifest
   * last: a manifest never stands beside files that are not its own. A crash between two renames is
   * mended by a resumed run.
   */
  async commit(files: {
    readonly model: string;
    readonly data: string | undefined;
    readonly manifest: string;
  }): Promise<void> {
    this.check();
    const target = outputFiles(this.output);
    // All bytes are on disk before the first rename: a full disk is noticed while nothing has changed.
    const manifest = join(this.staging, "manifest.json");
    await writeWhole(manifest, files.manifest);
    await this.journal.setNote("commit", true);
    try {
      await fs.rm(target.manifest, { force: true });
      if (files.data === undefined) await fs.rm(target.data, { force: true });
      else await fs.rename(files.data, target.data);
      await fs.rename(files.model, target.model);
      await fs.rename(manifest, target.manifest);
      await syncFolder(dirname(target.manifest));
    } catch (cause) {
      throw toIoError("quantizeOnnx", "write", target.model, cause);
    }
    await this.journal.close();
    // Gone in one step: nobody can find a folder that is half removed.
    const trash = join(dirname(this.folder), `.${basename(this.folder)}.${randomUUID()}`);
    await fs.rename(this.folder, trash);
    await this.#lock.release();
    await removeFolder(trash);
  }

  /** After a failure: keep what is done for a resumed run; leave nothing when nothing is done. */
  async close(): Promise<void> {
    await this.journal.close().catch(() => undefined);
    const worthKeeping = this.journal.keys.length > 0;
    try {
      if (worthKeeping) await fs.rm(this.staging, { recursive: true, force: true });
      else await fs.rm(this.folder, { recursive: true, force: true });
    } catch {
      // A failed tidying must not hide why the job failed.
    }
    await this.#lock.release().catch(() => undefined);
  }
}
