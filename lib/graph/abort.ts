import { OsculateError } from "../errors.js";

/** The error an aborted call of this room rejects with: code "ABORTED", the signal's reason as cause. */
export function abortError(fn: string, signal: AbortSignal): OsculateError {
  return new OsculateError("ABORTED", `${fn}: aborted`, { cause: signal.reason as unknown });
}

/** Waits for a promise until the signal aborts; the promise itself is left to end on its own. */
export async function untilAborted<T>(
  fn: string,
  promise: Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  if (signal === undefined) return promise;
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = (): void => {
      reject(abortError(fn, signal));
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    if (onAbort) signal.removeEventListener("abort", onAbort);
  }
}
