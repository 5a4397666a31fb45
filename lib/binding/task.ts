import type { KernelArguments, KernelResults } from "./addon-types.js";
import { call, callSync, type CallOptions, type Device } from "./call.js";

/** One kernel a task wants to run. */
export interface KernelStep {
  readonly fn: string;
  readonly kernel: string;
  readonly device: Device;
  readonly args: KernelArguments;
  /** Whether this is the long one whose progress `onProgress` is about. */
  readonly reports: boolean;
}

/**
 * A computation of several kernels, written once as a generator and run either way: `run` awaits each kernel, `runSync` blocks.
 * An error of a kernel is thrown at the `yield*`, so `try ... finally` in a task frees what it made.
 */
export type Task<T> = Generator<KernelStep, T, KernelResults>;

/** Runs one kernel within a task. */
export function* kernel(
  fn: string,
  name: string,
  device: Device,
  args: KernelArguments,
  options: { readonly reports?: boolean } = {},
): Task<KernelResults> {
  return yield { fn, kernel: name, device, args, reports: options.reports ?? false };
}

/** Runs a task off the event loop. `options` go to each of its kernels, `onProgress` to those that report. */
export async function run<T>(task: Task<T>, options: CallOptions = {}): Promise<T> {
  let next = task.next();
  while (next.done !== true) {
    const { fn, kernel: name, device, args, reports } = next.value;
    let results: KernelResults;
    try {
      const { onProgress, ...quiet } = options;
      results = await call(fn, name, device, args, reports ? { ...quiet, onProgress } : quiet);
    } catch (error) {
      next = task.throw(error);
      continue;
    }
    next = task.next(results);
  }
  return next.value;
}

/** Runs a task, blocking. */
export function runSync<T>(task: Task<T>, options: Pick<CallOptions, "label"> = {}): T {
  let next = task.next();
  while (next.done !== true) {
    const { fn, kernel: name, device, args } = next.value;
    let results: KernelResults;
    try {
      results = callSync(fn, name, device, args, options.label);
    } catch (error) {
      next = task.throw(error);
      continue;
    }
    next = task.next(results);
  }
  return next.value;
}
