/** A row-major matrix `[rows, columns]` as `[columns, rows]`. */
export function transpose<T extends Float32Array | Uint16Array | Uint8Array | Int32Array>(
  values: T,
  rows: number,
  columns: number,
): T {
  const result = values.slice() as T;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      result[column * rows + row] = values[row * columns + column] ?? 0;
    }
  }
  return result;
}
