import type { Tensor } from "../tensor/index.js";
import { checkInteger, checkNumber } from "./check.js";
import {
  type Prepared,
  type StepOptions,
  betaArguments,
  commonArguments,
  notNegative,
  runStep,
  runStepSync,
  vectorArguments,
} from "./step-arguments.js";

export interface AdamwState {
  readonly theta: Tensor;
  readonly grad: Tensor;
  /** EMA of the gradient, zeros before the first step. */
  readonly m: Tensor;
  /** EMA of its square, zeros before the first step. */
  readonly v: Tensor;
}

export interface AdamwStepOptions extends StepOptions {
  /** Number of this step, from 1: corrects the bias of the averages. */
  readonly step: number;
  /** Of m and v, in [0, 1). Default (0.9, 0.999). */
  readonly betas?: readonly [number, number] | undefined;
  /** Added to the root, >= 0. Default 1e-8. */
  readonly eps?: number | undefined;
}

function prepareAdamw(fn: string, state: AdamwState, options: AdamwStepOptions): Prepared {
  const { theta, grad, m, v } = state;
  const { step, eps = 1e-8 } = options;
  checkInteger(fn, "step", step, 1, Number.MAX_SAFE_INTEGER);
  checkNumber(fn, "eps", eps, ">= 0", notNegative);
  const decays = betaArguments(fn, options.betas ?? [0.9, 0.999]);
  const tensors = vectorArguments(fn, { theta, grad, m, v });
  return {
    kernel: "adamw_step",
    device: theta.device,
    args: { ...tensors, ...commonArguments(fn, options), ...decays, eps, step },
  };
}

/**
 * One step of AdamW, in place: `theta -= lr (mhat / (sqrt(vhat) + eps) + weightDecay theta)`. An element whose m is zero does not
 * move, whatever eps. Tensors and errors as in `sgdMomentumStep`; 28 bytes an element.
 * Source: Loshchilov and Hutter, Decoupled weight decay regularization, 2019.
 */
export async function adamwStep(state: AdamwState, options: AdamwStepOptions): Promise<void> {
  const fn = "adamwStep";
  await runStep(fn, prepareAdamw(fn, state, options));
}

/** The blocking twin of `adamwStep`. */
export function adamwStepSync(state: AdamwState, options: AdamwStepOptions): void {
  const fn = "adamwStepSync";
  runStepSync(fn, prepareAdamw(fn, state, options));
}
