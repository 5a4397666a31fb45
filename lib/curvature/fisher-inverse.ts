import { type CallOptions, type Device, run, runSync, type Task } from "../binding/index.js";
import { ArgumentError, DisposedError, expected } from "../errors.js";
import { checkInteger, checkNumber, checkSameDevice, checkTensor } from "../ops/check.js";
import { matmul } from "../ops/matmul.js";
import { type Tensor, keep } from "../tensor/index.js";
import { BlockFisherInverse } from "./fisher-blocks.js";
import {
  checkGradients,
  columnsOf,
  elementOf,
  factorOf,
  inverseDiagonal,
  inverseProduct,
  lowerInverse,
  rowProducts,
} from "./fisher-solve.js";

export interface FisherOptions {
  /** Added to the diagonal. Default 1e-5. */
  readonly damp?: number | undefined;
  /** Weights that have to do with each other: the matrix is cut to diagonal blocks of this size, the last shorter. -1: one block. Default -1. */
  readonly blockSize?: number | undefined;
}

/** The inverse of the damped empirical Fisher matrix `F = damp I + 1/m sum_i g_i g_i^T` of m gradients, never formed. */
export interface FisherInverse extends Disposable {
  /** Number of weights, d. */
  readonly size: number;
  /** Number of gradients, m. */
  readonly gradients: number;
  readonly damp: number;
  readonly device: Device;
  /** `diag(F^-1)` `[d]` float64, at least 1e-12/damp. Queued; the caller disposes it. Cost: 2 d m^2 flops, with blocks 2 d m. */
  diagonal(): Tensor<"float64">;
  /** `F^-1 x` of x `[d]`, in the dtype of the gradients, which x has too. Queued; the caller disposes it. Cost: 4 d m flops. */
  product(x: Tensor): Tensor;
  /** `[F^-1]_ab`. Cost: m^2 flops, with blocks m. */
  element(a: number, b: number): Promise<number>;
  dispose(): void;
}

/** One block over all weights. The gradients stay as they are: L^-1 of the m x m matrix K is all that is made. */
class WholeFisherInverse implements FisherInverse {
  readonly #rows: Tensor;
  readonly #inverse: Tensor<"float64">;

  constructor(
    rows: Tensor,
    inverse: Tensor<"float64">,
    readonly damp: number,
  ) {
    this.#rows = keep(rows);
    this.#inverse = keep(inverse);
  }

  get size(): number {
    return this.#rows.shape[1] ?? 0;
  }

  get gradients(): number {
    return this.#rows.shape[0] ?? 0;
  }

  get device(): Device {
    return this.#rows.device;
  }

  diagonal(): Tensor<"float64"> {
    const fn = "FisherInverse.diagonal";
    return inverseDiagonal(fn, this.#live(fn), this.#inverse, this.damp);
  }

  product(x: Tensor): Tensor {
    const fn = "FisherInverse.product";
    const rows = this.#live(fn);
    checkTensor(fn, "x", x, [rows.dtype], [this.size]);
    checkSameDevice(fn, { x, gradients: rows });
    return inverseProduct(rows, this.#inverse, this.damp, x);
  }

  async element(a: number, b: number): Promise<number> {
    const fn = "FisherInverse.element";
    const rows = this.#live(fn);
    checkInteger(fn, "a", a, 0, this.size - 1);
    checkInteger(fn, "b", b, 0, this.size - 1);
    using left = columnsOf(rows, a, a + 1);
    using right = columnsOf(rows, b, b + 1);
    using za = matmul(this.#inverse, left);
    using zb = matmul(this.#inverse, right);
    return await elementOf([za, zb], a === b, this.damp);
  }

  dispose(): void {
    this.#rows.dispose();
    this.#inverse.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #live(fn: string): Tensor {
    if (this.#rows.disposed) throw new DisposedError(`${fn}: the inverse was disposed`);
    return this.#rows;
  }
}

/**
 * Prepares products with the inverse Fisher matrix of the gradients given.
 *
 * @param gradients `[m, d]` float32 or float64, finite: one gradient a row, in any order. Without blocks their memory is shared
 *   until the inverse is disposed: do not write to it meanwhile.
 * @param options `damp`, `blockSize`; see `FisherOptions`.
 * @throws ShapeError, DTypeError, ArgumentError, DisposedError; NumericalError `NON_FINITE` (details.index).
 * Cost: 2 d m^2 flops and, a block, 2 m^3/3; 8 m^2 bytes are kept, with blocks 8 m d.
 * Source: Frantar, Kurtic, Alistarh, "M-FAC", 2021 (static algorithm). We differ: Cholesky of an m x m matrix, in float64,
 * instead of a recursion over gradients; the same numbers. With the usual damping 1/damp and what is taken from it cancel to
 * five digits, so dots and sums are float64 whatever the gradients are.
 *
 * @example
 * using inverse = await fisherInverse(gradients, { damp: 1e-4 });
 * using step = inverse.product(gradient);
 */
export async function fisherInverse(
  gradients: Tensor,
  options: FisherOptions & Pick<CallOptions, "signal"> = {},
): Promise<FisherInverse> {
  return run(fisherInverseTask("fisherInverse", gradients, options), { signal: options.signal });
}

/** Like `fisherInverse`, blocking. */
export function fisherInverseSync(gradients: Tensor, options: FisherOptions = {}): FisherInverse {
  return runSync(fisherInverseTask("fisherInverseSync", gradients, options));
}

/** @internal */
export function* fisherInverseTask(
  fn: string,
  gradients: Tensor,
  { damp = 1e-5, blockSize = -1 }: FisherOptions,
): Task<FisherInverse> {
  checkNumber(fn, "damp", damp, "> 0", (value) => value > 0);
  if (blockSize !== -1) checkInteger(fn, "blockSize", blockSize, 1, Number.MAX_SAFE_INTEGER);
  checkTensor(fn, "gradients", gradients, ["float32", "float64"], ["m", "d"]);
  const [m = 0, d = 0] = gradients.shape;
  if (m === 0)
    throw new ArgumentError(expected(fn, "one gradient or more", "gradients", gradients.shape));
  yield* checkGradients(fn, gradients);
  if (blockSize !== -1 && blockSize < d)
    return yield* BlockFisherInverse.make(fn, gradients, damp, blockSize);
  // Rows as they lie, or a copy where they have gaps.
  const rows = gradients.strides[1] === 1 ? gradients.slice(0, 0, m) : gradients.contiguous();
  try {
    using products = rowProducts(fn, rows);
    using factor = yield* factorOf(fn, products, damp);
    return new WholeFisherInverse(rows, yield* lowerInverse(fn, factor), damp);
  } catch (error) {
    rows.dispose();
    throw error;
  }
}
