import { kernel, type Task } from "../binding/index.js";
import { Tensor } from "../tensor/index.js";
import { checkSameDevice, checkTensor, rowsOf } from "./check.js";

/** Sums over rows, one for each column; changed by the kernel. */
export interface ColumnSums {
  /** `[in]` float64: x^2. */
  readonly squares: Tensor;
  /** `[in]` float64: |x|. */
  readonly magnitudes: Tensor;
  /** `[in]` float32: the largest |x|. */
  readonly largest: Tensor<"float32">;
}

export function newColumnSums(columns: number, device: Tensor["device"]): ColumnSums {
  const dtype = "float64";
  return {
    squares: Tensor.zeros([columns], { dtype, device }),
    magnitudes: Tensor.zeros([columns], { dtype, device }),
    largest: Tensor.zeros([columns], { device }),
  };
}

/** Adds the rows of x `[tokens, in]` float32, finite (`NON_FINITE` leaves the sums as they were). */
export function* accumulateColumns(fn: string, x: Tensor, sums: ColumnSums): Task<void> {
  checkTensor(fn, "X", x, ["float32"], ["tokens", sums.largest.shape[0] ?? 0]);
  checkSameDevice(fn, { X: x, statistics: sums.largest });
  const { rows, dispose } = rowsOf(x);
  try {
    yield* kernel(fn, "column_statistics", x.device, {
      x: rows.native(fn),
      squares: sums.squares.native(fn),
      magnitudes: sums.magnitudes.native(fn),
      largest: sums.largest.native(fn),
    });
  } finally {
    dispose();
  }
}
