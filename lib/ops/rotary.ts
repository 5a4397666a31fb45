import { enqueue } from "../binding/index.js";
import { ShapeError } from "../errors.js";
import { Tensor } from "../tensor/index.js";
import { checkLike, checkReal } from "./broadcast.js";
import { elementsOf, shaped, withPacked } from "./packed.js";

export interface RotaryKind {
  /** Pairs of neighbours; otherwise an element and the one half of the turned part away. */
  readonly interleaved: boolean;
  /** Turned back. */
  readonly inverse: boolean;
}

/** x `[..., places, width]` with its pairs turned by angles whose cosine and sine are `[places, pairs]`. Queued. */
export function rotary(
  fn: string,
  x: Tensor,
  cosine: Tensor,
  sine: Tensor,
  { interleaved, inverse }: RotaryKind,
): Tensor {
  for (const [name, tensor] of Object.entries({ x, cosine, sine })) {
    checkReal(fn, name, tensor);
    checkLike(fn, x, name, tensor);
  }
  const [places = 0, width = 0] = x.shape.slice(-2);
  const [rows, pairs = 0] = cosine.shape;
  if (
    x.rank < 2 ||
    cosine.rank !== 2 ||
    sine.rank !== 2 ||
    rows !== places ||
    sine.shape[0] !== rows ||
    sine.shape[1] !== pairs ||
    2 * pairs > width
  )
    throw new ShapeError(
      `${fn}: expected x [..., places, width] and cosine and sine [places, pairs] with 2 pairs <= width but received ` +
        [x, cosine, sine].map((t) => `[${t.shape.join(", ")}]`).join(", "),
    );
  const y = Tensor.empty(x.shape, { dtype: x.dtype, device: x.device });
  const shape = [elementsOf(x.shape.slice(0, -2)), places, width];
  withPacked(fn, [x, cosine, sine], (source, c, s) => {
    enqueue(fn, "rotary", x.device, {
      x: shaped(fn, source, shape),
      cosine: c.native(fn),
      sine: s.native(fn),
      y: shaped(fn, y, shape),
      interleaved: interleaved ? 1 : 0,
      inverse: inverse ? 1 : 0,
    });
  });
  return y;
}
