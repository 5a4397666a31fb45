import { kernel, type Task } from "../binding/index.js";
import type { Tensor } from "../tensor/index.js";
import { checkSameDevice, checkTensor, rowsOf } from "./check.js";

/**
 * Adds `(reference - x)^T x` over the tokens to `accumulator`.
 *
 * @param x `[tokens, in]` float32: inputs of the compressed model.
 * @param reference `[tokens, in]` float32: inputs of the original model, the same tokens in the same order.
 * @param accumulator `[in, in]` float64 or float32.
 * @throws NumericalError `NON_FINITE`: the accumulator is as it was.
 * Cost: 2 * in^2 * tokens flops.
 */
export function* accumulateCrossGram(
  fn: string,
  x: Tensor,
  reference: Tensor,
  accumulator: Tensor,
): Task<void> {
  const columns = accumulator.shape[0] ?? 0;
  checkTensor(fn, "X", x, ["float32"], ["tokens", columns]);
  checkTensor(fn, "reference", reference, ["float32"], x.shape);
  checkSameDevice(fn, { X: x, reference, gram: accumulator });
  const held = [x, reference].map(rowsOf);
  try {
    const [a, b] = held.map((one) => one.rows.native(fn));
    yield* kernel(fn, "cross_gram", x.device, {
      x: a,
      reference: b,
      accumulator: accumulator.native(fn),
    });
  } finally {
    for (const one of held) one.dispose();
  }
}
