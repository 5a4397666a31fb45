import { call, callSync, type Device, type KernelArguments } from "../binding/index.js";
import type { Tensor } from "../tensor/index.js";
import { checkFlat, checkNumber } from "./check.js";

/** What every optimizer step takes. */
export interface StepOptions {
  /** Learning rate, >= 0. With 0 theta keeps its bits and the state advances. */
  readonly lr: number;
  /** Default 0. */
  readonly weightDecay?: number | undefined;
  /**
   * Look for NaN and Inf first, and reject with `NON_FINITE` (details.index: position in the vector) with everything
   * unchanged. Default true; false saves one read of the gradient.
   */
  readonly checkFinite?: boolean | undefined;
}

/** @internal A kernel and its arguments, checked. */
export interface Prepared {
  readonly kernel: string;
  readonly device: Device;
  readonly args: KernelArguments;
}

/** @internal */
export const inHalfOpen = (value: number) => value >= 0 && value < 1;
/** @internal */
export const notNegative = (value: number) => value >= 0;

/** @internal The options of every step as kernels take them. */
export function commonArguments(fn: string, options: StepOptions) {
  const { lr, weightDecay = 0, checkFinite = true } = options;
  checkNumber(fn, "lr", lr, ">= 0", notNegative);
  checkNumber(fn, "weightDecay", weightDecay, ">= 0", notNegative);
  return { lr, weightDecay, checkFinite: Number(checkFinite) };
}

/** @internal */
export function betaArguments(fn: string, [beta1, beta2]: readonly [number, number]) {
  checkNumber(fn, "betas[0]", beta1, "in [0, 1)", inHalfOpen);
  checkNumber(fn, "betas[1]", beta2, "in [0, 1)", inHalfOpen);
  return { beta1, beta2 };
}

/** @internal The tensors as kernels take them, after checking that they are vectors of one size on one device. */
export function vectorArguments(fn: string, tensors: Readonly<Record<string, Tensor>>) {
  checkFlat(fn, tensors);
  return Object.fromEntries(
    Object.entries(tensors).map(([name, tensor]) => [name, tensor.native(fn)]),
  );
}

/** @internal */
export async function runStep(fn: string, { kernel, device, args }: Prepared): Promise<void> {
  await call(fn, kernel, device, args);
}

/** @internal */
export function runStepSync(fn: string, { kernel, device, args }: Prepared): void {
  callSync(fn, kernel, device, args);
}
