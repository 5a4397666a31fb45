import type { Tensor } from "../tensor/index.js";
import { checkNumber } from "./check.js";
import {
  type Prepared,
  type StepOptions,
  commonArguments,
  inHalfOpen,
  runStep,
  runStepSync,
  vectorArguments,
} from "./step-arguments.js";

export interface SgdState {
  readonly theta: Tensor;
  readonly grad: Tensor;
  /** Zeros before the first step. */
  readonly buffer: Tensor;
}

export interface SgdStepOptions extends StepOptions {
  /** In [0, 1). Default 0.9. */
  readonly momentum?: number | undefined;
  /** Default false. */
  readonly nesterov?: boolean | undefined;
}

function prepareSgd(fn: string, state: SgdState, options: SgdStepOptions): Prepared {
  const { theta, grad, buffer } = state;
  const { momentum = 0.9, nesterov = false } = options;
  checkNumber(fn, "momentum", momentum, "in [0, 1)", inHalfOpen);
  const tensors = vectorArguments(fn, { theta, grad, buffer });
  return {
    kernel: "sgd_momentum_step",
    device: theta.device,
    args: { ...tensors, ...commonArguments(fn, options), momentum, nesterov: Number(nesterov) },
  };
}

/**
 * One step of SGD with momentum, in place: `g = grad + weightDecay theta; buffer = momentum buffer + g; theta -= lr buffer`, or
 * with `nesterov` `theta -= lr (g + momentum buffer)`.
 *
 * The tensors are float32, contiguous, of one size and one device, and share no memory. 20 bytes of memory traffic an
 * element. It cannot be aborted: half a step would be a wrong number.
 *
 * @throws ArgumentError, ShapeError, DTypeError, NumericalError (`NON_FINITE`)
 */
export async function sgdMomentumStep(state: SgdState, options: SgdStepOptions): Promise<void> {
  const fn = "sgdMomentumStep";
  await runStep(fn, prepareSgd(fn, state, options));
}

/** The blocking twin of `sgdMomentumStep`. */
export function sgdMomentumStepSync(state: SgdState, options: SgdStepOptions): void {
  const fn = "sgdMomentumStepSync";
  runStepSync(fn, prepareSgd(fn, state, options));
}
