import { enqueue } from "../binding/index.js";
import { ArgumentError, expected } from "../errors.js";
import type { DType, Tensor } from "../tensor/index.js";
import { checkSameDevice, checkTensor } from "./check.js";
import { checkMatrices, contiguousOf } from "./matrices.js";

export interface SyrkEmaOptions {
  /** What is kept of the state; 0 does not read it. */
  readonly beta: number;
  /** Factor of the new product. A running average has `1 - beta`, a running sum 1. */
  readonly weight: number;
  /** `x x^T` instead of `x^T x`; default false. */
  readonly transposed?: boolean | undefined;
}

/**
 * The running statistic of a Kronecker factor, in place: `state = beta state + weight x^T x`. Queued.
 *
 * @param state `[..., d, d]` float32 or float64, contiguous, symmetric: its lower half is read; both halves are written, equal
 *   to the last bit.
 * @param x `[..., m, k]` of the same dtype, device and leading dimensions; d = k, or m when `transposed`.
 * @throws ShapeError, DTypeError, DeviceError, ArgumentError, DisposedError
 * Cost: m k d flops a matrix.
 */
export function syrkEma<D extends DType>(
  state: Tensor<D>,
  x: Tensor<D>,
  { beta, weight, transposed = false }: SyrkEmaOptions,
): void {
  const fn = "syrkEma";
  checkMatrices(fn, "x", x);
  const d = x.shape.at(transposed ? -2 : -1) ?? 0;
  checkTensor(fn, "state", state, [x.dtype], [...x.shape.slice(0, -2), d, d]);
  checkSameDevice(fn, { state, x });
  if (!state.isContiguous)
    throw new ArgumentError(expected(fn, "a contiguous tensor", "state", state.strides));
  for (const [name, value] of Object.entries({ beta, weight })) {
    if (typeof value !== "number" || !Number.isFinite(value))
      throw new ArgumentError(expected(fn, "a finite number", name, value));
  }
  const temporaries: Tensor[] = [];
  const input = contiguousOf(x, temporaries);
  try {
    enqueue(fn, "syrk_ema", x.device, {
      x: input.native(fn),
      state: state.native(fn),
      beta,
      weight,
      transposed: Number(transposed),
    });
  } finally {
    for (const copy of temporaries) copy.dispose();
  }
}
