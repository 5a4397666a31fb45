import {
  ArgumentError,
  DeviceError,
  NumericalError,
  OsculateError,
  type ErrorDetails,
} from "../errors.js";
import type { KernelArguments, KernelResults } from "./addon-types.js";
import { untilAborted } from "./abort.js";
import { addon } from "./load.js";
import { pack, type Device } from "./pack.js";

export type { Device } from "./pack.js";

/** Progress of long work: `done` of `total`, in units of the work. */
export interface Progress {
  readonly done: number;
  readonly total: number;
}

export interface CallOptions {
  /** Rejects with `signal.reason` within 100 ms and stops the kernel at its next tile. */
  readonly signal?: AbortSignal | undefined;
  /** Called at most every 50 ms. An exception thrown here rejects the call. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Adds to the message where the numbers came from, e.g. a layer's name. */
  readonly label?: string | undefined;
}

interface NativeFacts {
  readonly code: number;
  readonly index: number;
  readonly value: number;
  readonly kernel: string;
}

// The order of OscCode in native/core/status.h.
const ABORTED = 1;

function typedError(cause: unknown, fn: string, label: string | undefined): unknown {
  const facts = (cause as { native?: NativeFacts } | undefined)?.native;
  if (facts === undefined && !(cause instanceof Error)) return cause;
  // No instanceof for native errors: under Jest they come from another realm.
  const at = label === undefined ? "" : ` (${label})`;
  if (facts === undefined)
    return new ArgumentError(`${fn}: ${(cause as Error).message}${at}`, { cause });
  const message = `${fn}: ${(cause as Error).message}${at}`;
  const details: ErrorDetails = {
    index: facts.index,
    kernel: facts.kernel,
    ...(label === undefined ? {} : { label }),
  };
  const options = { details, cause };
  switch (facts.code) {
    case ABORTED:
      return new OsculateError("ABORTED", message, options);
    case 2:
      return new ArgumentError(message, options);
    case 3:
      return new DeviceError("UNSUPPORTED_ON_DEVICE", message, options);
    case 4:
      return new DeviceError("OUT_OF_MEMORY", message, options);
    case 5:
      return new NumericalError("NOT_POSITIVE_DEFINITE", message, options);
    case 6:
      return new NumericalError("NON_FINITE", message, options);
    case 8:
      return new NumericalError("NOT_CONVERGED", message, {
        ...options,
        details: { ...details, iterations: facts.index, residual: facts.value },
      });
    case 9:
      return new DeviceError("DEVICE_UNAVAILABLE", message, options);
    case 10:
      return new NumericalError("SINGULAR", message, options);
    default:
      return new OsculateError("INTERNAL", message, options);
  }
}

/** Runs a kernel on its device's queue. Rejects with a typed error whose message starts with `fn`. */
export async function call(
  fn: string,
  kernel: string,
  device: Device,
  args: KernelArguments,
  options: CallOptions = {},
): Promise<KernelResults> {
  const { signal, onProgress, label } = options;
  signal?.throwIfAborted();
  const native = addon();
  const token = signal || onProgress ? new native.CancelToken() : undefined;
  let thrown: { error: unknown } | undefined;
  const progress =
    onProgress &&
    ((done: number, total: number) => {
      try {
        onProgress({ done, total });
      } catch (error) {
        thrown = { error };
        token?.cancel();
      }
    });
  const onAbort = () => token?.cancel();
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    const packed = pack(kernel, device, args);
    const running = native.run(packed.kernel, packed.device, token, progress, ...packed.owners);
    // After an abort the kernel stops at its next tile; its buffers stay held until then.
    const results = await untilAborted(running, signal);
    if (thrown) throw thrown.error;
    return results;
  } catch (cause) {
    if (thrown) throw thrown.error;
    if (signal?.aborted) throw signal.reason;
    throw typedError(cause, fn, label);
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

/** Like `call`, blocking: waits for everything queued before it. */
export function callSync(
  fn: string,
  kernel: string,
  device: Device,
  args: KernelArguments,
  label?: string,
): KernelResults {
  try {
    const packed = pack(kernel, device, args);
    return packed.native.runSync(packed.kernel, packed.device, ...packed.owners);
  } catch (cause) {
    throw typedError(cause, fn, label);
  }
}

/** Puts a kernel on the queue and returns; a failure shows when an output tensor is read. */
export function enqueue(fn: string, kernel: string, device: Device, args: KernelArguments): void {
  try {
    const packed = pack(kernel, device, args);
    packed.native.enqueue(packed.kernel, packed.device, ...packed.owners);
  } catch (cause) {
    throw typedError(cause, fn, undefined);
  }
}
