import { enqueue } from "../binding/index.js";
import { ArgumentError, ShapeError, expected } from "../errors.js";
import { Tensor } from "../tensor/index.js";
import { checkNumber, checkSameDevice, checkTensor } from "./check.js";

const real = ["float32", "float64"] as const;
const any = () => true;

/** Live, contiguous, all float32 or all float64, as many elements as the first, on one device. */
function checkVectors(fn: string, vectors: Readonly<Record<string, Tensor>>): void {
  let first: [string, Tensor] | undefined;
  for (const [name, x] of Object.entries(vectors)) {
    checkTensor(
      fn,
      name,
      x,
      first ? [first[1].dtype] : real,
      (x as Tensor | undefined)?.shape ?? [],
    );
    if (!x.isContiguous)
      throw new ArgumentError(expected(fn, "a contiguous tensor", name, "a strided view"));
    first ??= [name, x];
    if (x.size !== first[1].size) {
      const what = `the ${first[1].size} elements of ${first[0]}`;
      throw new ShapeError(expected(fn, what, name, x.shape));
    }
  }
  checkSameDevice(fn, vectors);
}

/**
 * `y = a x + b y` in place, in the dtype of the tensors. Queued. With b = 0 y is not read.
 *
 * @param x contiguous float32 or float64; undefined: `y = b y`.
 * @param y of the size, dtype and device of x.
 * @throws ShapeError, DTypeError, DeviceError, ArgumentError, DisposedError
 */
export function axpby(a: number, x: Tensor | undefined, b: number, y: Tensor): void {
  const fn = "axpby";
  checkVectors(fn, x === undefined ? { y } : { y, x });
  checkNumber(fn, "a", a, "that is finite", any);
  checkNumber(fn, "b", b, "that is finite", any);
  enqueue(fn, "axpby", y.device, { x: x?.native(fn), y: y.native(fn), a, b });
}

/**
 * `y_i = beta y_i + alpha sum_j coefficients_ij x_j` over the rows of two matrices, in place. Queued. Sums in float64.
 *
 * @param coefficients `[rows, terms]` float64.
 * @param x `[terms, n]` float32 or float64, rows contiguous.
 * @param y `[rows, n]` of the dtype and device of x, rows contiguous, not overlapping x. With beta = 0 it is not read.
 * @throws ShapeError, DTypeError, DeviceError, ArgumentError, DisposedError
 * Cost: 2 rows terms n flops.
 */
export function combineRows(
  coefficients: Tensor,
  x: Tensor,
  y: Tensor,
  options: { alpha?: number | undefined; beta?: number | undefined } = {},
): void {
  const fn = "combineRows";
  const { alpha = 1, beta = 0 } = options;
  checkTensor(fn, "x", x, real, ["terms", "n"]);
  checkTensor(fn, "y", y, [x.dtype], ["rows", x.shape[1] ?? 0]);
  checkTensor(fn, "coefficients", coefficients, ["float64"], [y.shape[0] ?? 0, x.shape[0] ?? 0]);
  for (const [name, matrix] of Object.entries({ x, y })) {
    if (matrix.strides[1] !== 1 && (matrix.shape[1] ?? 0) > 1)
      throw new ArgumentError(expected(fn, "contiguous rows", name, matrix.strides));
  }
  checkSameDevice(fn, { coefficients, x, y });
  checkNumber(fn, "alpha", alpha, "that is finite", any);
  checkNumber(fn, "beta", beta, "that is finite", any);
  const flat = coefficients.isContiguous ? coefficients : coefficients.contiguous();
  enqueue(fn, "combine_rows", x.device, {
    coefficients: flat.native(fn),
    x: x.native(fn),
    y: y.native(fn),
    alpha,
    beta,
  });
  if (flat !== coefficients) flat.dispose();
}

/**
 * The three updates of a conjugate-gradient iteration in one pass: `x += alpha p`, `r -= alpha ap`, and the new `<r, r>`. Queued.
 *
 * @param vectors contiguous, float32 or float64, of one size, dtype and device.
 * @returns `<r, r>`, a scalar float64; the caller disposes it.
 * @throws ShapeError, DTypeError, DeviceError, ArgumentError, DisposedError
 */
export function cgUpdate(
  alpha: number,
  vectors: { readonly p: Tensor; readonly ap: Tensor; readonly x: Tensor; readonly r: Tensor },
): Tensor<"float64"> {
  const fn = "cgUpdate";
  const { p, ap, x, r } = vectors;
  checkVectors(fn, { p, ap, x, r });
  checkNumber(fn, "alpha", alpha, "that is finite", any);
  const rr = Tensor.empty([], { dtype: "float64", device: x.device });
  const args = { p: p.native(fn), ap: ap.native(fn), x: x.native(fn), r: r.native(fn) };
  enqueue(fn, "cg_update", x.device, { ...args, rr: rr.native(fn), alpha });
  return rr;
}
