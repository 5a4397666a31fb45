import * as binding from "../binding/index.js";
import { abortError } from "../errors.js";

/** Waits for a promise until the signal aborts, then rejects with code "ABORTED"; the promise is left to end on its own. */
export async function untilAborted<T>(
  fn: string,
  promise: Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  try {
    return await binding.untilAborted(promise, signal);
  } catch (error) {
    throw signal?.aborted === true && error === signal.reason ? abortError(fn, signal) : error;
  }
}
