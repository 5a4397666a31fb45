import { kernel, type Task } from "../binding/index.js";
import { ArgumentError, expected } from "../errors.js";
import { Tensor } from "../tensor/index.js";
import { checkSameDevice, checkTensor, rowsOf } from "./check.js";

/** An orthogonal matrix of Hadamard blocks: R = diag(signs) (H_p (x) B) / sqrt(block) on every run of block = p m columns. */
export interface HadamardMatrix {
  /** Divides the number of columns; a power of two times the order of `base`. */
  readonly block: number;
  /** `[n]` float32 of +-1; undefined: all 1. */
  readonly signs?: Tensor | undefined;
  /** `[m, m]` float32 of +-1 with B B^T = m I; undefined: the 1 x 1 matrix 1. */
  readonly base?: Tensor | undefined;
}

/**
 * Each row times R, or R^T with `inverse`, by the fast Walsh-Hadamard transform.
 *
 * @param x `[rows, n]` float32 or float64.
 * @returns a new tensor like x; the caller disposes it.
 * Cost: n (log2 p + m) additions a row.
 */
export function* fwht(
  fn: string,
  x: Tensor,
  matrix: HadamardMatrix,
  inverse = false,
): Task<Tensor> {
  checkTensor(fn, "x", x, ["float32", "float64"], ["rows", "n"]);
  const n = x.shape[1] ?? 0;
  const { block, signs, base } = matrix;
  if (signs) checkTensor(fn, "signs", signs, ["float32"], [n]);
  const m = base?.shape[0] ?? 1;
  if (base) checkTensor(fn, "base", base, ["float32"], [m, m]);
  checkSameDevice(fn, { x, ...(signs && { signs }), ...(base && { base }) });
  if (!(Number.isInteger(Math.log2(block / m)) && n % block === 0)) {
    const what = `a power of two times ${m} that divides ${n}`;
    throw new ArgumentError(expected(fn, what, "block", block));
  }
  const y = Tensor.empty(x.shape, { dtype: x.dtype, device: x.device });
  const { rows, dispose } = rowsOf(x);
  try {
    yield* kernel(fn, "fwht", x.device, {
      x: rows.native(fn),
      y: y.native(fn),
      signs: signs?.native(fn),
      base: base?.native(fn),
      block,
      inverse: Number(inverse),
    });
    return y;
  } catch (error) {
    y.dispose();
    throw error;
  } finally {
    dispose();
  }
}
