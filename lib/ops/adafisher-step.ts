import { ShapeError, expected } from "../errors.js";
import type { Tensor } from "../tensor/index.js";
import { checkInteger, checkNumber, checkSameDevice, checkTensor } from "./check.js";
import {
  type Prepared,
  type StepOptions,
  commonArguments,
  inHalfOpen,
  runStep,
  runStepSync,
  vectorArguments,
} from "./step-arguments.js";

export interface AdaFisherState {
  readonly theta: Tensor;
  readonly grad: Tensor;
  /** EMA of the gradient, zeros before the first step. */
  readonly m: Tensor;
  /**
   * Diagonals of the two factors of the layer's Fisher matrix, `[rows]` and `[columns]`, for theta as a matrix of that shape;
   * >= 0. Absent: the divisor is 1.
   */
  readonly factors?: { readonly rows: Tensor; readonly columns: Tensor } | undefined;
}

export interface AdaFisherStepOptions extends StepOptions {
  /** Number of this step, from 1: corrects the bias of m. */
  readonly step: number;
  /** Of m, in [0, 1). Default 0.9. */
  readonly beta?: number | undefined;
  /** Added to the product of the diagonals, > 0. Default 1e-3. */
  readonly damping?: number | undefined;
  /** weightDecay theta is added to the gradient instead of to the step. Default false. */
  readonly l2?: boolean | undefined;
}

function prepare(fn: string, state: AdaFisherState, options: AdaFisherStepOptions): Prepared {
  const { theta, grad, m, factors } = state;
  const { step, beta = 0.9, damping = 1e-3, l2 = false } = options;
  checkInteger(fn, "step", step, 1, Number.MAX_SAFE_INTEGER);
  checkNumber(fn, "beta", beta, "in [0, 1)", inHalfOpen);
  checkNumber(fn, "damping", damping, "> 0", (value) => value > 0);
  const tensors = vectorArguments(fn, { theta, grad, m });
  if (factors !== undefined) {
    const { rows, columns } = factors;
    checkTensor(fn, "factors.rows", rows, ["float32"], ["rows"]);
    checkTensor(fn, "factors.columns", columns, ["float32"], ["columns"]);
    checkSameDevice(fn, { theta, rows, columns });
    if (rows.size * columns.size !== theta.size)
      throw new ShapeError(
        expected(fn, `the ${theta.size} elements of theta`, "rows times columns", [
          rows.size,
          columns.size,
        ]),
      );
  }
  return {
    kernel: "adafisher_step",
    device: theta.device,
    args: {
      ...tensors,
      ...commonArguments(fn, options),
      rows: factors?.rows.native(fn),
      columns: factors?.columns.native(fn),
      beta,
      damping,
      l2: Number(l2),
      step,
    },
  };
}

/**
 * One step of AdaFisher, in place: `m = EMA(m, grad)`, `theta_ij = (1 - lr weightDecay) theta_ij - lr mhat_ij / (rows_i columns_j +
 * damping)`; the matrix of divisors is never formed. Tensors and errors as in `sgdMomentumStep`; 20 bytes an element.
 * Source: Martins Gomes et al., AdaFisher: adaptive second order optimization via Fisher information, 2025.
 */
export async function adaFisherStep(
  state: AdaFisherState,
  options: AdaFisherStepOptions,
): Promise<void> {
  const fn = "adaFisherStep";
  await runStep(fn, prepare(fn, state, options));
}

/** The blocking twin of `adaFisherStep`. */
export function adaFisherStepSync(state: AdaFisherState, options: AdaFisherStepOptions): void {
  const fn = "adaFisherStepSync";
  runStepSync(fn, prepare(fn, state, options));
}
