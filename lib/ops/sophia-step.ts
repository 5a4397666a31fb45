import { Tensor } from "../tensor/index.js";
import { checkNumber } from "./check.js";
import {
  type StepOptions,
  commonArguments,
  inHalfOpen,
  runStep,
  runStepSync,
  vectorArguments,
} from "./step-arguments.js";

export interface SophiaState {
  readonly theta: Tensor;
  readonly grad: Tensor;
  /** EMA of the gradient, zeros before the first step. */
  readonly m: Tensor;
  /** Curvature, read only: EMA of ghat^2 (>= 0) or of z o Hz (any sign). */
  readonly h: Tensor;
}

export interface SophiaStepOptions extends StepOptions {
  /** Of m, in [0, 1). Default 0.965. */
  readonly beta1?: number | undefined;
  /** > 0. Default 0.04. */
  readonly rho?: number | undefined;
  /** What h averages: `{ batch }` independent label draws a mean (Gauss-Newton-Bartlett), or Hutchinson's z o Hz. */
  readonly curvature: { readonly batch: number } | "hutchinson";
}

function prepareSophia(fn: string, state: SophiaState, options: SophiaStepOptions) {
  const { theta, grad, m, h } = state;
  const { beta1 = 0.965, rho = 0.04, curvature } = options;
  checkNumber(fn, "beta1", beta1, "in [0, 1)", inHalfOpen);
  checkNumber(fn, "rho", rho, "> 0", (value) => value > 0);
  const hutchinson = curvature === "hutchinson";
  let scale = rho;
  if (!hutchinson) {
    const { batch } = { ...curvature };
    checkNumber(fn, "curvature.batch", batch, "> 0", (value) => value > 0);
    scale *= batch;
  }
  const tensors = vectorArguments(fn, { theta, grad, m, h });
  const common = commonArguments(fn, options);
  const clipped = Tensor.empty([1], { dtype: "float64", device: theta.device });
  return {
    clipped,
    kernel: "sophia_step",
    device: theta.device,
    args: {
      ...tensors,
      ...common,
      clipped: clipped.native(fn),
      beta1,
      scale,
      hutchinson: Number(hutchinson),
    },
  };
}

/**
 * One step of Sophia, in place: `m = EMA(m, grad)`, `theta = (1 - lr weightDecay) theta - lr sign(m) min(1, |m| / denominator)`, the
 * denominator `rho batch h + 1e-15` or, for Hutchinson's h, `max(rho h, 1e-12)`.
 * Tensors and errors as in `sgdMomentumStep`; 24 bytes an element. Source: Liu et al., Sophia, 2023, and its code.
 *
 * @returns how many elements were clipped, that is moved by all of lr.
 */
export async function sophiaStep(state: SophiaState, options: SophiaStepOptions): Promise<number> {
  const fn = "sophiaStep";
  const prepared = prepareSophia(fn, state, options);
  using clipped = prepared.clipped;
  await runStep(fn, prepared);
  return (await clipped.data())[0] ?? Number.NaN;
}

/** The blocking twin of `sophiaStep`. */
export function sophiaStepSync(state: SophiaState, options: SophiaStepOptions): number {
  const fn = "sophiaStepSync";
  const prepared = prepareSophia(fn, state, options);
  using clipped = prepared.clipped;
  runStepSync(fn, prepared);
  return clipped.dataSync()[0] ?? Number.NaN;
}
