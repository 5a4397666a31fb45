import {
  hutchinsonDiagonal,
  type BatchLoss,
  type HutchinsonOptions,
} from "../../curvature/index.js";
import { ArgumentError, ShapeError, expected } from "../../errors.js";
import type { MultiHeadAttention, Parameter } from "../../nn/index.js";
import { checkNumber } from "../../ops/check.js";
import { reduce } from "../../ops/reduce.js";
import { item } from "../../ops/tensor-mean.js";
import { unary } from "../../ops/unary.js";
import { Tensor } from "../../tensor/index.js";
import { zerosOf } from "../sparsity.js";

/** A parameter of which every unit owns an equal share of an axis. */
export interface UnitPart extends Parameter {
  /** Default 0. */
  readonly axis?: number | undefined;
}

/** Units of a layer that go or stay whole: output channels, or the heads of attention. */
export interface UnitLayer {
  readonly name: string;
  readonly units: number;
  /** The weights: what importance is computed from. */
  readonly weights: readonly UnitPart[];
  /** Parameters that go with them: biases, batch norms. */
  readonly follow?: readonly UnitPart[] | undefined;
}

/** The output channels of a weight `[out, ...]`, with what follows them. */
export function channelUnits(weight: Parameter, follow: readonly Parameter[] = []): UnitLayer {
  return { name: weight.name, units: weight.tensor.shape[0] ?? 0, weights: [weight], follow };
}

/**
 * The heads of attention: rows of queries, keys and values, columns of the output. Keys and values that several heads share are
 * no head's own.
 *
 * @param path of the module in its model, for the names.
 */
export function headUnits(attention: MultiHeadAttention, path: string): UnitLayer {
  const { heads, keyHeads, query, key, value, output } = attention;
  const own = heads === keyHeads ? ({ query, key, value } as const) : ({ query } as const);
  const named = (part: string) => (path === "" ? part : `${path}.${part}`);
  const rows = Object.entries(own);
  return {
    name: path,
    units: heads,
    weights: [
      ...rows.map(([part, { weight }]) => ({ name: named(`${part}.weight`), tensor: weight })),
      { name: named("output.weight"), tensor: output.weight, axis: 1 },
    ],
    follow: rows.flatMap(([part, { bias }]) =>
      bias === undefined ? [] : [{ name: named(`${part}.bias`), tensor: bias }],
    ),
  };
}

/** @internal The axis of a part and how much of it a unit owns. */
export function shareOf(fn: string, units: number, { name, tensor, axis = 0 }: UnitPart) {
  const length = tensor.shape[axis];
  if (length === undefined || units < 1 || length % units !== 0) {
    const what = `a length of axis ${axis} that ${units} units share`;
    throw new ShapeError(expected(fn, what, name, tensor.shape));
  }
  return { axis, share: length / units };
}

/** Sums over what each unit owns. */
function* perUnit(
  fn: string,
  layer: UnitLayer,
  tensors: readonly Tensor[],
): Generator<Promise<Float64Array>> {
  for (const [i, part] of layer.weights.entries()) {
    const { axis, share } = shareOf(fn, layer.units, part);
    using wide = item(tensors, i).toDType("float64");
    const { shape } = wide;
    const size = (dims: readonly number[]) => dims.reduce((a, b) => a * b, 1);
    const four = [size(shape.slice(0, axis)), layer.units, share, size(shape.slice(axis + 1))];
    using split = wide.reshape(four);
    using sums = reduce(fn, "sum", split, [0, 2, 3]);
    yield sums.data() as Promise<Float64Array>;
  }
}

async function sumPerUnit(
  fn: string,
  layer: UnitLayer,
  tensors: readonly Tensor[],
): Promise<number[]> {
  const parts = await Promise.all(perUnit(fn, layer, tensors));
  return Array.from({ length: layer.units }, (_, c) =>
    parts.reduce((sum, part) => sum + (part[c] ?? 0), 0),
  );
}

export interface HapOptions extends Omit<HutchinsonOptions, "samples"> {
  /** Products with the Hessian. Default 300. */
  readonly samples?: number | undefined;
}

