import { averagePool, maxPoolIndices, poolShape, type PoolGeometry } from "../../ops/pool.js";
import { pairOf, type Pair } from "../../ops/conv2d.js";
import { checkReal } from "../../ops/broadcast.js";
import type { Tensor } from "../../tensor/index.js";
import { differentiable } from "../define.js";
import { takeAlong } from "./indexing.js";
import { mean } from "./reductions.js";
import { reshape } from "./views.js";

interface Average extends PoolGeometry {
  readonly whole: boolean;
  readonly from: readonly number[];
  readonly to: readonly number[];
}

// Linear, and each other's transpose.
const averaged = differentiable<[Tensor], Average>("avgPool2d", {
  vjp: ({ attributes }, g) => [back(g, attributes)],
  jvp: ({ attributes }, [t]) => t && average(t, attributes),
});

const spread = differentiable<[Tensor], Average>("transpose of avgPool2d", {
  vjp: ({ attributes }, g) => [average(g, attributes)],
  jvp: ({ attributes }, [t]) => t && back(t, attributes),
});

function average(x: Tensor, at: Average): Tensor {
  return averaged(
    [x],
    averagePool("avgPool2d", x, at.to, at, { whole: at.whole, transposed: false }),
    at,
  );
}

function back(g: Tensor, at: Average): Tensor {
  return spread(
    [g],
    averagePool("avgPool2d", g, at.from, at, { whole: at.whole, transposed: true }),
    at,
  );
}

export interface PoolOptions {
  /** Default: the size of the window. */
  readonly stride?: Pair | undefined;
  /** Rows and columns around the image that no window finds an element in, at most half of the window; default 0. */
  readonly padding?: Pair | undefined;
}

function geometryOf(fn: string, kernel: Pair, options: PoolOptions): PoolGeometry {
  const size = pairOf(fn, "kernel", kernel, 1);
  return {
    kernel: size,
    stride: pairOf(fn, "stride", options.stride ?? size, 1),
    padding: pairOf(fn, "padding", options.padding ?? 0, 0),
  };
}

export interface AvgPoolOptions extends PoolOptions {
  /** Divide by the size of the window at the edges too, as if zeros were there. Default true. */
  readonly countIncludePad?: boolean | undefined;
}

/** The mean of each window of x `[..., height, width]`. */
export function avgPool2d(x: Tensor, kernel: Pair, options: AvgPoolOptions = {}): Tensor {
  const fn = "avgPool2d";
  const geometry = geometryOf(fn, kernel, options);
  const to = poolShape(fn, x, geometry);
  return average(x, { ...geometry, whole: options.countIncludePad ?? true, from: x.shape, to });
}

/** The largest element of each window of x `[..., height, width]`; of equal ones the first has the derivative. */
export function maxPool2d(x: Tensor, kernel: Pair, options: PoolOptions = {}): Tensor {
  const fn = "maxPool2d";
  const geometry = geometryOf(fn, kernel, options);
  const shape = poolShape(fn, x, geometry);
  const index = maxPoolIndices(fn, x, shape, geometry);
  const [height = 0, width = 0] = x.shape.slice(-2);
  const planes = x.shape.slice(0, -2);
  const picked = takeAlong(
    reshape(x, [...planes, height * width]),
    index.reshape([...planes, (shape.at(-2) ?? 0) * (shape.at(-1) ?? 0)]),
  );
  return reshape(picked, shape);
}

/** The mean of each plane of x `[..., height, width]`: `[...]`. */
export function globalAvgPool2d(x: Tensor): Tensor {
  checkReal("globalAvgPool2d", "x", x);
  return mean(x, [-2, -1]);
}
