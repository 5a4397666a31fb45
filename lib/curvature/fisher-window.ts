import { type CallOptions, type Device, run, type Task } from "../binding/index.js";
import { DisposedError, ShapeError, expected } from "../errors.js";
import { checkInteger, checkNumber, checkSameDevice, checkTensor } from "../ops/check.js";
import { copyInto } from "../ops/copy.js";
import { vectorDot } from "../ops/vector-reduce.js";
import { type DType, Tensor, keep } from "../tensor/index.js";
import { checkGradients, factorOf, inverseProduct, lowerInverse } from "./fisher-solve.js";

export interface FisherWindowOptions {
  /** Gradients in the window, m. Default 1024. */
  readonly gradients?: number | undefined;
  /** Added to the diagonal. Default 1e-5. */
  readonly damp?: number | undefined;
  /** Of gradients and vectors. Default float32; dots and what they are solved with are float64 either way. */
  readonly dtype?: "float32" | "float64" | undefined;
  /** Default "cpu". */
  readonly device?: Device | undefined;
}

/**
 * The inverse of the damped empirical Fisher matrix of the last m gradients: each new one takes the place of the oldest. At first
 * all are zero; the mean is over m all the while, so that the first products are larger than later ones.
 *
 * `m d` numbers and `16 m^2` bytes are kept. The order of gradients does not matter, up to rounding.
 */
export class FisherWindow {
  readonly damp: number;
  readonly #rows: Tensor;
  readonly #products: Tensor<"float64">;
  #inverse: Tensor<"float64"> | undefined;
  #next = 0;

  /** @internal Use `fisherWindow`. */
  constructor(fn: string, size: number, options: FisherWindowOptions) {
    const { gradients = 1024, damp = 1e-5, dtype = "float32", device } = options;
    checkInteger(fn, "size", size, 0, Number.MAX_SAFE_INTEGER);
    checkInteger(fn, "gradients", gradients, 1, 2 ** 15);
    checkNumber(fn, "damp", damp, "> 0", (value) => value > 0);
    this.damp = damp;
    this.#rows = keep(Tensor.zeros<DType>([gradients, size], { dtype, device }));
    this.#products = keep(Tensor.zeros([gradients, gradients], { dtype: "float64", device }));
  }

  /** Number of weights, d. */
  get size(): number {
    return this.#rows.shape[1] ?? 0;
  }

  /** Number of gradients, m. */
  get gradients(): number {
    return this.#rows.shape[0] ?? 0;
  }

  get device(): Device {
    return this.#rows.device;
  }

  /**
   * Puts a gradient in the place of the oldest.
   *
   * @param gradient `[d]`, finite. Copied.
   * @throws ShapeError, DTypeError, DeviceError, DisposedError; NumericalError `NON_FINITE`. Then the window is as it was.
   * Cost: 2 m d flops, one pass over the window; the next product takes 2 m^3/3 more.
   */
  async insert(gradient: Tensor, options: Pick<CallOptions, "signal"> = {}): Promise<void> {
    const fn = "FisherWindow.insert";
    const rows = this.#live(fn);
    checkTensor(fn, "gradient", gradient, [rows.dtype], [this.size]);
    checkSameDevice(fn, { gradient, window: rows });
    using line = gradient.contiguous();
    using matrix = line.reshape([1, line.size]);
    await run(checkGradients(fn, matrix, "gradient"), options);
    this.insertChecked(line);
  }

  /** @internal `insert` of a contiguous gradient that is known to be finite. Queued. */
  insertChecked(gradient: Tensor): void {
    const fn = "FisherWindow.insert";
    const rows = this.#live(fn);
    const [m, k] = [this.gradients, this.#next];
    // Everything that can fail comes before the first change.
    using dots = vectorDot(rows, gradient);
    using own = vectorDot(gradient, gradient);
    using line = gradient.reshape([1, this.size]);
    using row = rows.slice(0, k, k + 1);
    using square = own.reshape([1]);
    using place = dots.slice(0, k, k + 1);
    using across = this.#products.slice(0, k, k + 1);
    using down = this.#products.slice(1, k, k + 1);
    using asRow = dots.reshape([1, m]);
    using asColumn = dots.reshape([m, 1]);
    copyInto(fn, square, place);
    copyInto(fn, line, row);
    copyInto(fn, asRow, across);
    copyInto(fn, asColumn, down);
    this.#changed((k + 1) % m);
  }

  /**
   * `F^-1 x` of x `[d]`, of the dtype of the window; the caller disposes it.
   *
   * @throws ShapeError, DTypeError, DeviceError, DisposedError
   * Cost: 4 m d flops, two passes over the window; 2 m^3/3 after a change.
   */
  async product(x: Tensor, options: Pick<CallOptions, "signal"> = {}): Promise<Tensor> {
    const fn = "FisherWindow.product";
    const rows = this.#live(fn);
    checkTensor(fn, "x", x, [rows.dtype], [this.size]);
    checkSameDevice(fn, { x, window: rows });
    return run(this.#product(fn, x), options);
  }

  *#product(fn: string, x: Tensor): Task<Tensor> {
    if (this.#inverse === undefined) {
      using factor = yield* factorOf(fn, this.#products, this.damp);
      this.#inverse = keep(yield* lowerInverse(fn, factor));
    }
    return inverseProduct(this.#live(fn), this.#inverse, this.damp, x);
  }

  /** @internal What it is made of: the tensors themselves, and the place of the next gradient. */
  get state(): { rows: Tensor; products: Tensor<"float64">; next: number } {
    return { rows: this.#rows, products: this.#products, next: this.#next };
  }

  /** @internal Copies of a state. */
  restore(state: { rows: Tensor; products: Tensor; next: number }): void {
    const fn = "FisherWindow.restore";
    const m = this.gradients;
    if (!Number.isInteger(state.next) || state.next < 0 || state.next >= m)
      throw new ShapeError(expected(fn, `a place from 0 to ${m - 1}`, "next", state.next));
    copyInto(fn, state.rows, this.#rows);
    copyInto(fn, state.products, this.#products);
    this.#changed(state.next);
  }

  dispose(): void {
    this.#rows.dispose();
    this.#products.dispose();
    this.#inverse?.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #changed(next: number): void {
    this.#next = next;
    this.#inverse?.dispose();
    this.#inverse = undefined;
  }

  #live(fn: string): Tensor {
    if (this.#rows.disposed) throw new DisposedError(`${fn}: the window was disposed`);
    return this.#rows;
  }
}

/**
 * A window of the last gradients of `size` weights, for products with the inverse of their Fisher matrix.
 *
 * Source: Frantar, Kurtic, Alistarh, "M-FAC", 2021 (dynamic algorithm). We differ: Cholesky, in float64, of the m x m matrix of
 * inner products instead of LU and coefficients; the same numbers.
 *
 * @example
 * using window = fisherWindow(weights.size, { gradients: 256 });
 * await window.insert(gradient);
 * using step = await window.product(gradient);
 */
export function fisherWindow(size: number, options: FisherWindowOptions = {}): FisherWindow {
  return new FisherWindow("fisherWindow", size, options);
}
