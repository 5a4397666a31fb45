import { ArgumentError, expected } from "../../errors.js";
import { checkReal } from "../../ops/broadcast.js";
import { randomUniform, type RandomKey } from "../../ops/random.js";
import { compare } from "../../ops/compare.js";
import type { Tensor } from "../../tensor/index.js";
import { numberLike } from "../tensors.js";
import { where } from "./arithmetic.js";
import { scale } from "./elementary.js";

/**
 * x with elements set to zero at random, and the others divided by `1 - probability`.
 *
 * @param probability of an element to become zero, from 0 to below 1.
 * @param key what the random numbers depend on: the same key drops the same elements, on every device.
 */
export function dropout(x: Tensor, probability: number, key: RandomKey): Tensor {
  const fn = "dropout";
  checkReal(fn, "x", x);
  if (!(probability >= 0 && probability < 1))
    throw new ArgumentError(expected(fn, "a number from 0 to below 1", "probability", probability));
  if (probability === 0) return scale(x, 1);
  const drawn = randomUniform(x.shape, { ...key, device: x.device });
  const kept = compare(fn, "greaterEqual", drawn, numberLike(probability, drawn));
  return where(kept, scale(x, 1 / (1 - probability)), 0);
}
