import { ShapeError } from "../../errors.js";
import { checkReal, checkLike } from "../../ops/broadcast.js";
import type { Tensor } from "../../tensor/index.js";
import { matmul } from "./products.js";
import { attentionWeights } from "./softmax.js";

export interface AttentionOptions {
  /** A query sees the keys up to its own place; with fewer queries than keys, the last query sees all. Default false. */
  readonly causal?: boolean | undefined;
  /** Factor of the products, default 1 / sqrt(width). */
  readonly scale?: number | undefined;
}

/**
 * `softmax(scale Q K^T) V`.
 *
 * @param q `[..., queries, width]`. @param k `[..., keys, width]`. @param v `[..., keys, out]`; any views.
 * @returns `[..., queries, out]`. Memory: one float a pair of query and key, kept for the derivative.
 * Vaswani et al., Attention is all you need, 2017.
 */
export function scaledDotProductAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: AttentionOptions = {},
): Tensor {
  const fn = "scaledDotProductAttention";
  for (const [name, x] of Object.entries({ q, k, v })) {
    checkReal(fn, name, x);
    checkLike(fn, q, name, x);
  }
  const width = q.shape.at(-1) ?? 0;
  if (
    q.rank < 2 ||
    k.rank < 2 ||
    v.rank < 2 ||
    k.shape.at(-1) !== width ||
    k.shape.at(-2) !== v.shape.at(-2)
  )
    throw new ShapeError(
      `${fn}: expected q [..., queries, width], k [..., keys, width] and v [..., keys, out] but received ` +
        [q, k, v].map((x) => `[${x.shape.join(", ")}]`).join(", "),
    );
  const scores = matmul(q, k.transpose());
  const weights = attentionWeights(
    fn,
    scores,
    options.scale ?? 1 / Math.sqrt(width),
    options.causal ?? false,
  );
  return matmul(weights, v);
}
