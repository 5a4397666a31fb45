import { ArgumentError, expected } from "../errors.js";
import type { Tensor } from "../tensor/index.js";

/** A tensor that is trained, by its path in the model: what `model.parameters()` yields. */
export interface Parameter {
  readonly name: string;
  readonly tensor: Tensor;
}

/** @internal Parameters as a list. @throws ArgumentError when they cannot be listed or there is none */
export function parameterList(fn: string, params: Iterable<Parameter>): Parameter[] {
  if (typeof (params as Partial<Iterable<Parameter>> | undefined)?.[Symbol.iterator] !== "function")
    throw new ArgumentError(expected(fn, "an iterable of { name, tensor }", "params", params));
  const list = [...params];
  if (list.length === 0) throw new ArgumentError(`${fn}: expected at least one parameter`);
  return list;
}
