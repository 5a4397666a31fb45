import { ArgumentError, ShapeError, expected } from "../../errors.js";
import { checkReal } from "../../ops/broadcast.js";
import {
  checkIndex,
  gather as gatherValues,
  scatterAdd as scatterValues,
  type Picks,
} from "../../ops/gather.js";
import { elementsOf } from "../../ops/packed.js";
import { sameShape, type Tensor } from "../../tensor/index.js";
import { differentiable } from "../define.js";

/** Both shapes of a pick: the larger one it takes from, and the one of what it takes. */
interface Pick extends Picks {
  readonly index: Tensor;
  readonly from: readonly number[];
  readonly to: readonly number[];
}

// Linear, and each other's transpose.
const gathered = differentiable<[Tensor], Pick>("gather", {
  vjp: ({ attributes }, g) => [scatter("gather", g, attributes)],
  jvp: ({ attributes }, [t]) => t && pick("gather", t, attributes),
});

const scattered = differentiable<[Tensor], Pick>("scatterAdd", {
  vjp: ({ attributes }, g) => [pick("scatterAdd", g, attributes)],
  jvp: ({ attributes }, [t]) => t && scatter("scatterAdd", t, attributes),
});

function pick(fn: string, x: Tensor, at: Pick): Tensor {
  return gathered([x], gatherValues(fn, x, at.index, at, at.to), at);
}

function scatter(fn: string, g: Tensor, at: Pick): Tensor {
  return scattered([g], scatterValues(fn, g, at.index, at, at.from), at);
}

function axisOf(fn: string, shape: readonly number[], axis: number): number {
  const at = axis < 0 ? axis + shape.length : axis;
  if (!Number.isInteger(at) || at < 0 || at >= shape.length)
    throw new ArgumentError(
      expected(fn, `an axis of a tensor of rank ${shape.length}`, "axis", axis),
    );
  return at;
}

function alongAxis(fn: string, from: readonly number[], indices: Tensor, axis: number): Pick {
  const at = axisOf(fn, from, axis);
  const before = from.slice(0, at);
  const after = from.slice(at + 1);
  return {
    index: indices,
    from,
    to: [...before, ...indices.shape, ...after],
    outer: elementsOf(before),
    n: from[at] ?? 0,
    inner: elementsOf(after),
    m: indices.size,
    shared: true,
  };
}

/**
 * Slices of x along an axis, by their numbers.
 *
 * @param indices int32, any shape, from 0 to the length of the axis - 1; others are an ArgumentError when the result is read.
 * @returns the shape of x with that of `indices` in place of the axis.
 */
export function gather(x: Tensor, indices: Tensor, axis = 0): Tensor {
  const fn = "gather";
  checkReal(fn, "x", x);
  checkIndex(fn, "indices", indices);
  const at = alongAxis(fn, x.shape, indices, axis);
  return pick(fn, x, at);
}

/**
 * The transpose of `gather`: a tensor of `shape` that is zero but for the slices of x, added at their numbers.
 *
 * @param x of the shape `gather` returns for `shape`, `indices` and `axis`.
 */
export function scatterAdd(x: Tensor, indices: Tensor, shape: readonly number[], axis = 0): Tensor {
  const fn = "scatterAdd";
  checkReal(fn, "x", x);
  checkIndex(fn, "indices", indices);
  const at = alongAxis(fn, shape, indices, axis);
  if (!sameShape(x.shape, at.to))
    throw new ShapeError(expected(fn, `shape [${at.to.join(", ")}]`, "x", x.shape));
  return scatter(fn, x, at);
}

/**
 * `x[..., indices[..., j]]`: elements of the last dimension, other ones in each row.
 *
 * @param indices int32, the shape of x but for the last dimension.
 */
export function takeAlong(x: Tensor, indices: Tensor): Tensor {
  const fn = "takeAlong";
  checkReal(fn, "x", x);
  checkIndex(fn, "indices", indices);
  const rows = x.shape.slice(0, -1);
  if (x.rank === 0 || !sameShape(indices.shape.slice(0, -1), rows) || indices.rank !== x.rank)
    throw new ShapeError(
      expected(
        fn,
        `shape [${[...rows, "m"].join(", ")}], as x [${x.shape.join(", ")}] begins`,
        "indices",
        indices.shape,
      ),
    );
  const at: Pick = {
    index: indices,
    from: x.shape,
    to: indices.shape,
    outer: elementsOf(rows),
    n: x.shape.at(-1) ?? 0,
    inner: 1,
    m: indices.shape.at(-1) ?? 0,
    shared: false,
  };
  return pick(fn, x, at);
}

/** Rows of `table [n, width]` by their numbers: `[...indices, width]`. */
export function embedding(table: Tensor, indices: Tensor): Tensor {
  const fn = "embedding";
  checkReal(fn, "table", table);
  if (table.rank !== 2)
    throw new ShapeError(expected(fn, "shape [n, width]", "table", table.shape));
  checkIndex(fn, "indices", indices);
  const at = alongAxis(fn, table.shape, indices, 0);
  return pick(fn, table, at);
}
