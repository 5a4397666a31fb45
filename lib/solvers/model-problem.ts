import { hessian, hvp, valueAndGrad } from "../autodiff/index.js";
import { ShapeError, expected } from "../errors.js";
import { type Parameter, parameterList } from "../nn/parameter.js";
import { copyInto } from "../ops/copy.js";
import { item } from "../ops/tensor-mean.js";
import { Tensor } from "../tensor/index.js";
import type { SecondOrderProblem } from "./types.js";

/** A model's loss as a function of one vector, all its parameters in their order. */
export type ModelProblem = {
  readonly [Name in keyof SecondOrderProblem]-?: NonNullable<SecondOrderProblem[Name]>;
} & {
  /** The parameters as they are now, `[n]`: where a solver begins. */
  readonly start: () => Float64Array;
  /** Puts a vector into the parameters, rounded to their dtype: the result of a solver, to use the model with. */
  readonly assign: (x: Float64Array) => void;
};

/**
 * What the solvers minimise, from a loss that the engine differentiates. Every evaluation writes its point into the parameters
 * and leaves it there: call `assign(result.x)` at the end. float64 parameters give the solvers all their digits; with
 * float32 ones f and its derivatives are rounded, and tolerances below about 1e-4 of the first gradient are not reached.
 *
 * @param loss one element; synchronous, and the same value each time at the same parameters.
 * @param params float32 or float64, of any devices; distinct tensors.
 * @returns `hessian` is for at most 4096 numbers of one dtype and device (one product a column); `hvp` for any.
 * @throws ArgumentError, DTypeError and DisposedError for parameters that cannot be trained; ShapeError for a vector of another
 *   length. Cost: a gradient an evaluation.
 * @example
 * const problem = modelProblem(() => crossEntropy(model.forward(x), y), model.parameters());
 * const { x: best } = await lbfgs(problem, problem.start());
 * problem.assign(best);
 */
export function modelProblem(loss: () => Tensor, params: Iterable<Parameter>): ModelProblem {
  const fn = "modelProblem";
  const tensors = parameterList(fn, params).map(({ tensor }) => tensor);
  const size = tensors.reduce((sum, tensor) => sum + tensor.size, 0);
  const assign = (x: Float64Array) => {
    if (x.length !== size) throw new ShapeError(expected(fn, `${size} numbers`, "x", x));
    unpack(x, tensors, (part, tensor) => {
      copyInto(fn, part, tensor);
      part.dispose();
    });
  };
  const at = <T>(x: Float64Array, evaluate: () => T): T => {
    assign(x);
    return evaluate();
  };
  const both = (x: Float64Array) =>
    at(x, async () => {
      const { value, gradients } = valueAndGrad(loss, tensors);
      return { value: item(await pack([value]), 0), gradient: await pack(gradients) };
    });
  return {
    start: () =>
      Float64Array.from(tensors.flatMap((tensor) => Array.from(tensor.dataSync(), Number))),
    assign,
    value: async (x) => (await both(x)).value,
    gradient: async (x) => (await both(x)).gradient,
    valueAndGradient: both,
    hessian: (x) => at(x, async () => await pack([hessian(loss, tensors)])),
    hvp: (x, v) =>
      at(x, async () => {
        const vectors: Tensor[] = [];
        unpack(v, tensors, (part) => vectors.push(part));
        const { value, gradients, products } = hvp(loss, tensors, vectors);
        for (const tensor of [...vectors, value, ...gradients]) tensor.dispose();
        return await pack(products);
      }),
  };
}

/** All elements in one row; frees the tensors. */
async function pack(tensors: readonly Tensor[]): Promise<number[]> {
  const parts = await Promise.all(
    tensors.map(async (tensor) => Array.from(await tensor.data(), Number)),
  );
  for (const tensor of tensors) tensor.dispose();
  return parts.flat();
}

/** The parts of a vector as tensors like those given; they belong to `each`. */
function unpack(
  x: Float64Array,
  tensors: readonly Tensor[],
  each: (part: Tensor, tensor: Tensor) => void,
): void {
  let at = 0;
  for (const tensor of tensors) {
    const { shape, device, dtype, size } = tensor;
    using part = Tensor.from(x.slice(at, at + size), shape, { dtype: "float64", device });
    each(part.toDType(dtype), tensor);
    at += size;
  }
}
