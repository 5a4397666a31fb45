import { ArgumentError, DTypeError, describe, expected } from "../errors.js";
import { type Parameter, parameterList } from "../nn/parameter.js";
import { Tensor } from "../tensor/index.js";

export type { Parameter };

/** Which parameters: by exact names, by a pattern, or by a function of the parameter. */
export type Match = readonly string[] | RegExp | ((parameter: Parameter) => boolean);

/** Options for some of the parameters; what is not given is as for all. The first group that matches counts. */
export type Group<Options> = Partial<Options> & { readonly match: Match };

function matches({ match }: { readonly match: Match }, parameter: Parameter): boolean {
  if (typeof match === "function") return match(parameter);
  // A pattern with the flag g would remember where it was.
  if (match instanceof RegExp)
    return new RegExp(match.source, match.flags.replace(/[gy]/g, "")).test(parameter.name);
  return match.includes(parameter.name);
}

/**
 * The parameters as a list, checked.
 *
 * @throws ArgumentError when there is none, a name comes twice or one tensor has two names; DTypeError when one is not
 *   float32; DisposedError
 */
export function checkParameters(fn: string, params: Iterable<Parameter>): Parameter[] {
  const list = parameterList(fn, params);
  const names = new Set<string>();
  const tensors = new Map<Tensor, string>();
  for (const { name, tensor } of list) {
    if (typeof name !== "string" || name === "" || names.has(name))
      throw new ArgumentError(expected(fn, "names that differ", "params", name));
    names.add(name);
    if (!(tensor instanceof Tensor))
      throw new ArgumentError(expected(fn, "a Tensor", `params ${name}`, tensor));
    tensor.native(fn); // throws DisposedError
    if (tensor.dtype !== "float32")
      throw new DTypeError(expected(fn, "float32", `the dtype of params ${name}`, tensor.dtype));
    if (!tensor.isContiguous)
      throw new ArgumentError(
        `${fn}: expected a contiguous tensor for params ${name} but it is a strided view`,
      );
    const twin = tensors.get(tensor);
    if (twin !== undefined)
      throw new ArgumentError(`${fn}: params ${twin} and ${name} are one tensor: give it once`);
    tensors.set(tensor, name);
  }
  return list;
}

/**
 * The options of one parameter: those of the first group that matches over those of all.
 *
 * @throws ArgumentError when a group matches no parameter
 */
export function resolveGroups<Options extends object>(
  fn: string,
  params: readonly Parameter[],
  options: Options & { readonly groups?: readonly Group<Options>[] | undefined },
): Options[] {
  const groups = options.groups ?? [];
  for (const [i, group] of groups.entries()) {
    if (!params.some((parameter) => matches(group, parameter))) {
      const names = describe(params.map(({ name }) => name));
      throw new ArgumentError(`${fn}: groups[${i}] matches no parameter; the names are ${names}`);
    }
  }
  return params.map((parameter) => ({
    ...options,
    ...groups.find((group) => matches(group, parameter)),
  }));
}
