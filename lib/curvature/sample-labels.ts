import { add, argmax, log, neg } from "../autodiff/index.js";
import { checkReal } from "../ops/broadcast.js";
import { randomUniform, type RandomKey } from "../ops/random.js";
import { scope, type Tensor } from "../tensor/index.js";
import { withContexts } from "../autodiff/context.js";

/**
 * Labels drawn from the distribution `softmax(logits)`, by adding Gumbel noise and taking the largest: what makes a Fisher
 * matrix the true one. The labels are no function of the parameters.
 *
 * @param logits `[..., classes]`.
 * @param key the same key draws the same labels on every device.
 * @returns int32 `[...]`; the caller disposes it.
 */
export function sampleLabels(logits: Tensor, key: RandomKey): Tensor<"int32"> {
  checkReal("sampleLabels", "logits", logits);
  return withContexts([], () =>
    scope(() => {
      // A draw of 0 has noise -Inf, and that label is not taken: right up to the 2^-24 that draws are apart.
      const uniform = randomUniform(logits.shape, { ...key, device: logits.device });
      const noise = neg(log(neg(log(uniform))));
      return argmax(add(logits, logits.dtype === "float64" ? noise.toDType("float64") : noise));
    }),
  );
}
