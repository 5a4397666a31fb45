import { ArgumentError, DTypeError, expected } from "../errors.js";
import { copyInto } from "../ops/copy.js";
import { scope, Tensor } from "../tensor/index.js";
import { checkParameters, grad } from "./grad.js";
import { hvp } from "./hvp.js";
import { jvp, type Outputs } from "./jvp.js";
import { add, mul } from "./ops/arithmetic.js";
import { sum } from "./ops/reductions.js";

export interface GradcheckOptions {
  /** 1: first derivatives; 2 (default): second ones too. */
  readonly order?: 1 | 2 | undefined;
  /** Largest difference allowed from a central difference, relative to the largest derivative. Default 1e-6. */
  readonly tolerance?: number | undefined;
  /** Step of the central differences, relative to max(1, |x|). Default 1e-5. */
  readonly step?: number | undefined;
  /** Elements of each parameter that are moved one by one, spread evenly. Default 64. */
  readonly samples?: number | undefined;
}

export interface GradcheckFailure {
  readonly check: "gradient" | "forward against reverse" | "hessian" | "reverse over reverse";
  readonly param: number;
  /** Flat index of the element; -1 for a check of all of them together. */
  readonly index: number;
  readonly expected: number;
  readonly received: number;
}

export interface GradcheckReport {
  readonly passed: boolean;
  readonly failures: readonly GradcheckFailure[];
  /** Largest difference seen, relative to the largest derivative of its check. */
  readonly largestError: number;
}

/** Agreement of two exact ways to the same number, relative. */
const EXACT = 1e-9;

/**
 * Compares the derivatives of a function with central differences, and the ways to take them with each other: gradient,
 * forward mode against reverse mode, Hessian-vector product, reverse over reverse. Several results are summed with fixed
 * random weights.
 *
 * @param fn synchronous, with the same result each time; called about four times for each element that is moved.
 * @param params float64, contiguous. Their elements are moved in place and put back.
 * @example
 * const x = Tensor.from(new Float64Array([0.3, -1.2]));
 * gradcheck(() => sum(tanh(x)), [x]).passed; // true
 */
export function gradcheck(
  fn: () => Outputs,
  params: readonly Tensor[],
  options: GradcheckOptions = {},
): GradcheckReport {
  const name = "gradcheck";
  const { order = 2, tolerance = 1e-6, step = 1e-5, samples = 64 } = options;
  checkParameters(name, params);
  params.forEach((param, i) => {
    if (param.dtype !== "float64")
      throw new DTypeError(expected(name, "float64", `the dtype of params[${i}]`, param.dtype));
    if (!param.isContiguous)
      throw new ArgumentError(expected(name, "a contiguous tensor", `params[${i}]`, "a view"));
  });
  return scope(() => {
    const weights: Tensor[] = [];
    const loss = () => {
      const outputs = fn();
      const list = outputs instanceof Tensor ? [outputs] : outputs;
      return list
        .map((y, i) => sum(mul(y, (weights[i] ??= noise(y, i + 1)))))
        .reduce((a, b) => add(a, b));
    };
    loss(); // draws the weights, outside of any derivative
    const report = new Report(tolerance);
    const start = params.map(valuesOf);
    const directions = params.map((param, i) => noise(param, 100 + i));
    const moved = (t: number) => start.map((x, p) => along(x, directions[p], t));
    const values = (tensors: readonly Tensor[]) => tensors.map(valuesOf);
    const at = <T>(points: readonly Float64Array[], body: () => T): T => {
      write(params, points);
      try {
        return scope(body);
      } finally {
        write(params, start);
      }
    };

    const gradients = values(grad(loss, params));
    start.forEach((x, p) => {
      const differences = spread(x.length, samples).map((i): [number, number] => {
        const h = step * Math.max(1, Math.abs(x[i] ?? 0));
        const valueAt = (value: number) =>
          at(start.with(p, x.with(i, value)), () => numberOf(loss()));
        return [i, (valueAt((x[i] ?? 0) + h) - valueAt((x[i] ?? 0) - h)) / (2 * h)];
      });
      report.elements("gradient", p, gradients[p], differences, tolerance);
    });
    const slope = jvp(loss, params, directions).tangents.map(numberOf)[0] ?? NaN;
    report.number("forward against reverse", dot(gradients, values(directions)), slope);

    if (order === 2) {
      const products = values(hvp(loss, params, directions).products);
      const ahead = at(moved(step), () => values(grad(loss, params)));
      const behind = at(moved(-step), () => values(grad(loss, params)));
      const twice = values(grad(() => inner(grad(loss, params), directions), params));
      products.forEach((product, p) => {
        const difference = ahead[p]?.map((x, i) => (x - (behind[p]?.[i] ?? NaN)) / (2 * step));
        report.elements("hessian", p, product, [...(difference ?? []).entries()], tolerance);
        report.elements("reverse over reverse", p, twice[p], [...product.entries()], EXACT);
      });
    }
    return report.result();
  });
}

