import { ArgumentError, expected } from "../errors.js";
import { type DType, Tensor } from "../tensor/index.js";
import { checkInteger } from "./check.js";
import { checkMatrices, contiguousOf } from "./matrices.js";
import type { Operation } from "./operation.js";

export interface OrthogonalizeOptions {
  /**
   * - `quintic` (default): `steps` times X <- (a I + b A + c A^2) X, A = X X^T, as Muon does. With its coefficients singular values
   *   end between 0.68 and 1.21, not at 1; those below 0.002 of the norm stay small.
   * - `polar`: minimax coefficients, until A = I to rounding.
   */
  readonly method?: "quintic" | "polar" | undefined;
  /** Default 5; of `polar` the most, default 40. */
  readonly steps?: number | undefined;
  /** a, b, c of `quintic`; default 3.4445, -4.775, 2.0315 (Muon). 2, -1.5, 0.5 converge to the polar factor, slowly. */
  readonly coefficients?: readonly [number, number, number] | undefined;
  /** Added to the norm that x is divided by, so that 0 gives 0; default 1e-7, and 0 for `polar`. */
  readonly eps?: number | undefined;
  /** Largest residual of `polar`, default 1e-2. */
  readonly tolerance?: number | undefined;
}

export interface OrthogonalizeResult<D extends DType> {
  /** `[..., m, n]`. */
  readonly factor: Tensor<D>;
  /** `|Y Y^T - I| / sqrt(m)` for m <= n, else of `Y^T Y` (Frobenius); of the worst matrix. */
  readonly residual: number;
  /** The most that a matrix took. */
  readonly iterations: number;
}

/** @internal The orthogonal factor, or what the quintic makes of it. */
export function orthogonalizeOperation<D extends DType>(
  fn: string,
  x: Tensor<D>,
  options: OrthogonalizeOptions,
): Operation<OrthogonalizeResult<D>> {
  checkMatrices(fn, "x", x);
  const { method = "quintic", coefficients = [3.4445, -4.775, 2.0315] } = options;
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- plain JavaScript may pass anything
  if (method !== "quintic" && method !== "polar")
    throw new ArgumentError(expected(fn, '"quintic" or "polar"', "method", method));
  const polar = method === "polar";
  const { steps = polar ? 40 : 5, eps = polar ? 0 : 1e-7, tolerance = 1e-2 } = options;
  checkInteger(fn, "steps", steps, 0, 1000);
  const [a, b, c] = coefficients;
  for (const [name, value] of Object.entries({ a, b, c, eps, tolerance })) {
    if (typeof value !== "number" || !Number.isFinite(value))
      throw new ArgumentError(expected(fn, "a finite number", name, value));
  }
  const temporaries: Tensor[] = [];
  const input = contiguousOf(x, temporaries);
  const factor = Tensor.empty(x.shape, { dtype: x.dtype, device: x.device });
  return {
    fn,
    kernel: "orthogonalize",
    device: x.device,
    args: {
      x: input.native(fn),
      y: factor.native(fn),
      polar: Number(polar),
      steps,
      a,
      b,
      c,
      eps,
      tolerance: polar ? tolerance : Number.MAX_VALUE,
    },
    temporaries,
    outputs: [factor],
    finish: (results) => ({
      factor,
      residual: results["residual"] ?? NaN,
      iterations: results["iterations"] ?? NaN,
    }),
  };
}
