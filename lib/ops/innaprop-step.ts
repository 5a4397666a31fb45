import { ArgumentError, expected } from "../errors.js";
import type { Tensor } from "../tensor/index.js";
import { checkInteger, checkNumber } from "./check.js";
import {
  type Prepared,
  type StepOptions,
  commonArguments,
  inHalfOpen,
  notNegative,
  runStep,
  runStepSync,
  vectorArguments,
} from "./step-arguments.js";

export interface InnapropState {
  readonly theta: Tensor;
  readonly grad: Tensor;
  /** `psi - (1 - alpha beta) theta` of the published form: zeros before the first step. */
  readonly lag: Tensor;
  /** EMA of the squared gradient, zeros before the first step. */
  readonly v: Tensor;
}

export interface InnapropStepOptions extends StepOptions {
  /** Number of this step, from 1: corrects the bias of v. */
  readonly step: number;
  /** Viscous damping, >= 0. Default 0.1. */
  readonly alpha?: number | undefined;
  /** Damping by the Hessian, above lr. Default 0.9. */
  readonly beta?: number | undefined;
  /** Of v, in [0, 1). Default 0.999. */
  readonly sigma?: number | undefined;
  /** Added to the root, >= 0. Default 1e-8. */
  readonly eps?: number | undefined;
}

function prepare(fn: string, state: InnapropState, options: InnapropStepOptions): Prepared {
  const { theta, grad, lag, v } = state;
  const { step, lr, alpha = 0.1, beta = 0.9, sigma = 0.999, eps = 1e-8 } = options;
  checkInteger(fn, "step", step, 1, Number.MAX_SAFE_INTEGER);
  checkNumber(fn, "alpha", alpha, ">= 0", notNegative);
  checkNumber(fn, "beta", beta, "> 0", (value) => value > 0);
  checkNumber(fn, "sigma", sigma, "in [0, 1)", inHalfOpen);
  checkNumber(fn, "eps", eps, ">= 0", notNegative);
  const tensors = vectorArguments(fn, { theta, grad, lag, v });
  const common = commonArguments(fn, options);
  if (lr >= beta)
    throw new ArgumentError(expected(fn, `a number below beta, which is ${beta},`, "lr", lr));
  return {
    kernel: "innaprop_step",
    device: theta.device,
    args: { ...tensors, ...common, alpha, beta, sigma, eps, step },
  };
}

/**
 * One step of INNAprop, in place: `v = EMA(v, grad^2)`, `u = grad / (sqrt(vhat) + eps)`, theta decayed by `1 - lr weightDecay`, and
 * `psi = (1 - lr / beta) psi + lr (1 / beta - alpha) theta`,
 * `theta = (1 + lr (1 - alpha beta) / (beta - lr)) theta - lr / (beta - lr) psi - lr beta u`.
 * The state holds psi's distance from `(1 - alpha beta) theta`: the same numbers, with no first step that sets psi and no
 * difference of nearly equal terms. Tensors and errors as in `sgdMomentumStep`; 28 bytes an element.
 * Source: Bolte, Boustany, Pauwels, Purica, A second-order-like optimizer with adaptive gradient scaling, 2024.
 */
export async function innapropStep(
  state: InnapropState,
  options: InnapropStepOptions,
): Promise<void> {
  const fn = "innapropStep";
  await runStep(fn, prepare(fn, state, options));
}

/** The blocking twin of `innapropStep`. */
export function innapropStepSync(state: InnapropState, options: InnapropStepOptions): void {
  const fn = "innapropStepSync";
  runStepSync(fn, prepare(fn, state, options));
}
