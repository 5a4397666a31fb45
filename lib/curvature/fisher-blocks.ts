import type { Device, Task } from "../binding/index.js";
import { DisposedError } from "../errors.js";
import { checkInteger, checkSameDevice, checkTensor } from "../ops/check.js";
import { solveTriangularOperation } from "../ops/cholesky.js";
import { copyInto, pad } from "../ops/copy.js";
import { matmul } from "../ops/matmul.js";
import { operate } from "../ops/operation-task.js";
import { type DType, Tensor, keep } from "../tensor/index.js";
import type { FisherInverse } from "./fisher-inverse.js";
import { diagonalOf, elementOf, factorOf } from "./fisher-solve.js";

/** Most bytes of the m x m matrices of blocks that are factored together. */
const TOGETHER = 32 << 20;

/** @internal Columns of a matrix in blocks: how many, and how wide; the last is padded. */
export interface Blocks {
  readonly blocks: number;
  readonly width: number;
}

/** @internal */
export function blocksOf(size: number, blockSize: number): Blocks {
  const width = Math.max(1, Math.min(blockSize, size));
  return { blocks: Math.max(1, Math.ceil(size / width)), width };
}

/** @internal Gradients `[k, d]` as float64 `[blocks, k, width]`, padded with zeros. */
export function blockedRows(
  fn: string,
  gradients: Tensor,
  { blocks, width }: Blocks,
): Tensor<"float64"> {
  const [k = 0, size = 0] = gradients.shape;
  using wide = gradients.toDType("float64");
  using padded = pad(fn, wide, 1, 0, blocks * width - size);
  using split = padded.reshape([k, blocks, width]) as Tensor<"float64">;
  using turned = split.transpose(0, 1);
  return turned.contiguous();
}

/** The inverse of a block-diagonal Fisher matrix: `Z = L^-1 G` of every block, `[blocks, m, width]` float64, is kept. */
export class BlockFisherInverse implements FisherInverse {
  readonly #z: Tensor<"float64">;

  private constructor(
    readonly size: number,
    readonly damp: number,
    readonly dtype: DType,
    z: Tensor<"float64">,
  ) {
    this.#z = keep(z);
  }

  static *make(
    fn: string,
    gradients: Tensor,
    damp: number,
    blockSize: number,
  ): Task<BlockFisherInverse> {
    const [m = 0, size = 0] = gradients.shape;
    const { blocks, width } = blocksOf(size, blockSize);
    const shape = [blocks, m, width];
    const z = Tensor.empty(shape, { dtype: "float64", device: gradients.device });
    const some = Math.max(1, Math.floor(TOGETHER / (8 * m * m)));
    try {
      for (let first = 0; first < blocks; first += some) {
        const count = Math.min(some, blocks - first);
        using part = gradients.slice(1, first * width, Math.min(size, (first + count) * width));
        using g = blockedRows(fn, part, { blocks: count, width });
        using across = g.transpose();
        using products = matmul(g, across);
        using factor = yield* factorOf(fn, products, damp);
        const names = ["factor", "gradients"] as const;
        using solved = yield* operate(solveTriangularOperation(fn, names, factor, g, {}));
        using place = z.slice(0, first, first + count);
        copyInto(fn, solved, place);
      }
      return new BlockFisherInverse(size, damp, gradients.dtype, z);
    } catch (error) {
      z.dispose();
      throw error;
    }
  }

  get gradients(): number {
    return this.#z.shape[1] ?? 0;
  }

  get device(): Device {
    return this.#z.device;
  }

  diagonal(): Tensor<"float64"> {
    const fn = "FisherInverse.diagonal";
    using padded = diagonalOf(fn, this.#live(fn), this.damp);
    return this.#unpadded(padded, "float64");
  }

  product(x: Tensor): Tensor {
    const fn = "FisherInverse.product";
    const z = this.#live(fn);
    checkTensor(fn, "x", x, [this.dtype], [this.size]);
    checkSameDevice(fn, { x, gradients: z });
    const [blocks = 0, , width = 0] = z.shape;
    using wide = x.toDType("float64");
    using padded = pad(fn, wide, 0, 0, blocks * width - this.size) as Tensor<"float64">;
    using column = padded.reshape([blocks, width, 1]);
    using inner = matmul(z, column);
    using across = z.transpose();
    matmul(across, inner, { alpha: -1 / this.damp, beta: 1 / this.damp, out: column });
    return this.#unpadded(column, this.dtype);
  }

  async element(a: number, b: number): Promise<number> {
    const fn = "FisherInverse.element";
    const z = this.#live(fn);
    checkInteger(fn, "a", a, 0, this.size - 1);
    checkInteger(fn, "b", b, 0, this.size - 1);
    const [, m = 0, width = 0] = z.shape;
    const block = Math.floor(a / width);
    if (block !== Math.floor(b / width)) return 0;
    using one = z.slice(0, block, block + 1);
    using matrix = one.reshape([m, width]);
    using left = matrix.slice(1, a % width, (a % width) + 1);
    using right = matrix.slice(1, b % width, (b % width) + 1);
    return await elementOf([left, right], a === b, this.damp);
  }

  dispose(): void {
    this.#z.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #unpadded<D extends DType>(padded: Tensor, dtype: D): Tensor<D> {
    using line = padded.reshape([padded.size]);
    using part = line.slice(0, 0, this.size);
    return part.toDType(dtype);
  }

  #live(fn: string): Tensor<"float64"> {
    if (this.#z.disposed) throw new DisposedError(`${fn}: the inverse was disposed`);
    return this.#z;
  }
}
