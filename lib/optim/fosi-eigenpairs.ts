import { hessianOperator, type BatchLoss } from "../curvature/hessian-operator.js";
import type { Parameter } from "../nn/parameter.js";
import { lanczos } from "../linalg/index.js";
import { Tensor } from "../tensor/index.js";

/** What FOSI takes of a Hessian. */
export interface Eigenpairs {
  /** `[count, n]` float64 of unit length; the caller disposes it. */
  readonly vectors: Tensor;
  /** 1 / |eigenvalue| for each; 0 where the pair is left out. */
  readonly inverse: readonly number[];
  /** Largest |eigenvalue| over the smallest of the `largest` ones: how much the base's step may grow. */
  readonly scale: number;
}

interface Question {
  readonly largest: number;
  readonly smallest: number;
  readonly batches: number;
  readonly seed: number;
}

/** Eigenvalues below this share of the largest are taken as that. */
const leastShare = 1e-4;
/** Pairs with a residual above this share of the eigenvalue are not trusted. */
const worstResidual = 0.1;

/** Lanczos' method on the Hessian of the mean loss over batches, with start vectors from the seed. */
export async function extremeEigenpairs(
  loss: BatchLoss,
  params: readonly Parameter[],
  { largest, smallest, batches, seed }: Question,
): Promise<Eigenpairs> {
  const n = params.reduce((sum, { tensor }) => sum + tensor.size, 0);
  const count = largest + smallest;
  const steps = Math.min(n, Math.max(4 * count, Math.ceil(2 * Math.log(n))));
  const device = params[0]?.tensor.device;
  const found = await lanczos(hessianOperator(loss, params, batches), {
    size: n,
    device,
    seed,
    steps,
    vectors: { largest, smallest },
  });
  const { values, residuals } = found;
  const most = Math.max(...Array.from(values, Math.abs));
  const kept = Array.from(values.keys()).filter(
    (i) => i < smallest || i >= values.length - largest,
  );
  const trusted = (i: number) => {
    const size = Math.abs(values[i] ?? 0);
    return size > 0 && (residuals[i] ?? Infinity) <= worstResidual * size;
  };
  const inverse = kept.map((i) =>
    trusted(i) ? 1 / Math.max(Math.abs(values[i] ?? 0), leastShare * most) : 0,
  );
  const top = inverse.slice(-largest).filter((one) => one > 0);
  const scale = largest > 0 && top.length > 0 ? Math.max(...top) / Math.min(...top) : 1;
  return { vectors: found.vectors ?? Tensor.zeros([0, n]), inverse, scale };
}
