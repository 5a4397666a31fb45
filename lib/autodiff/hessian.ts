import { ArgumentError, expected } from "../errors.js";
import { copyInto } from "../ops/copy.js";
import { newArray, scope, Tensor } from "../tensor/index.js";
import { checkParameters } from "./grad.js";
import { hvp } from "./hvp.js";

const MOST_ELEMENTS = 4096;

/**
 * The Hessian of a scalar function as a matrix, for small problems: one Hessian-vector product a column.
 *
 * @param params at most 4096 elements together, of one dtype and device.
 * @returns `[n, n]`, rows and columns in the order of the parameters' elements, symmetric up to rounding; the caller
 *   disposes it. Cost: n times `hvp`.
 */
export function hessian(fn: () => Tensor, params: readonly Tensor[]): Tensor {
  const name = "hessian";
  checkParameters(name, params);
  const n = params.reduce((sum, param) => sum + param.size, 0);
  const [first] = params;
  if (first === undefined || n > MOST_ELEMENTS)
    throw new ArgumentError(
      expected(name, `1 to ${MOST_ELEMENTS} elements`, "the size of params", n),
    );
  const matrix = Tensor.empty([n, n], { dtype: first.dtype, device: first.device });
  let column = 0;
  for (const param of params) {
    for (let i = 0; i < param.size; ++i, ++column) {
      scope(() => {
        const vectors = params.map((other) => unit(other, other === param ? i : -1));
        let row = 0;
        for (const product of hvp(fn, params, vectors).products) {
          const target = matrix.slice(1, column, column + 1).slice(0, row, row + product.size);
          copyInto(name, product.reshape([product.size, 1]), target);
          row += product.size;
        }
      });
    }
  }
  return matrix;
}

/** Zeros like a tensor, with a one at a flat position (none for -1). */
function unit(like: Tensor, at: number): Tensor {
  const array = newArray(like.dtype as "float64", like.size);
  if (at >= 0) array[at] = 1;
  return Tensor.from(array, like.shape, { dtype: like.dtype, device: like.device });
}
