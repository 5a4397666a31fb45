import type { Tensor } from "../tensor/index.js";
import { record, type Call, type Maybe, type Op } from "./context.js";

/** One use of an operation with one result. */
export interface Use<In, A> {
  readonly inputs: In;
  readonly output: Tensor;
  readonly attributes: A;
}

/**
 * The derivative rules of an operation with one result, in differentiable functions. A rule may return a tensor it was
 * given; tensors it makes on the way are freed for it. `undefined` is a derivative that is zero.
 */
export interface Rules<In extends readonly Tensor[], A> {
  /** Cotangents of the inputs from that of the output; only the `needed` ones are looked at. */
  vjp(
    use: Use<In, A>,
    cotangent: Tensor,
    needed: { readonly [K in keyof In]: boolean },
  ): { readonly [K in keyof In]: Maybe };
  /** The tangent of the output from those of the inputs, of which at least one is there. */
  jvp(use: Use<In, A>, tangents: { readonly [K in keyof In]: Maybe }): Maybe;
}

/** The general rules of an operation from those for one result. */
export function defineOp<In extends readonly Tensor[], A>(
  name: string,
  rules: Rules<In, A>,
): Op<A> {
  const useOf = ({ inputs, outputs, attributes }: Call<A>): Use<In, A> => {
    const [output] = outputs as readonly [Tensor];
    return { inputs: inputs as unknown as In, output, attributes };
  };
  return {
    name,
    vjp: (call, [cotangent], needed) =>
      cotangent === undefined
        ? []
        : rules.vjp(useOf(call), cotangent, needed as { readonly [K in keyof In]: boolean }),
    jvp: (call, tangents) => [
      rules.jvp(useOf(call), tangents as { readonly [K in keyof In]: Maybe }),
    ],
  };
}

/**
 * Makes an operation differentiable: the function returned takes what went in and the value that came out, follows it where
 * a derivative is being taken, and returns the value.
 *
 * @example
 * const cubed = differentiable<[Tensor], undefined>("cube", {
 *   vjp: ({ inputs: [x] }, g) => [mul(g, scale(square(x), 3))],
 *   jvp: ({ inputs: [x] }, [t]) => t && mul(t, scale(square(x), 3)),
 * });
 * const cube = (x: Tensor) => cubed([x], computeTheCube(x), undefined);
 */
export function differentiable<In extends readonly Tensor[], A>(
  name: string,
  rules: Rules<In, A>,
): (inputs: In, output: Tensor, attributes: A) => Tensor {
  const op = defineOp(name, rules);
  return (inputs, output, attributes) => {
    record(op, inputs, [output], attributes);
    return output;
  };
}
