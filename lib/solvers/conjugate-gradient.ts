import { dot, moved, norm } from "./vector.js";

export interface CgResult {
  readonly x: Float64Array;
  readonly iterations: number;
  /** ||b - A x|| by the recurrence. */
  readonly residual: number;
  /** Set where a direction d has <d, A d> <= 0: A is not positive definite. */
  readonly negativeCurvature: boolean;
}

/**
 * Conjugate gradients for `A x = b` from 0 (Hestenes, Stiefel, 1952), until the residual is at most `tolerance * ||b||`. Every
 * iterate lowers the quadratic, so that <b, x> > 0.
 */
export async function conjugateGradient(
  product: (v: Float64Array) => Promise<Float64Array>,
  b: Float64Array,
  options: { tolerance: number; maxIterations: number },
): Promise<CgResult> {
  let x: Float64Array = new Float64Array(b.length);
  let r = b;
  let d = b;
  let square = dot(r, r);
  let iterations = 0;
  let negativeCurvature = false;
  const enough = options.tolerance * norm(b);
  while (iterations < options.maxIterations && Math.sqrt(square) > enough) {
    const product_ = await product(d);
    const curvature = dot(d, product_);
    if (!(curvature > 0)) {
      negativeCurvature = true;
      break;
    }
    const t = square / curvature;
    x = moved(x, t, d);
    r = moved(r, -t, product_);
    const next = dot(r, r);
    d = moved(r, next / square, d);
    square = next;
    iterations++;
  }
  return { x, iterations, residual: Math.sqrt(square), negativeCurvature };
}
