/** Long work on the JavaScript thread, in slices that let timers, I/O and other promises run between them. */
import { throwIfAborted } from "./fs-errors.js";

/** A slice ends after this many milliseconds; what one step adds to it is the caller's to keep small. */
const SLICE_MS = 8;

/**
 * Ask `due` every few hundred steps and `await pause` when it says so.
 *
 * @example
 * const slice = new TimeSlice();
 * for (const item of items) {
 *   work(item);
 *   if (slice.due()) await slice.pause("encode", signal);
 * }
 */
export class TimeSlice {
  #end = performance.now() + SLICE_MS;

  /** Whether the slice is used up. */
  due(): boolean {
    return performance.now() >= this.#end;
  }

  /** Gives way to the event loop and starts the next slice. @throws OsculateError "ABORTED" when `signal` fired. */
  async pause(fn: string, signal?: AbortSignal): Promise<void> {
    await new Promise(setImmediate);
    throwIfAborted(fn, signal);
    this.#end = performance.now() + SLICE_MS;
  }
}
