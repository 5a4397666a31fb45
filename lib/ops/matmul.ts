import { enqueue, type NativeTensor } from "../binding/index.js";
import { ArgumentError, DTypeError, ShapeError, expected } from "../errors.js";
import { type DType, Tensor } from "../tensor/index.js";
import { checkSameDevice, checkTensor } from "./check.js";
import { checkMatrices } from "./matrices.js";

export interface MatmulOptions<D extends DType> {
  /** Factor of the product, default 1. */
  readonly alpha?: number | undefined;
  /** Factor of what `out` holds before, default 0: it is then not read, NaN or not. Only with `out`. */
  readonly beta?: number | undefined;
  /** Where the result goes, instead of a new tensor: its shape and dtype, rows contiguous, no memory shared with `a` or `b`. */
  readonly out?: Tensor<D> | undefined;
}

const MAX_STRIDE = 2 ** 31 - 1;

/** Whether the kernel can read the last two dimensions as they lie: rows or columns contiguous. */
function readable(x: Tensor): boolean {
  const [rows = 0, columns = 0] = x.shape.slice(-2);
  const [down = 0, along = 0] = x.strides.slice(-2);
  const fits = (step: number, length: number, count: number) =>
    count <= 1 || (step >= length && step <= MAX_STRIDE);
  return (
    ((along === 1 || columns <= 1) && fits(down, columns, rows)) ||
    ((down === 1 || rows <= 1) && fits(along, rows, columns))
  );
}

function broadcast(fn: string, a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[i - rank + a.length] ?? 1;
    const y = b[i - rank + b.length] ?? 1;
    if (x !== y && x !== 1 && y !== 1) {
      throw new ShapeError(
        `${fn}: expected leading dimensions that broadcast but received [${a.join(", ")}] and [${b.join(", ")}]`,
      );
    }
    return x === 1 ? y : x;
  });
}

/** The native view of x with its batch repeated to `batch`. */
function repeated(fn: string, x: Tensor, batch: readonly number[]): NativeTensor {
  const [owner, dtype, offset, shape, strides] = x.native(fn);
  const missing = batch.length + 2 - shape.length;
  const batchStrides = batch.map((length, i) =>
    i < missing || (shape[i - missing] === 1 && length !== 1) ? 0 : (strides[i - missing] ?? 0),
  );
  return [
    owner,
    dtype,
    offset,
    [...batch, ...shape.slice(-2)],
    [...batchStrides, ...strides.slice(-2)],
  ];
}

/**
 * Matrix product `alpha a b + beta out`, over any leading dimensions, which broadcast as in NumPy. Queued.
 *
 * @param a `[..., m, k]` float32 or float64. Transposed views and slices of rows or columns are read as they lie; a view
 *   with gaps in both of its last dimensions is copied first.
 * @param b `[..., k, n]` of the same dtype and device.
 * @returns `[..., m, n]`, or `out`. The caller disposes it.
 * @throws ShapeError, DTypeError, DeviceError, ArgumentError, DisposedError
 * Cost: 2 m n k flops a product. Sums are in the dtype, in an order that depends on the shapes alone.
 */
export function matmul<D extends DType>(
  a: Tensor<D>,
  b: Tensor<D>,
  options: MatmulOptions<D> = {},
): Tensor<D> {
  const fn = "matmul";
  const { alpha = 1, beta = 0, out } = options;
  for (const [name, value] of Object.entries({ alpha, beta })) {
    if (typeof value !== "number") throw new ArgumentError(expected(fn, "a number", name, value));
  }
  checkMatrices(fn, "a", a);
  checkMatrices(fn, "b", b);
  if (a.dtype !== b.dtype) throw new DTypeError(expected(fn, a.dtype, "the dtype of b", b.dtype));
  checkSameDevice(fn, { a, b });
  const [m = 0, k = 0] = a.shape.slice(-2);
  const n = b.shape.at(-1) ?? 0;
  if (b.shape.at(-2) !== k)
    throw new ShapeError(expected(fn, `shape [..., ${k}, n]`, "b", b.shape));
  const batch = broadcast(fn, a.shape.slice(0, -2), b.shape.slice(0, -2));
  const shape = [...batch, m, n];
  if (out !== undefined) {
    checkTensor(fn, "out", out, [a.dtype], shape);
    checkSameDevice(fn, { a, out });
    const [down = 0, along = 0] = out.strides.slice(-2);
    if ((along !== 1 && n > 1) || (down < n && m > 1) || down > MAX_STRIDE)
      throw new ArgumentError(expected(fn, "rows that are contiguous", "out", out.strides));
  } else if (beta !== 0) {
    throw new ArgumentError(expected(fn, "0 without an out tensor", "beta", beta));
  }
  const left = readable(a) ? a : a.contiguous();
  const right = readable(b) ? b : b.contiguous();
  const c = out ?? Tensor.empty(shape, { dtype: a.dtype, device: a.device });
  try {
    enqueue(fn, "matmul", a.device, {
      a: repeated(fn, left, batch),
      b: repeated(fn, right, batch),
      c: c.native(fn),
      alpha,
      beta,
    });
  } catch (error) {
    if (c !== out) c.dispose();
    throw error;
  } finally {
    if (left !== a) left.dispose();
    if (right !== b) right.dispose();
  }
  return c;
}
