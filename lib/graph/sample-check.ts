/** Checking calibration samples against what the model takes. */
import { ArgumentError, DTypeError, ShapeError, expected, type ErrorDetails } from "../errors.js";
import {
  ELEMENT_ARRAYS,
  elementCount,
  holds,
  type Feeds,
  type HostTensor,
} from "./element-types.js";
import type { ModelInput } from "./model-inputs.js";

/** Every error about calibration samples has `details.reason` "calibration", and the sample's number. */
export function sampleDetails(index?: number, more: ErrorDetails = {}): ErrorDetails {
  return { reason: "calibration", ...(index === undefined ? {} : { sample: index }), ...more };
}

/**
 * Checks one sample: an object with a tensor `{ data, dims }` for each input of the model and nothing
 * else. Only the fields a graph needs are taken over; arrays are not copied.
 *
 * @throws ArgumentError, DTypeError, ShapeError that name the sample and the input.
 */
export function checkSample(inputs: readonly ModelInput[], value: unknown, index: number): Feeds {
  const fn = "calibration";
  if (
    value === null ||
    typeof value !== "object" ||
    Array.isArray(value) ||
    ArrayBuffer.isView(value)
  ) {
    const what = "an object { inputName: { data, dims } }";
    throw new ArgumentError(expected(fn, what, `sample ${index}`, value), {
      details: sampleDetails(index),
    });
  }
  const sample = value as Record<string, unknown>;
  const names = inputs.map((input) => input.name);
  const stranger = Object.keys(sample).find((name) => !names.includes(name));
  if (stranger !== undefined) {
    throw new ArgumentError(
      expected(fn, `inputs ${names.join(", ")}`, `sample ${index}`, stranger),
      {
        details: sampleDetails(index),
      },
    );
  }
  const feeds: Feeds = {};
  for (const input of inputs) {
    const given = Object.hasOwn(sample, input.name) ? sample[input.name] : undefined;
    feeds[input.name] = checkTensor(input, given, index);
  }
  return feeds;
}

function checkTensor(input: ModelInput, given: unknown, index: number): HostTensor {
  const fn = "calibration";
  const name = `input ${JSON.stringify(input.name)} of sample ${index}`;
  const options = { details: sampleDetails(index, { input: input.name }) };
  if (given === null || typeof given !== "object" || !("data" in given) || !("dims" in given)) {
    throw new ArgumentError(expected(fn, "a tensor { data, dims }", name, given), options);
  }
  const { data, dims } = given;
  if (input.type === undefined) {
    throw new DTypeError(`${fn}: ${name} has a type that cannot be fed`, options);
  }
  // Files say the type; an array alone cannot tell float16 from uint16.
  const declared = "type" in given ? given.type : input.type;
  if (declared !== input.type || !holds(data, input.type)) {
    const what = `${input.type} values (${ELEMENT_ARRAYS[input.type].name})`;
    throw new DTypeError(
      expected(fn, what, name, declared === input.type ? data : declared),
      options,
    );
  }
  if (!isShape(dims) || elementCount(dims) !== data.length) {
    throw new ShapeError(expected(fn, `dims of ${data.length} values`, name, dims), options);
  }
  if (input.dims !== undefined && !fits(dims, input.dims)) {
    const wanted = input.dims.map((dim) => dim ?? "?").join(", ");
    throw new ShapeError(expected(fn, `dims [${wanted}]`, name, dims), options);
  }
  return { data, dims };
}

function isShape(dims: unknown): dims is number[] {
  return (
    Array.isArray(dims) && dims.every((dim) => Number.isSafeInteger(dim) && (dim as number) >= 0)
  );
}

function fits(dims: readonly number[], wanted: readonly (number | string | undefined)[]): boolean {
  return (
    dims.length === wanted.length &&
    wanted.every((want, axis) => typeof want !== "number" || want === dims[axis])
  );
}
