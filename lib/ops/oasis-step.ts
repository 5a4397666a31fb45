import { ArgumentError, expected } from "../errors.js";
import { nativeArray, type Tensor } from "../tensor/index.js";
import { checkInteger, checkNumber } from "./check.js";
import {
  type Prepared,
  type StepOptions,
  commonArguments,
  inHalfOpen,
  runStep,
  runStepSync,
  vectorArguments,
} from "./step-arguments.js";

export interface OasisState {
  readonly theta: Tensor;
  readonly grad: Tensor;
  /** A new estimate of the Hessian's diagonal. */
  readonly diagonal: Tensor;
  /** EMA of the estimates, with their signs. */
  readonly curvature: Tensor;
  /** EMA of the gradient, zeros before the first step. May be absent when beta1 is 0. */
  readonly m?: Tensor | undefined;
}

export interface OasisStepOptions extends StepOptions {
  /** Number of this step, from 1: corrects the bias of m. */
  readonly step: number;
  /** Of m, in [0, 1). Default 0: the gradient itself. */
  readonly beta1?: number | undefined;
  /** Of the curvature, in [0, 1]; 1 keeps it as it is. Default 0.99. */
  readonly beta2?: number | undefined;
  /** Smallest divisor, > 0. Default 0.01. */
  readonly alpha?: number | undefined;
}

function prepare(fn: string, state: OasisState, options: OasisStepOptions): Prepared {
  const { theta, grad, diagonal, curvature, m } = state;
  const { step, beta1 = 0, beta2 = 0.99, alpha = 1e-2 } = options;
  checkInteger(fn, "step", step, 1, Number.MAX_SAFE_INTEGER);
  checkNumber(fn, "beta1", beta1, "in [0, 1)", inHalfOpen);
  checkNumber(fn, "beta2", beta2, "in [0, 1]", (value) => value >= 0 && value <= 1);
  checkNumber(fn, "alpha", alpha, "> 0", (value) => value > 0);
  if (beta1 > 0 && m === undefined)
    throw new ArgumentError(expected(fn, "a tensor, since beta1 is above 0,", "m", m));
  const vectors = { theta, grad, diagonal, curvature, ...(m === undefined ? {} : { m }) };
  const tensors = vectorArguments(fn, vectors);
  return {
    kernel: "oasis_step",
    device: theta.device,
    args: {
      m: nativeArray(new Float32Array(0), "float32"),
      ...tensors,
      ...commonArguments(fn, options),
      beta1,
      beta2,
      alpha,
      step,
    },
  };
}

/**
 * One step of OASIS, in place: `curvature = EMA(curvature, diagonal)`, `m = EMA(m, grad)`,
 * `theta = (1 - lr weightDecay) theta - lr mhat / max(|curvature|, alpha)`. The estimates are averaged with their signs, so that noise
 * cancels. Tensors and errors as in `sgdMomentumStep`; 28 bytes an element, 20 without m.
 * Source: Jahani et al., Doubly adaptive scaled algorithm for machine learning using second-order information, 2022.
 */
export async function oasisStep(state: OasisState, options: OasisStepOptions): Promise<void> {
  const fn = "oasisStep";
  await runStep(fn, prepare(fn, state, options));
}

/** The blocking twin of `oasisStep`. */
export function oasisStepSync(state: OasisState, options: OasisStepOptions): void {
  const fn = "oasisStepSync";
  runStepSync(fn, prepare(fn, state, options));
}
