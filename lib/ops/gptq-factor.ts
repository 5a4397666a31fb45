import { type CallOptions, kernel, run, type Task } from "../binding/index.js";
import { ArgumentError, ShapeError, expected } from "../errors.js";
import { Tensor, nativeArray } from "../tensor/index.js";
import { checkTensor, rowsOf } from "./check.js";

export interface GptqFactorOptions {
  /** Fraction of mean(diag H) added to the diagonal, >= 0. */
  readonly dampPercent: number;
  /** Process columns by falling diag H (stable). */
  readonly actOrder: boolean;
  /** Of the factorization. */
  readonly precision: "float32" | "float64";
}

/** What the column recursion needs of a layer's Gram matrix. */
export interface GptqFactor {
  /** `[in, in]` float32, strictly upper triangle only: N_ij = R_ij / R_jj in processing order. Rows are padded. */
  readonly factor: Tensor;
  /** `[in]` R_jj. */
  readonly diagonal: Float64Array;
  /** `[in]` column processed at each step. */
  readonly order: Int32Array;
  /** `[in]` 1 where diag H = 0. */
  readonly dead: Uint8Array;
  readonly deadColumns: number;
  /** What was added to the diagonal, absolute. */
  readonly damping: number;
}

/**
 * Factorizes a damped Gram matrix for GPTQ: H_d = R R^T with R upper triangular, one Cholesky of the reversed matrix.
 *
 * @param gram `[in, in]` float32 or float64, symmetric.
 * @throws NumericalError `NOT_POSITIVE_DEFINITE` (details.index: the column whose pivot failed), `NON_FINITE`; ShapeError.
 * Cost: in^3/3 flops, in^2 numbers of the precision. The caller disposes `factor`.
 */
export async function gptqFactor(
  gram: Tensor,
  options: GptqFactorOptions & CallOptions,
): Promise<GptqFactor> {
  return run(gptqFactorTask("gptqFactor", gram, options), options);
}

export function* gptqFactorTask(
  fn: string,
  gram: Tensor,
  options: GptqFactorOptions,
): Task<GptqFactor> {
  checkTensor(fn, "gram", gram, ["float32", "float64"], ["in", "in"]);
  const n = gram.shape[0] ?? 0;
  if (gram.shape[1] !== n)
    throw new ShapeError(expected(fn, "a square matrix", "gram", gram.shape));
  if (!(options.dampPercent >= 0) || !Number.isFinite(options.dampPercent)) {
    throw new ArgumentError(
      expected(fn, "a finite number >= 0", "dampPercent", options.dampPercent),
    );
  }
  const padded = Tensor.empty([n, n + 16], { device: gram.device }); // rows off the same cache sets
  const factor = padded.slice(1, 0, n);
  padded.dispose();
  const diagonal = new Float64Array(n);
  const order = new Int32Array(n);
  const dead = new Uint8Array(n);
  const { rows, dispose } = rowsOf(gram);
  try {
    const results = yield* kernel(
      fn,
      "gptq_factor",
      gram.device,
      {
        gram: rows.native(fn),
        factor: factor.native(fn),
        diagonal: nativeArray(diagonal, "float64"),
        order: nativeArray(order, "int32"),
        dead: nativeArray(dead, "uint8"),
        dampPercent: options.dampPercent,
        actOrder: Number(options.actOrder),
        precision: options.precision === "float64" ? 64 : 32,
      },
      { reports: true },
    );
    return {
      factor,
      diagonal,
      order,
      dead,
      deadColumns: results["deadColumns"] ?? 0,
      damping: results["damping"] ?? 0,
    };
  } catch (error) {
    factor.dispose();
    throw error;
  } finally {
    dispose();
  }
}
