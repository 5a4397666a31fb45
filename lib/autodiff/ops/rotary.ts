import { ArgumentError, expected } from "../../errors.js";
import { rotary as rotaryValues, type RotaryKind } from "../../ops/rotary.js";
import { newArray, Tensor } from "../../tensor/index.js";
import { differentiable } from "../define.js";

interface Turn extends RotaryKind {
  readonly cosine: Tensor;
  readonly sine: Tensor;
}

// A rotation of each pair: its transpose is its inverse.
const turned = differentiable<[Tensor], Turn>("rotary", {
  vjp: ({ attributes }, g) => [turn(g, { ...attributes, inverse: !attributes.inverse })],
  jvp: ({ attributes }, [t]) => t && turn(t, attributes),
});

function turn(x: Tensor, at: Turn): Tensor {
  return turned([x], rotaryValues("rotary", x, at.cosine, at.sine, at), at);
}

export interface RotaryOptions {
  /** Pairs of neighbours, as in the paper; default false: an element and the one half of the turned part away, as in Llama. */
  readonly interleaved?: boolean | undefined;
}

/**
 * Rotary position embedding: pairs of elements of x `[..., places, width]` turned by an angle for each place and pair.
 *
 * @param angles cosine and sine, `[places, pairs]`, 2 pairs <= width; see `rotaryAngles`. They are constants.
 * Su et al., RoFormer, 2021.
 */
export function rotary(
  x: Tensor,
  angles: { readonly cosine: Tensor; readonly sine: Tensor },
  options: RotaryOptions = {},
): Tensor {
  return turn(x, { ...angles, interleaved: options.interleaved ?? false, inverse: false });
}

/**
 * Cosine and sine of `place * base^(-2 i / width)` for pairs i of `width / 2`, in float64 and then rounded.
 *
 * @returns two tensors `[places, width / 2]` the caller disposes.
 */
export function rotaryAngles(
  places: number,
  width: number,
  options: {
    base?: number;
    first?: number;
    dtype?: "float32" | "float64";
    device?: Tensor["device"];
  } = {},
): { cosine: Tensor; sine: Tensor } {
  const { base = 10_000, first = 0, dtype = "float32", device } = options;
  if (!Number.isInteger(width) || width < 2 || width % 2 !== 0)
    throw new ArgumentError(expected("rotaryAngles", "an even number", "width", width));
  const pairs = width / 2;
  const table = (f: (angle: number) => number) => {
    const values = newArray(dtype, places * pairs);
    for (let place = 0; place < places; ++place)
      for (let i = 0; i < pairs; ++i)
        values[place * pairs + i] = f((first + place) * base ** (-i / pairs));
    return Tensor.from(values, [places, pairs], { dtype, device });
  };
  return { cosine: table(Math.cos), sine: table(Math.sin) };
}
