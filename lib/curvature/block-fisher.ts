import { type CallOptions, type Device, run, runSync, type Task } from "../binding/index.js";
import { DisposedError, NumericalError } from "../errors.js";
import { checkInteger, checkNumber, checkSameDevice, checkTensor } from "../ops/check.js";
import { choleskyInverseOperation, choleskyOperation } from "../ops/cholesky.js";
import { matmul } from "../ops/matmul.js";
import { operate } from "../ops/operation-task.js";
import { axpby } from "../ops/vector-update.js";
import { Tensor, keep } from "../tensor/index.js";
import { blockedRows, blocksOf } from "./fisher-blocks.js";
import { checkGradients } from "./fisher-solve.js";

/**
 * The empirical Fisher matrix `1/m sum_i g_i g_i^T` of one tensor's weights, restricted to diagonal blocks over the flattened
 * weights and gathered gradient by gradient: what oBERT prunes by. Float64; `8 d blockSize` bytes.
 */
export class BlockFisher {
  readonly #sum: Tensor<"float64">;
  #count = 0;

  /** @internal Use `blockFisher`. */
  constructor(
    /** Number of weights, d. */
    readonly size: number,
    /** Weights of a block; the last block is padded with weights whose gradient is zero. */
    readonly blockSize: number,
    readonly blocks: number,
    readonly device: Device,
  ) {
    this.#sum = keep(Tensor.zeros([blocks, blockSize, blockSize], { dtype: "float64", device }));
  }

  /** Gradients added so far. */
  get count(): number {
    return this.#count;
  }

  get disposed(): boolean {
    return this.#sum.disposed;
  }

  /**
   * Adds gradients.
   *
   * @param gradients `[k, d]` float32 or float64, finite, one a row. Not changed, not kept.
   * @throws ShapeError, DTypeError, DeviceError, DisposedError; NumericalError `NON_FINITE` (nothing was added).
   * Cost: 2 k d blockSize flops.
   */
  async add(gradients: Tensor, options: Pick<CallOptions, "signal"> = {}): Promise<void> {
    await run(this.#add("BlockFisher.add", gradients), options);
  }

  /** Like `add`, blocking. */
  addSync(gradients: Tensor): void {
    runSync(this.#add("BlockFisher.addSync", gradients));
  }

  /** @internal `1/m sum g g^T` of each block, `[blocks, blockSize, blockSize]` float64; the caller disposes it. */
  matrices(fn: string): Tensor<"float64"> {
    const sum = this.#live(fn);
    const mean = Tensor.empty(sum.shape, { dtype: "float64", device: this.device });
    axpby(this.#count === 0 ? 0 : 1 / this.#count, sum, 0, mean);
    return mean;
  }

  /** @internal The inverses of the damped blocks. @throws NumericalError `NO_TOKENS` without gradients. */
  *inverses(fn: string, damp: number): Task<Tensor<"float64">> {
    checkNumber(fn, "damp", damp, "> 0", (value) => value > 0);
    this.#live(fn);
    if (this.#count === 0) {
      const message = `${fn}: expected gradients in the Fisher matrix but it has none: nothing is known about the weights`;
      throw new NumericalError("NO_TOKENS", message);
    }
    using mean = this.matrices(fn);
    using factor = yield* operate(choleskyOperation(fn, mean, { shift: damp }));
    return (yield* operate(choleskyInverseOperation(fn, factor))).inverse;
  }

  dispose(): void {
    this.#sum.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  *#add(fn: string, gradients: Tensor): Task<void> {
    const sum = this.#live(fn);
    checkTensor(fn, "gradients", gradients, ["float32", "float64"], ["k", this.size]);
    checkSameDevice(fn, { gradients, sum });
    yield* checkGradients(fn, gradients);
    using g = blockedRows(fn, gradients, { blocks: this.blocks, width: this.blockSize });
    using across = g.transpose();
    matmul(across, g, { beta: 1, out: sum });
    this.#count += gradients.shape[0] ?? 0;
  }

  #live(fn: string): Tensor<"float64"> {
    if (this.disposed) throw new DisposedError(`${fn}: the Fisher matrix was disposed`);
    return this.#sum;
  }
}

/**
 * A block-diagonal Fisher matrix for a tensor of `size` weights.
 *
 * @param options `blockSize` default 50, as published; `device` default "cpu".
 *
 * @example
 * const fisher = blockFisher(W.size);
 * for await (const g of gradients) await fisher.add(g); // [k, out * in]
 */
export function blockFisher(
  size: number,
  options: { readonly blockSize?: number | undefined; readonly device?: Device | undefined } = {},
): BlockFisher {
  const fn = "blockFisher";
  checkInteger(fn, "size", size, 1, Number.MAX_SAFE_INTEGER);
  const { blockSize = 50 } = options;
  checkInteger(fn, "blockSize", blockSize, 1, Number.MAX_SAFE_INTEGER);
  const { blocks, width } = blocksOf(size, blockSize);
  return new BlockFisher(size, width, blocks, options.device ?? "cpu");
}
