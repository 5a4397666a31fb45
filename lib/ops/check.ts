import { ArgumentError, DTypeError, DeviceError, ShapeError, expected } from "../errors.js";
import type { DType } from "../tensor/index.js";
import { Tensor } from "../tensor/index.js";

/**
 * Checks that `value` is a live tensor of one of `dtypes` with as many dimensions as `dims`, where a number must match and
 * a name stands for any size: `checkTensor("gptq", "W", W, ["float32"], ["out", "in"])`.
 */
export function checkTensor(
  fn: string,
  name: string,
  value: unknown,
  dtypes: readonly DType[],
  dims: readonly (number | string)[],
): asserts value is Tensor {
  if (!(value instanceof Tensor)) throw new ArgumentError(expected(fn, "a Tensor", name, value));
  const tensor = value as Tensor;
  tensor.native(fn); // throws DisposedError
  if (!dtypes.includes(tensor.dtype)) {
    throw new DTypeError(expected(fn, dtypes.join(" or "), `the dtype of ${name}`, tensor.dtype));
  }
  const fits =
    tensor.rank === dims.length &&
    dims.every((dim, axis) => typeof dim === "string" || tensor.shape[axis] === dim);
  if (!fits) throw new ShapeError(expected(fn, `shape [${dims.join(", ")}]`, name, tensor.shape));
}

/** Checks that all tensors are on one device. */
export function checkSameDevice(fn: string, tensors: Readonly<Record<string, Tensor>>): void {
  const devices = Object.entries(tensors).map(([name, tensor]) => `${name} on ${tensor.device}`);
  if (new Set(Object.values(tensors).map((tensor) => tensor.device)).size > 1) {
    throw new DeviceError(
      "DEVICE_UNAVAILABLE",
      `${fn}: expected tensors of one device but received ${devices.join(", ")}`,
    );
  }
}

/** Checks an integer option against an inclusive range. */
export function checkInteger(
  fn: string,
  name: string,
  value: unknown,
  low: number,
  high: number,
): asserts value is number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < low || value > high) {
    const range =
      high === Number.MAX_SAFE_INTEGER
        ? `an integer >= ${low}`
        : `an integer from ${low} to ${high}`;
    throw new ArgumentError(expected(fn, range, name, value));
  }
}

/** Checks a finite number option; `what` says in words which ones `allowed` lets through. */
export function checkNumber(
  fn: string,
  name: string,
  value: unknown,
  what: string,
  allowed: (value: number) => boolean,
): asserts value is number {
  if (typeof value !== "number" || !Number.isFinite(value) || !allowed(value))
    throw new ArgumentError(expected(fn, `a number ${what}`, name, value));
}

/** Checks live, contiguous float32 tensors of as many elements as the first, on one device. Shapes may differ. */
export function checkFlat(fn: string, tensors: Readonly<Record<string, Tensor>>): void {
  const [first] = Object.entries(tensors);
  for (const [name, tensor] of Object.entries(tensors)) {
    checkTensor(fn, name, tensor, ["float32"], (tensor as Tensor | undefined)?.shape ?? []);
    if (!tensor.isContiguous)
      throw new ArgumentError(expected(fn, "a contiguous tensor", name, "a strided view"));
    if (first && tensor.size !== first[1].size) {
      const what = `the ${first[1].size} elements of ${first[0]}`;
      throw new ShapeError(expected(fn, what, name, tensor.shape));
    }
  }
  checkSameDevice(fn, tensors);
}

/** A tensor kernels can read row by row: itself when its rows are contiguous, else a copy the caller disposes. */
export function rowsOf(x: Tensor): { rows: Tensor; dispose: () => void } {
  if (x.rank === 2 && (x.strides[1] === 1 || x.shape[1] === 1))
    return { rows: x, dispose: () => undefined };
  const rows = x.contiguous();
  return {
    rows,
    dispose: () => {
      rows.dispose();
    },
  };
}
