import type { Tensor } from "../tensor/index.js";
import type { AdamwState } from "./adamw-step.js";
import { checkInteger, checkNumber } from "./check.js";
import { type Segments, nativeSegments } from "./segments.js";
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

export interface AdaHessianState extends AdamwState {
  /** Estimate of the Hessian's diagonal: z o Hz, |Hz|, or the mean of several. Its sign does not matter. */
  readonly diagonal: Tensor;
}

export interface AdaHessianStepOptions extends StepOptions {
  /** Number of this step, from 1. */
  readonly step: number;
  /** Of m and v, in [0, 1). Default (0.9, 0.999). */
  readonly betas?: readonly [number, number] | undefined;
  /** >= 0. Default 1e-4. */
  readonly eps?: number | undefined;
  /** Power of the root of the averaged curvature, 0 to 1. Default 1; 0 is momentum SGD with lr / (1 + eps). */
  readonly hessianPower?: number | undefined;
  /** Least denominator, bounding the step where there is no curvature. Default 0: as published. Ours. */
  readonly minDenominator?: number | undefined;
  /** The tensors in the vector, |diagonal| being averaged over runs of `block` elements. Default: no averaging. */
  readonly segments?: Segments | undefined;
}

function prepareAdaHessian(
  fn: string,
  state: AdaHessianState,
  options: AdaHessianStepOptions,
): Prepared {
  const { theta, grad, diagonal, m, v } = state;
  const { step, eps = 1e-4, hessianPower = 1, minDenominator = 0 } = options;
  checkInteger(fn, "step", step, 1, Number.MAX_SAFE_INTEGER);
  checkNumber(fn, "eps", eps, ">= 0", notNegative);
  checkNumber(fn, "hessianPower", hessianPower, "in [0, 1]", (power) => power >= 0 && power <= 1);
  checkNumber(fn, "minDenominator", minDenominator, ">= 0", notNegative);
  const decays = betaArguments(fn, options.betas ?? [0.9, 0.999]);
  const tensors = vectorArguments(fn, { theta, grad, diagonal, m, v });
  const segments = nativeSegments(fn, options.segments, theta.size);
  return {
    kernel: "adahessian_step",
    device: theta.device,
    args: {
      ...tensors,
      ...commonArguments(fn, options),
      ...decays,
      eps,
      step,
      hessianPower,
      minDenominator,
      segments,
    },
  };
}

/**
 * One step of AdaHessian, in place, given the product of the Hessian with a probe: `v = EMA(v, d^2)`,
 * `theta -= lr (mhat / (sqrt(vhat)^hessianPower + eps) + weightDecay theta)`, d the mean of |diagonal| over the element's block.
 * Tensors and errors as in `sgdMomentumStep`; 32 bytes an element.
 * Source: Yao et al., AdaHessian, 2021, and its code (absolute value before the average).
 */
export async function adaHessianStep(
  state: AdaHessianState,
  options: AdaHessianStepOptions,
): Promise<void> {
  const fn = "adaHessianStep";
  await runStep(fn, prepareAdaHessian(fn, state, options));
}

/** The blocking twin of `adaHessianStep`. */
export function adaHessianStepSync(state: AdaHessianState, options: AdaHessianStepOptions): void {
  const fn = "adaHessianStepSync";
  runStepSync(fn, prepareAdaHessian(fn, state, options));
}
