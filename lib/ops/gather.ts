import { enqueue } from "../binding/index.js";
import { DTypeError, expected } from "../errors.js";
import { Tensor } from "../tensor/index.js";
import { checkReal } from "./broadcast.js";
import { shaped, withPacked } from "./packed.js";

/** How an index picks from `[outer, n, inner]`: m places, of all of `outer` together or of each. */
export interface Picks {
  readonly outer: number;
  readonly n: number;
  readonly inner: number;
  readonly m: number;
  /** The index is `[m]` instead of `[outer, m]`. */
  readonly shared: boolean;
}

export function checkIndex(
  fn: string,
  name: string,
  index: unknown,
): asserts index is Tensor<"int32"> {
  if (!(index instanceof Tensor) || index.dtype !== "int32")
    throw new DTypeError(expected(fn, "an int32 tensor", name, index));
}

/** `y[o, j, :] = x[o, index[o, j], :]` in the shape given. Queued; an index out of range is an ArgumentError when y is read. */
export function gather(
  fn: string,
  x: Tensor,
  index: Tensor,
  picks: Picks,
  shape: readonly number[],
): Tensor {
  checkReal(fn, "x", x);
  checkIndex(fn, "indices", index);
  const { outer, n, inner, m, shared } = picks;
  const y = Tensor.empty(shape, { dtype: x.dtype, device: x.device });
  withPacked(fn, [x, index], (source, places) => {
    enqueue(fn, "gather", x.device, {
      x: shaped(fn, source, [outer, n, inner]),
      index: shaped(fn, places, [shared ? 1 : outer, m]),
      y: shaped(fn, y, [outer, m, inner]),
    });
  });
  return y;
}

/** The transpose of `gather`: `y[o, index[o, j], :] += g[o, j, :]` in the shape given. Queued. */
export function scatterAdd(
  fn: string,
  g: Tensor,
  index: Tensor,
  picks: Picks,
  shape: readonly number[],
): Tensor {
  checkReal(fn, "x", g);
  checkIndex(fn, "indices", index);
  const { outer, n, inner, m, shared } = picks;
  const y = Tensor.empty(shape, { dtype: g.dtype, device: g.device });
  withPacked(fn, [g, index], (source, places) => {
    enqueue(fn, "scatter_add", g.device, {
      g: shaped(fn, source, [outer, m, inner]),
      index: shaped(fn, places, [shared ? 1 : outer, m]),
      y: shaped(fn, y, [outer, n, inner]),
    });
  });
  return y;
}
