import { OsculateError } from "../errors.js";

/** The error an aborted call of this room rejects with: code "ABORTED", the signal's reason as cause. */
export function abortError(fn: string, signal: AbortSignal): OsculateError {
  return new OsculateError("ABORTED", `${fn}: aborted`, { cause: signal.reason as unknown });
}
