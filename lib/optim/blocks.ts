import { copyInto } from "../ops/copy.js";
import { item } from "../ops/tensor-mean.js";
import { scope, type Tensor } from "../tensor/index.js";

/** One axis of a grid of equal blocks: `count` pieces of `size` from `start` on. */
interface Pieces {
  readonly start: number;
  readonly count: number;
  readonly size: number;
}

/** @internal Blocks of one shape that lie in a grid; a tensor cut into blocks is up to 2^k of them. */
export type BlockGrid = readonly Pieces[];

/** @internal Each dimension cut into pieces of `blockSize`, the last being what is left. */
export function blockGrids(dims: readonly number[], blockSize: number): BlockGrid[] {
  return dims.reduce<BlockGrid[]>(
    (grids, length) => {
      const count = Math.floor(length / blockSize);
      const rest = length - count * blockSize;
      const pieces: Pieces[] = [];
      if (count > 0) pieces.push({ start: 0, count, size: blockSize });
      if (rest > 0) pieces.push({ start: count * blockSize, count: 1, size: rest });
      return grids.flatMap((grid) => pieces.map((part) => [...grid, part]));
    },
    [[]],
  );
}

/** @internal How many blocks a grid has. */
export function countOf(grid: BlockGrid): number {
  return grid.reduce((product, { count }) => product * count, 1);
}

function region(x: Tensor, grid: BlockGrid): Tensor {
  return grid.reduce(
    (part, { start, count, size }, axis) => part.slice(axis, start, start + count * size),
    x,
  );
}

/** @internal The blocks of x, `[count, ...sizes]`, contiguous; the caller disposes it. */
export function readBlocks(x: Tensor, grid: BlockGrid): Tensor {
  return scope(() => {
    const sizes = grid.map(({ size }) => size);
    const part = region(x, grid).contiguous();
    if (countOf(grid) === 1) return part.reshape([1, ...sizes]);
    const cut = part.reshape(grid.flatMap(({ count, size }) => [count, size]));
    const order = [...grid.map((_, i) => 2 * i), ...grid.map((_, i) => 2 * i + 1)];
    return cut
      .permute(order)
      .contiguous()
      .reshape([countOf(grid), ...sizes]);
  });
}

/** @internal Puts blocks back where `readBlocks` found them. */
export function writeBlocks(blocks: Tensor, grid: BlockGrid, target: Tensor): void {
  scope(() => {
    const place = region(target, grid);
    if (countOf(grid) === 1) {
      copyInto("writeBlocks", blocks.reshape(place.shape), place);
      return;
    }
    const rank = grid.length;
    const cut = blocks.reshape([
      ...grid.map(({ count }) => count),
      ...grid.map(({ size }) => size),
    ]);
    const order = grid.flatMap((_, i) => [i, rank + i]);
    copyInto("writeBlocks", cut.permute(order).contiguous().reshape(place.shape), place);
  });
}

/** @internal The lengths of the axes of a grid's blocks. */
export function sizeOfAxis(grid: BlockGrid, axis: number): number {
  return item(grid, axis).size;
}
