import { concat, matmul, reshape, scale, sum, mul } from "../../lib/autodiff/index.js";
import { Tensor } from "../../lib/tensor/index.js";

/** f = w^T A w / 2 of a vector that is cut into parameters: its Hessian is A. */
export function quadratic(matrix: readonly (readonly number[])[], sizes: readonly number[]) {
  const n = matrix.length;
  const a = Tensor.from(matrix.flat(), [n, n]);
  const params = sizes.map((size, i) => ({
    name: `layer${Math.floor(i / 2)}.${i % 2 === 0 ? "weight" : "bias"}`,
    tensor: Tensor.from(Float32Array.from({ length: size }, (_, j) => Math.cos(i + 2 * j))),
  }));
  const loss = () => {
    const w = concat(params.map(({ tensor }) => tensor));
    const column = reshape(w, [n, 1]);
    return scale(sum(mul(matmul(a, column), column)), 0.5);
  };
  return { params, loss };
}
