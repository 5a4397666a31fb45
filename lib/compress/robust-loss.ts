import {
  add,
  argmax,
  crossEntropy,
  equal,
  log,
  logSoftmax,
  mean,
  mul,
  neg,
  reshape,
  scale,
  softmax,
  sub,
  sum,
  takeAlong,
  where,
} from "../autodiff/index.js";
import { ShapeError, expected } from "../errors.js";
import { checkNumber, checkTensor } from "../ops/check.js";
import { sameShape, scope, Tensor } from "../tensor/index.js";

/**
 * The loss a pruned model is trained on to stay robust: `CE(adversarial) - mean log(1.0001 - p_adv[best wrong class]) + beta
 * mean(KL(p_nat | p_adv) (1.0000001 - p_nat[y]))`. It asks for more where the model is wrong without an attack.
 *
 * @param adversarial logits `[batch, classes]` of attacked inputs, by `pgd`.
 * @param natural logits of the inputs themselves.
 * @param targets int32 `[batch]`.
 * @returns one element, differentiable by both logits.
 * @throws ShapeError, DTypeError, ArgumentError
 * Source: Wang et al., "Improving adversarial robustness requires revisiting misclassified examples", 2020, as used by Lee, Kim, Ro,
 * "Masking Adversarial Damage", 2022.
 */
export function robustLoss(
  adversarial: Tensor,
  natural: Tensor,
  targets: Tensor,
  options: { /** Default 0.5. */ readonly beta?: number | undefined } = {},
): Tensor {
  const fn = "robustLoss";
  const { beta = 0.5 } = options;
  checkNumber(fn, "beta", beta, ">= 0", (value) => value >= 0);
  checkTensor(fn, "adversarial", adversarial, ["float32", "float64"], ["batch", "classes"]);
  const [batch = 0, classes = 0] = adversarial.shape;
  if (classes < 2)
    throw new ShapeError(expected(fn, "two classes or more", "adversarial", [batch, classes]));
  if (!sameShape(natural.shape, adversarial.shape))
    throw new ShapeError(expected(fn, `shape [${batch}, ${classes}]`, "natural", natural.shape));
  checkTensor(fn, "targets", targets, ["int32"], [batch]);
  return scope(() => {
    const column = targets.reshape([batch, 1]);
    const pAdversarial = softmax(adversarial);
    const pNatural = softmax(natural);
    const wrong = takeAlong(pAdversarial, bestWrong(adversarial, targets));
    const margin = neg(mean(log(sub(1.0001, wrong))));
    const apart = sum(mul(pNatural, sub(logSoftmax(natural), logSoftmax(adversarial))), -1);
    const doubt = reshape(sub(1.0000001, takeAlong(pNatural, column)), [batch]);
    const drift = scale(mean(mul(apart, doubt)), beta);
    return add(add(crossEntropy(adversarial, targets), margin), drift);
  });
}

/** The class with the largest logit but for the target, `[batch, 1]`. */
function bestWrong(logits: Tensor, targets: Tensor): Tensor {
  const [batch = 0, classes = 0] = logits.shape;
  const numbers = Tensor.from(
    Int32Array.from({ length: classes }, (_, c) => c),
    [1, classes],
    {
      dtype: "int32",
      device: logits.device,
    },
  );
  const right = equal(
    targets.reshape([batch, 1]).toDType(logits.dtype),
    numbers.toDType(logits.dtype),
  );
  return argmax(where(right, -Infinity, logits)).reshape([batch, 1]);
}
