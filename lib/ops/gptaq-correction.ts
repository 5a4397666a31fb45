import { kernel, type Task } from "../binding/index.js";
import { ShapeError, expected } from "../errors.js";
import { Tensor, nativeArray } from "../tensor/index.js";
import { checkNumber, checkSameDevice, checkTensor, rowsOf } from "./check.js";
import type { GptqFactor } from "./gptq-factor.js";

/**
 * What the column recursion of GPTAQ adds: column j gets sum over earlier columns of w_i M_ij.
 *
 * @param cross `[in, in]` float32 or float64: the sum of (x_fp - x)^T x over tokens.
 * @param factor of the layer's matrix, from `gptqFactor`.
 * @param scale factor of `cross`, so that it is scaled as the matrix that was factored: 2 / N.
 * @param alpha share of the correction.
 * @returns M `[in, in]` float32, strictly upper, in processing order; the caller disposes it.
 * Cost: in^3 flops. Source: Li et al., GPTAQ, 2025; ours: no inverse is formed.
 */
export function* gptaqCorrection(
  fn: string,
  cross: Tensor,
  factor: GptqFactor,
  { scale, alpha }: { readonly scale: number; readonly alpha: number },
): Task<Tensor<"float32">> {
  checkTensor(fn, "cross", cross, ["float32", "float64"], ["in", "in"]);
  const n = cross.shape[0] ?? 0;
  checkTensor(fn, "factor", factor.factor, ["float32"], [n, n]);
  checkSameDevice(fn, { cross, factor: factor.factor });
  if (factor.order.length !== n)
    throw new ShapeError(expected(fn, `${n} entries`, "factor.order", factor.order.length));
  checkNumber(fn, "scale", scale, "that is finite", () => true);
  checkNumber(fn, "alpha", alpha, "that is finite", () => true);
  const correction = Tensor.empty([n, n], { device: cross.device });
  const { rows, dispose } = rowsOf(cross);
  try {
    yield* kernel(fn, "gptaq_correction", cross.device, {
      cross: rows.native(fn),
      factor: factor.factor.native(fn),
      diagonal: nativeArray(factor.diagonal, "float64"),
      order: nativeArray(factor.order, "int32"),
      dead: nativeArray(factor.dead, "uint8"),
      correction: correction.native(fn),
      scale,
      alpha,
    });
    return correction;
  } catch (error) {
    correction.dispose();
    throw error;
  } finally {
    dispose();
  }
}
