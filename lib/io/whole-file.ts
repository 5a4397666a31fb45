/**
 * Files that are either there completely or not at all: a temporary file on the same file system,
 * fsync, rename, fsync of the folder. A crash leaves at most a temporary file, never half an output.
 */
import { promises as fs } from "node:fs";
import { dirname, basename, join, resolve } from "node:path";
import { threadId } from "node:worker_threads";
import { IoError } from "../errors.js";
import { throwIfAborted, toIoError } from "./fs-errors.js";

/** Written in pieces, so that an abort is answered between two of them and 2 GiB is no limit. */
const CHUNK_BYTES = 16 * 1024 * 1024;

export type FileData =
  string | Uint8Array | Iterable<Uint8Array | string> | AsyncIterable<Uint8Array | string>;

export interface WholeFile {
  readonly path: string;
  readonly data: FileData;
}

export interface WriteOptions {
  /** Folder for the temporary files, on the same file system; default: the folder of each file. */
  readonly staging?: string;
  readonly signal?: AbortSignal | undefined;
  /** Runs when every byte is on disk and before the first rename; throwing stops the commit. */
  readonly beforeCommit?: () => Promise<void>;
}

let counter = 0;

function temporaryName(path: string, staging: string | undefined): string {
  const folder = staging ?? dirname(path);
  counter += 1;
  return join(folder, `.${basename(path)}.${process.pid}-${threadId}-${counter}.tmp`);
}

async function* pieces(data: FileData): AsyncGenerator<Uint8Array> {
  if (typeof data === "string") {
    yield* pieces(Buffer.from(data, "utf8"));
  } else if (data instanceof Uint8Array) {
    for (let at = 0; at < data.length; at += CHUNK_BYTES) yield data.subarray(at, at + CHUNK_BYTES);
  } else {
    for await (const part of data) yield* pieces(part);
  }
}

async function writeDurably(
  path: string,
  data: FileData,
  signal: AbortSignal | undefined,
): Promise<void> {
  const file = await fs.open(path, "wx");
  try {
    for await (const piece of pieces(data)) {
      let at = 0;
      while (at < piece.length) {
        throwIfAborted("writeWhole", signal);
        const { bytesWritten } = await file.write(piece, at, piece.length - at);
        at += bytesWritten;
      }
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Makes a rename or a new name in `folder` survive a power cut. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await fs.open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Write several files that belong together: all bytes of all files are on disk before the first
 * rename, and the renames follow the order given. When anything fails before the first rename, no
 * file has changed and the temporary files are gone.
 *
 * @throws IoError (disk full, permissions, missing folder; the path and the reason are in the
 *   message), OsculateError "ABORTED".
 */
export async function writeWholeFiles(
  files: readonly WholeFile[],
  options: WriteOptions = {},
): Promise<void> {
  const staged: { readonly temporary: string; readonly path: string }[] = [];
  let renamed = 0;
  try {
    for (const { path, data } of files) {
      const target = resolve(path);
      const temporary = temporaryName(target, options.staging);
      staged.push({ temporary, path: target });
      try {
        await writeDurably(temporary, data, options.signal);
      } catch (cause) {
        throw toIoError("writeWhole", "write", target, cause);
      }
    }
    throwIfAborted("writeWhole", options.signal);
    await options.beforeCommit?.();
    for (const { temporary, path } of staged) {
      try {
        await fs.rename(temporary, path);
        renamed += 1;
        await syncFolder(dirname(path));
      } catch (cause) {
        throw toIoError("writeWhole", "write", path, cause);
      }
    }
  } finally {
    for (const { temporary } of staged.slice(renamed)) await fs.rm(temporary, { force: true });
  }
}

/** Write one file whole. See `writeWholeFiles`. */
export async function writeWhole(
  path: string,
  data: FileData,
  options: WriteOptions = {},
): Promise<void> {
  await writeWholeFiles([{ path, data }], options);
}

/** What is at `path`, or undefined when nothing is. @throws IoError when it cannot be looked at. */
export async function kindOf(path: string): Promise<"file" | "folder" | "other" | undefined> {
  try {
    const stat = await fs.stat(path);
    return stat.isFile() ? "file" : stat.isDirectory() ? "folder" : "other";
  } catch (cause) {
    const error = toIoError("kindOf", "look at", path, cause);
    if (error.details["errno"] === "ENOENT") return undefined;
    throw error;
  }
}

/**
 * Check, before any work, that a file can be made at `path`: its folder exists and takes a new file.
 *
 * @throws IoError that names the folder and what is wrong with it.
 */
export async function checkWritable(fn: string, path: string): Promise<void> {
  const target = resolve(path);
  const folder = dirname(target);
  const kind = await kindOf(folder);
  if (kind === undefined) {
    throw new IoError(
      `${fn}: could not write ${target}: the folder ${folder} does not exist; make it first`,
      { details: { path: target, errno: "ENOENT" } },
    );
  }
  if (kind !== "folder") {
    throw new IoError(`${fn}: could not write ${target}: ${folder} is not a folder`, {
      details: { path: target, errno: "ENOTDIR" },
    });
  }
  if ((await kindOf(target)) === "folder") {
    throw new IoError(
      `${fn}: could not write ${target}: it is a folder; name a file, such as ${join(target, "model.onnx")}`,
      { details: { path: target, errno: "EISDIR" } },
    );
  }
  // access(2) says yes to root on a read-only mount and to nobody's surprise on full disks: try it.
  const probe = temporaryName(target, undefined);
  try {
    await (await fs.open(probe, "wx")).close();
  } catch (cause) {
    throw toIoError(fn, "write", target, cause);
  } finally {
    await fs.rm(probe, { force: true });
  }
}
