import type { NativeTensor } from "../binding/index.js";
import { DTypeError, ShapeError, expected } from "../errors.js";
import { Tensor } from "../tensor/index.js";
import { ArgumentError } from "../errors.js";

/** Element types that are computed and differentiated in. */
export type RealDType = "float32" | "float64";

/** Checks that `value` is a live tensor of float32 or float64. */
export function checkReal(
  fn: string,
  name: string,
  value: unknown,
): asserts value is Tensor<RealDType> {
  if (!(value instanceof Tensor)) throw new ArgumentError(expected(fn, "a Tensor", name, value));
  if (value.dtype !== "float32" && value.dtype !== "float64") {
    throw new DTypeError(expected(fn, "float32 or float64", `the dtype of ${name}`, value.dtype));
  }
}

/** Checks that b has the dtype and the device of a. */
export function checkLike(fn: string, a: Tensor, name: string, b: Tensor): void {
  if (a.dtype !== b.dtype)
    throw new DTypeError(expected(fn, a.dtype, `the dtype of ${name}`, b.dtype));
  if (a.device !== b.device)
    throw new ArgumentError(
      expected(fn, `device "${a.device}"`, `the device of ${name}`, b.device),
    );
}

/** The shape two shapes broadcast to, as in NumPy: right-aligned, a dimension of 1 repeats. */
export function broadcastShape(
  fn: string,
  a: readonly number[],
  b: readonly number[],
): readonly number[] {
  if (a.length === b.length && a.every((length, i) => length === b[i])) return a;
  const rank = Math.max(a.length, b.length);
  const shape = new Array<number>(rank);
  for (let i = 1; i <= rank; ++i) {
    const x = a[a.length - i] ?? 1;
    const y = b[b.length - i] ?? 1;
    if (x !== y && x !== 1 && y !== 1) {
      throw new ShapeError(
        `${fn}: expected shapes that broadcast but received [${a.join(", ")}] and [${b.join(", ")}]`,
      );
    }
    shape[rank - i] = x === 1 ? y : x;
  }
  return shape;
}

/** The native view of x repeated to `shape`, which x broadcasts to. */
export function repeated(fn: string, x: Tensor, shape: readonly number[]): NativeTensor {
  const native = x.native(fn);
  const [owner, dtype, offset, from, strides] = native;
  if (from.length === shape.length && from.every((length, i) => length === shape[i])) return native;
  const added = shape.length - from.length;
  const repeats = shape.map((length, i) =>
    i < added || (from[i - added] === 1 && length !== 1) ? 0 : (strides[i - added] ?? 0),
  );
  return [owner, dtype, offset, shape, repeats];
}
