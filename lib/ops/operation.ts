import {
  call,
  callSync,
  type CallOptions,
  type Device,
  type KernelArguments,
  type KernelResults,
} from "../binding/index.js";
import type { Tensor } from "../tensor/index.js";

/** One call of a kernel, checked and ready: `run` awaits it, `runSync` blocks. */
export interface Operation<R> {
  /** The function the user called. */
  readonly fn: string;
  readonly kernel: string;
  readonly device: Device;
  readonly args: KernelArguments;
  /** Copies of arguments, freed whatever happens. */
  readonly temporaries?: readonly Tensor[] | undefined;
  /** Made for the kernel to fill, freed when it fails. */
  readonly outputs: readonly Tensor[];
  /** The result, with the numbers that the kernel returned. */
  readonly finish: (results: KernelResults) => R;
}

function dispose(tensors: readonly Tensor[] = []): void {
  for (const tensor of tensors) tensor.dispose();
}

/** Runs the operation on its device's queue. */
export async function run<R>(operation: Operation<R>, options: CallOptions = {}): Promise<R> {
  const { fn, kernel, device, args, temporaries, outputs, finish } = operation;
  try {
    return finish(await call(fn, kernel, device, args, options));
  } catch (error) {
    dispose(outputs);
    throw error;
  } finally {
    dispose(temporaries);
  }
}

/** Like `run`, blocking. */
export function runSync<R>(operation: Operation<R>): R {
  const { fn, kernel, device, args, temporaries, outputs, finish } = operation;
  try {
    return finish(callSync(fn, kernel, device, args));
  } catch (error) {
    dispose(outputs);
    throw error;
  } finally {
    dispose(temporaries);
  }
}
