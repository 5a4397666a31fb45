import { Tensor } from "../tensor/index.js";

/** A row-major matrix `[rows, columns]` as `[columns, rows]`. */
export function transpose<T extends Float32Array | Uint8Array | Int32Array>(
  values: T,
  rows: number,
  columns: number,
): T {
  using matrix = Tensor.from(values, [rows, columns], { borrow: true });
  using view = matrix.transpose();
  return view.dataSync() as T;
}
