import type { CallOptions } from "../binding/index.js";
import { run, runSync } from "../ops/operation.js";
import {
  orthogonalizeOperation,
  type OrthogonalizeOptions,
  type OrthogonalizeResult,
} from "../ops/orthogonalize.js";
import type { DType, Tensor } from "../tensor/index.js";

/**
 * Moves the singular values of a matrix to 1 or near it: `U S V^T` becomes about `U V^T`.
 *
 * @param x `[..., m, n]` float32 or float64.
 * @returns the factor (the caller disposes it), its residual and the number of steps. The factor of 0 is 0 (`quintic`).
 * @throws NumericalError `NON_FINITE` (details.index: flat position), `NOT_CONVERGED` (`polar`: a matrix of lower rank, or too few
 *   steps; details.residual, details.iterations); ShapeError, DTypeError, ArgumentError, DisposedError.
 * Cost: 3 d^2 e + d^3 flops a step and matrix, d <= e its sides.
 * Sources: Jordan et al., Muon, 2024; Amsel et al., The Polar Express, 2025.
 */
export async function orthogonalize<D extends DType>(
  x: Tensor<D>,
  options: OrthogonalizeOptions & CallOptions = {},
): Promise<OrthogonalizeResult<D>> {
  return await run(orthogonalizeOperation("orthogonalize", x, options), options);
}

/** Like `orthogonalize`, blocking. */
export function orthogonalizeSync<D extends DType>(
  x: Tensor<D>,
  options: OrthogonalizeOptions = {},
): OrthogonalizeResult<D> {
  return runSync(orthogonalizeOperation("orthogonalizeSync", x, options));
}
