/** Turns errors of the file system into `IoError`s that say what to do, and aborts into one error. */
import { IoError, OsculateError, abortError } from "../errors.js";

const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full; free some space or choose another output folder",
  EDQUOT: "the disk quota is used up; free some space or choose another output folder",
  EFBIG: "the file is larger than the file system or the process limit allows",
  EACCES: "permission denied; choose a folder you may write to, or change its permissions",
  EPERM: "the operation is not permitted there",
  EROFS: "the file system is read-only; choose another output folder",
  ENOENT: "no such file or folder",
  ENOTDIR: "a part of the path is a file, not a folder",
  EISDIR: "it is a folder, not a file",
  EMFILE: "too many open files; raise the limit (ulimit -n)",
  EIO: "the device reported an input/output error",
};

/** The `code` of a Node.js system error, or undefined. */
export function systemCode(cause: unknown): string | undefined {
  if (typeof cause !== "object" || cause === null || !("code" in cause)) return undefined;
  return typeof cause.code === "string" ? cause.code : undefined;
}

/**
 * `IoError` for a failed file operation: "`fn`: could not {action} {path}: {reason} (CODE)".
 * Errors of osculate itself (an abort, a lock) pass through unchanged.
 */
export function toIoError(fn: string, action: string, path: string, cause: unknown): OsculateError {
  if (cause instanceof OsculateError) return cause;
  const code = systemCode(cause);
  const known = code === undefined ? undefined : REASONS[code];
  const text = known ?? (cause instanceof Error ? cause.message : String(cause));
  const suffix = known === undefined || code === undefined ? "" : ` (${code})`;
  return new IoError(`${fn}: could not ${action} ${path}: ${text}${suffix}`, {
    details: { path, ...(code === undefined ? {} : { errno: code }) },
    cause,
  });
}

/** Throws the one error of an aborted job (`code` "ABORTED"). */
export function throwIfAborted(fn: string, signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw abortError(fn, signal);
}