/** Numbers in (-1, 1) that depend on the seed and the index alone. */
function noise(like: Tensor, seed: number): Tensor {
  const values = Float64Array.from({ length: like.size }, (_, i) => {
    const x = Math.sin((i + 1) * 12.9898 + seed * 78.233) * 43758.5453;
    return 2 * (x - Math.floor(x)) - 1;
  });
  return Tensor.from(values, like.shape, { device: like.device });
}

function valuesOf(x: Tensor): Float64Array {
  return Float64Array.from(x.dataSync() as Float64Array);
}

function numberOf(x: Tensor): number {
  return valuesOf(x)[0] ?? NaN;
}

/** x + t v. */
function along(x: Float64Array, v: Tensor | undefined, t: number): Float64Array {
  const direction = v && valuesOf(v);
  return x.map((value, i) => value + t * (direction?.[i] ?? 0));
}

function write(params: readonly Tensor[], points: readonly Float64Array[]): void {
  params.forEach((param, p) => {
    const source = Tensor.from(points[p] ?? [], param.shape, {
      dtype: "float64",
      device: param.device,
    });
    copyInto("gradcheck", source, param);
    source.dispose();
  });
}

function spread(length: number, samples: number): number[] {
  const count = Math.min(length, samples);
  return Array.from({ length: count }, (_, i) => Math.floor((i * length) / count));
}

function inner(xs: readonly Tensor[], ys: readonly Tensor[]): Tensor {
  return xs
    .flatMap((x, i) => {
      const y = ys[i];
      return y === undefined ? [] : [sum(mul(x, y))];
    })
    .reduce((a, b) => add(a, b));
}

function dot(a: readonly Float64Array[], b: readonly Float64Array[]): number {
  return a.reduce(
    (total, x, p) => total + x.reduce((s, value, i) => s + value * (b[p]?.[i] ?? 0), 0),
    0,
  );
}

class Report {
  readonly #failures: GradcheckFailure[] = [];
  #largest = 0;

  constructor(readonly tolerance: number) {}

  elements(
    check: GradcheckFailure["check"],
    param: number,
    received: Float64Array | undefined,
    expected: readonly (readonly [index: number, value: number])[],
    tolerance: number,
  ): void {
    const size = expected.reduce((m, [, value]) => Math.max(m, Math.abs(value)), 1);
    for (const [index, value] of expected)
      this.#compare(
        { check, param, index, expected: value, received: received?.[index] ?? NaN },
        tolerance,
        size,
      );
  }

  number(check: GradcheckFailure["check"], expected: number, received: number): void {
    const size = Math.max(1, Math.abs(expected));
    this.#compare({ check, param: -1, index: -1, expected, received }, EXACT, size);
  }

  #compare(result: GradcheckFailure, tolerance: number, size: number): void {
    const error = Math.abs(result.expected - result.received) / size;
    if (error > this.#largest || Number.isNaN(error)) this.#largest = error;
    if (!(error <= tolerance)) this.#failures.push(result);
  }

  result(): GradcheckReport {
    return {
      passed: this.#failures.length === 0,
      failures: this.#failures,
      largestError: this.#largest,
    };
  }
}
