import { kernel, type Task } from "../binding/index.js";
import { ShapeError, expected } from "../errors.js";
import { type Tensor, nativeArray } from "../tensor/index.js";
import { checkTensor } from "./check.js";

/** The diagonal of a square matrix, float32 or float64, as numbers of JavaScript. */
export function* diagonal(fn: string, matrix: Tensor): Task<Float64Array> {
  checkTensor(fn, "matrix", matrix, ["float32", "float64"], ["n", "n"]);
  const [n = 0, columns = 0] = matrix.shape;
  if (n !== columns) throw new ShapeError(expected(fn, "a square matrix", "matrix", matrix.shape));
  const [down = 0, along = 0] = matrix.strides;
  const [owner, dtype, offset] = matrix.native(fn);
  const values = new Float64Array(n);
  yield* kernel(fn, "convert", matrix.device, {
    x: [owner, dtype, offset, [n], [down + along]],
    y: nativeArray(values, "float64"),
  });
  return values;
}
