import { run, runSync, type Task } from "../../binding/index.js";
import type { InputGram } from "../../curvature/index.js";
import { ArgumentError, expected } from "../../errors.js";
import { checkInteger, checkTensor } from "../../ops/check.js";
import { fwht } from "../../ops/fwht.js";
import { rademacher } from "../../ops/random.js";
import { Tensor } from "../../tensor/index.js";
import { hadamardBase } from "../hadamard-base.js";
import { type LayerGram, type LayerOptions, withGram, withGramSync } from "../layer-input.js";

export interface RotationOptions {
  /** Of the random signs. Default 0. */
  readonly seed?: number | undefined;
}

/**
 * A random orthogonal matrix that is fast to multiply with: R = diag(signs) (H_p (x) B) / sqrt(block) on every run of `block`
 * columns. Stored as its size and seed: the same signs come out on every device.
 */
export class HadamardRotation {
  /** Columns that are mixed with each other. The whole row where an order of Paley's or a power of two fits. */
  readonly block: number;
  /** Order m of the part that is no power of two. */
  readonly baseOrder: number;
  readonly seed: number;

  /** @internal Use `hadamardRotation`. */
  constructor(
    readonly size: number,
    seed: number,
  ) {
    const power = size & -size; // largest power of two that divides it
    const odd = size / power;
    const m = odd === 1 ? 1 : 4 * odd;
    const whole = size % m === 0 && hadamardBase(m) !== undefined;
    this.baseOrder = whole ? m : 1;
    this.block = whole ? size : power;
    this.seed = seed;
  }

  /** `x R`, or `x R^T` with `inverse`: new tensor `[rows, size]`, float32 or float64; the caller disposes it. */
  async apply(x: Tensor, options: { readonly inverse?: boolean } = {}): Promise<Tensor> {
    return run(this.task("HadamardRotation.apply", x, options.inverse ?? false));
  }

  /** Like `apply`, blocking. */
  applySync(x: Tensor, options: { readonly inverse?: boolean } = {}): Tensor {
    return runSync(this.task("HadamardRotation.applySync", x, options.inverse ?? false));
  }

  /** @internal */
  *task(fn: string, x: Tensor, inverse: boolean): Task<Tensor> {
    checkTensor(fn, "x", x, ["float32", "float64"], ["rows", this.size]);
    const { device } = x;
    using signs = rademacher([this.size], { seed: this.seed, device });
    const rows = this.baseOrder === 1 ? undefined : hadamardBase(this.baseOrder);
    const base = rows && Tensor.from(rows.flat(), [rows.length, rows.length], { device });
    try {
      return yield* fwht(fn, x, { block: this.block, signs, base }, inverse);
    } finally {
      base?.dispose();
    }
  }
}

/**
 * A random Hadamard rotation of `size` columns.
 *
 * Orders: every power of two times 1, or times 4r for odd r where 4r - 1 is prime, or 2r - 1 is a prime of the form 4k + 1
 * (12, 20, 28, 36, 44, 60, 108, 140 ...). For other sizes only the largest power of two is mixed, block by block.
 */
export function hadamardRotation(size: number, options: RotationOptions = {}): HadamardRotation {
  const fn = "hadamardRotation";
  checkInteger(fn, "size", size, 1, 2 ** 31 - 1);
  checkInteger(fn, "seed", options.seed ?? 0, 0, Number.MAX_SAFE_INTEGER);
  return new HadamardRotation(size, options.seed ?? 0);
}

/** A layer whose inputs are rotated. The caller disposes both tensors. */
export interface RotatedLayer {
  /** `W R` `[out, in]` float32. */
  readonly weight: Tensor;
  /** `R^T H R` `[in, in]`, in the dtype of the gram. */
  readonly gram: Tensor;
  readonly rotation: HadamardRotation;
}

export interface HadamardOptions extends LayerOptions, RotationOptions {
  /** Instead of a new one: layers that share an input share a rotation. */
  readonly rotation?: HadamardRotation | undefined;
}

/**
 * Rotates a layer before it is quantized: `W X = (W R)(R^T X)`. Rotated weights have no outliers, so grids waste less on them.
 * Quantize the result with `gptq`; `rotation.apply(weight, { inverse: true })` turns weights back, and at run time
 * `rotation.apply(x)` turns inputs, where the rotation was not folded into the layer before.
 *
 * @param W `[out, in]` float32, finite. Not changed.
 * @param gram an `InputGram`, or `2/N X^T X` `[in, in]`, float32 or float64.
 * @throws ShapeError, DTypeError, ArgumentError, DisposedError; NumericalError `NON_FINITE`.
 * Cost: (out + 2 in) in log2(in) additions.
 * Source: Chee et al., "QuIP", 2023; Ashkboos et al., "QuaRot", 2024.
 *
 * @example
 * const { weight, gram: rotated, rotation } = await hadamard(W, gram, { seed: 1 });
 * const q = await gptq(weight, rotated, { bits: 3 });
 */
export async function hadamard(
  W: Tensor,
  gram: InputGram | Tensor,
  options: HadamardOptions = {},
): Promise<RotatedLayer> {
  const fn = "hadamard";
  const rotation = rotationOf(fn, W, options);
  return withGram(fn, W, gram, options, (taken) => rotate(fn, W, taken, rotation));
}

/** Like `hadamard`, blocking. */
export function hadamardSync(
  W: Tensor,
  gram: InputGram | Tensor,
  options: Omit<HadamardOptions, "signal" | "onProgress"> = {},
): RotatedLayer {
  const fn = "hadamardSync";
  const rotation = rotationOf(fn, W, options);
  return withGramSync(fn, W, gram, options, (taken) => rotate(fn, W, taken, rotation));
}

function rotationOf(fn: string, W: Tensor, options: HadamardOptions): HadamardRotation {
  checkTensor(fn, "W", W, ["float32"], ["out", "in"]);
  const columns = W.shape[1] ?? 0;
  if (options.rotation === undefined) return hadamardRotation(columns, options);
  if (options.rotation.size !== columns) {
    const what = `the ${columns} columns of W`;
    throw new ArgumentError(expected(fn, what, "rotation.size", options.rotation.size));
  }
  return options.rotation;
}

function* rotate(
  fn: string,
  W: Tensor,
  { matrix }: LayerGram,
  rotation: HadamardRotation,
): Task<RotatedLayer> {
  const weight = yield* rotation.task(fn, W, false);
  try {
    // Both sides of a symmetric matrix: rows, and the rows of the transpose.
    using rows = yield* rotation.task(fn, matrix, false);
    using columns = rows.transpose();
    return { weight, gram: yield* rotation.task(fn, columns, false), rotation };
  } catch (error) {
    weight.dispose();
    throw error;
  }
}