/**
 * How much the loss would rise if a unit were removed, by the average curvature of its weights: `t_c |w_c|^2 / p_c`, `t_c` the trace
 * of the Hessian's block of the unit by Hutchinson's estimate (at least 0), `p_c` its number of weights. Without the factor 1/2.
 *
 * @param loss of a batch, one element, the model in evaluation mode; see `hutchinsonDiagonal`.
 * @returns by the layer's name, one number a unit.
 * @throws ShapeError, ArgumentError; NumericalError `NON_FINITE`; `ABORTED`
 * Cost: about three gradients a sample and batch.
 * Source: Yu et al., "Hessian-aware pruning and optimal neural implant", 2022. Ours: a negative trace counts as 0.
 */
export async function hapImportance(
  loss: BatchLoss,
  layers: readonly UnitLayer[],
  options: HapOptions = {},
): Promise<Map<string, Float64Array>> {
  const fn = "hapImportance";
  for (const layer of layers) for (const part of layer.weights) shareOf(fn, layer.units, part);
  const parameters = layers.flatMap(({ weights }) => weights);
  const estimate = await hutchinsonDiagonal(loss, parameters, { samples: 300, ...options });
  try {
    const found = new Map<string, Float64Array>();
    let at = 0;
    for (const layer of layers) {
      const own = estimate.diagonals.slice(at, (at += layer.weights.length));
      const traces = await sumPerUnit(fn, layer, own);
      const squares = layer.weights.map(({ tensor }) => unary(fn, "square", tensor));
      const norms = await sumPerUnit(fn, layer, squares).finally(() => {
        for (const tensor of squares) tensor.dispose();
      });
      const size = layer.weights.reduce((sum, { tensor }) => sum + tensor.size, 0) / layer.units;
      found.set(layer.name, importanceOf(traces, norms, size));
    }
    return found;
  } finally {
    estimate.dispose();
  }
}

/** @internal `max(0, t_c) |w_c|^2 / p`. */
export function importanceOf(
  traces: readonly number[],
  norms: readonly number[],
  size: number,
): Float64Array {
  return Float64Array.from(traces, (trace, c) => (Math.max(0, trace) * (norms[c] ?? NaN)) / size);
}

/** What becomes of a unit: it stays, goes, or a cheap implant takes its place. */
export type UnitFate = "remain" | "prune" | "implant";

export interface FateOptions {
  /** Share of all units that do not remain: those up to and including number floor(ratio n) by importance. */
  readonly ratio: number;
  /** Share of those, the more important ones, that get an implant. Default 0. */
  readonly implantRatio?: number | undefined;
  /** Most of a layer's units that may go, the least important ones. Default 1; the most important one always remains. */
  readonly limit?: number | undefined;
}

/**
 * Which units remain, by importance over all layers.
 *
 * @param importances of `hapImportance`, by layer.
 * @throws ArgumentError (also for importances that are not finite)
 */
export function hapFates(
  importances: ReadonlyMap<string, ArrayLike<number>>,
  options: FateOptions,
): Map<string, UnitFate[]> {
  const fn = "hapFates";
  const { ratio, implantRatio = 0, limit = 1 } = options;
  for (const [name, value] of Object.entries({ ratio, implantRatio, limit }))
    checkNumber(fn, name, value, "from 0 to 1", (x) => x >= 0 && x <= 1);
  for (const [name, values] of importances)
    if (values.length === 0 || !Array.from(values).every(Number.isFinite))
      throw new ArgumentError(expected(fn, "finite numbers", `the importances of ${name}`, values));
  const ascending = (values: readonly number[]) => [...values].sort((a, b) => a - b);
  const all = ascending([...importances.values()].flatMap((values) => Array.from(values)));
  const at = (sorted: readonly number[], share: number) =>
    sorted[Math.min(sorted.length - 1, zerosOf(sorted.length, share))] ?? -Infinity;
  const threshold = ratio === 0 ? -Infinity : at(all, ratio);
  const implants = implantRatio === 0 ? Infinity : at(all, (1 - implantRatio) * ratio);
  return new Map(
    Array.from(importances, ([name, list]) => {
      const values = Array.from(list);
      const order = values.map((_, c) => c).sort((a, b) => (values[a] ?? 0) - (values[b] ?? 0));
      const going = order.filter((c) => (values[c] ?? 0) <= threshold);
      // The most important unit is the last of the order: it stays whatever the limit.
      const most = Math.min(zerosOf(values.length, limit), values.length - 1);
      const gone = new Set(going.slice(0, most));
      const fates = values.map((value, c): UnitFate => {
        if (!gone.has(c)) return "remain";
        return value > implants ? "implant" : "prune";
      });
      return [name, fates];
    }),
  );
}
