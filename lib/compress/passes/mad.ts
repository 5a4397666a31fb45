import { ArgumentError, expected } from "../../errors.js";
import { binary } from "../../ops/binary.js";
import { checkSameDevice, checkTensor } from "../../ops/check.js";
import { matmul } from "../../ops/matmul.js";
import { unary } from "../../ops/unary.js";
import type { Tensor } from "../../tensor/index.js";

/** Smallest value of the mask link f(m) = log(1 + e^m); the largest is 1. */
const LEAST = 1e-4;

/** The x with log(1 + e^x) = y: where a soft mask of value y begins. Values below 1e-4 count as that. */
export function softplusInverse(y: number): number {
  if (!(y >= 0)) throw new ArgumentError(expected("softplusInverse", "a number >= 0", "y", y));
  const value = Math.max(LEAST, y);
  return value + Math.log(-Math.expm1(-value));
}

export interface MadStatistics {
  /** `[in, in]` float32: E[a a^T] of the layer's inputs. */
  readonly inputs: Tensor;
  /** `[out]` float32: E[g_i^2] of the gradients of its outputs, the diagonal of the other K-FAC factor. */
  readonly outputs: Tensor;
}

/**
 * The saliency of masking adversarial damage: the increase of the adversarial loss, by the row blocks of its K-FAC matrix, when
 * the weights change from W to W o mask: `1/2 G_ii dW_ij (dW A)_ij`, `dW = W - W o mask`.
 *
 * A single element can be negative, the sum of a row cannot. Average over batches, then prune the smallest.
 *
 * @param W `[out, in]` float32. Not changed.
 * @param mask `[out, in]` float32: f(m) of the soft mask that was optimised on adversarial inputs; 1 leaves a weight alone.
 * @param statistics K-FAC factors of the layer on those inputs.
 * @returns `[out, in]` float32; the caller disposes it. Queued.
 * @throws ShapeError, DTypeError, DeviceError, DisposedError.
 * Cost: 2 out in^2 flops.
 * Source: Lee, Kim, Ro, "Masking Adversarial Damage", 2022.
 */
export function madSaliency(
  W: Tensor,
  mask: Tensor,
  { inputs, outputs }: MadStatistics,
): Tensor<"float32"> {
  const fn = "madSaliency";
  checkTensor(fn, "W", W, ["float32"], ["out", "in"]);
  const [out = 0, columns = 0] = W.shape;
  checkTensor(fn, "mask", mask, ["float32"], [out, columns]);
  checkTensor(fn, "inputs", inputs, ["float32"], [columns, columns]);
  checkTensor(fn, "outputs", outputs, ["float32"], [out]);
  checkSameDevice(fn, { W, mask, inputs, outputs });
  using masked = binary(fn, "multiply", W, mask);
  using change = binary(fn, "subtract", W, masked);
  using spread = matmul(change, inputs);
  using product = binary(fn, "multiply", change, spread);
  using line = outputs.contiguous();
  using scale = line.reshape([out, 1]);
  using half = unary(fn, "affine", scale, { alpha: 0.5, beta: 0 });
  return binary(fn, "multiply", product, half) as Tensor<"float32">;
}
