import { enqueue } from "../binding/index.js";
import { ArgumentError, DTypeError, ShapeError, expected } from "../errors.js";
import { sameShape, Tensor } from "../tensor/index.js";
import { checkReal } from "./broadcast.js";
import { checkInteger, checkSameDevice } from "./check.js";
import { shaped, withPacked } from "./packed.js";

/** The targets of a batch of sequences; int32 tensors on the device of the log-probabilities. */
export interface CtcTargets {
  /** `[sequences, labels]`, each row's label first, padded with anything. */
  readonly target: Tensor;
  /** `[sequences]`: how many steps of each sequence count. */
  readonly inputLengths: Tensor;
  /** `[sequences]`: how many labels of each row of `target` count. */
  readonly targetLengths: Tensor;
  /** The class that stands for no label. */
  readonly blank: number;
}

/** The contiguous tensors of a call, as the kernel names them. */
function given(fn: string, targets: CtcTargets, packed: readonly Tensor[]) {
  const [target, inputLength, targetLength] = packed as [Tensor, Tensor, Tensor];
  return {
    target: target.native(fn),
    inputLength: inputLength.native(fn),
    targetLength: targetLength.native(fn),
    blank: targets.blank,
  };
}

const integers = ({ target, inputLengths, targetLengths }: CtcTargets) => [
  target,
  inputLengths,
  targetLengths,
];

function check(fn: string, x: Tensor, targets: CtcTargets): void {
  checkReal(fn, "logProbs", x);
  const [sequences, , classes = 0] = x.shape;
  if (x.rank !== 3 || classes === 0)
    throw new ShapeError(expected(fn, "shape [sequences, steps, classes]", "logProbs", x.shape));
  const { target, inputLengths, targetLengths, blank } = targets;
  for (const [name, tensor] of Object.entries({ target, inputLengths, targetLengths })) {
    if (!(tensor instanceof Tensor))
      throw new ArgumentError(expected(fn, "a Tensor", name, tensor));
    if (tensor.dtype !== "int32")
      throw new DTypeError(expected(fn, "int32", `the dtype of ${name}`, tensor.dtype));
    const fits = tensor.shape[0] === sequences && tensor.rank === (name === "target" ? 2 : 1);
    const wanted = `shape [${sequences}${name === "target" ? ", labels" : ""}]`;
    if (!fits) throw new ShapeError(expected(fn, wanted, name, tensor.shape));
  }
  checkSameDevice(fn, { logProbs: x, target, inputLengths, targetLengths });
  checkInteger(fn, "blank", blank, 0, classes - 1);
}

/**
 * The negative log-probability of each target, `[sequences]`, and its derivative by the log-probabilities
 * `[sequences, steps, classes]`. Queued. Lengths and labels out of range are an ArgumentError when a result is read.
 */
export function ctcLossRows(
  fn: string,
  x: Tensor,
  targets: CtcTargets,
): { loss: Tensor; slope: Tensor } {
  check(fn, x, targets);
  const like = { dtype: x.dtype, device: x.device };
  const loss = Tensor.empty(x.shape.slice(0, 1), like);
  const slope = Tensor.empty(x.shape, like);
  withPacked(fn, [x, ...integers(targets)], (values, ...packed) => {
    enqueue(fn, "ctc_loss", x.device, {
      x: values.native(fn),
      ...given(fn, targets, packed),
      loss: loss.native(fn),
      slope: slope.native(fn),
    });
  });
  return { loss, slope };
}

/** The Hessian of the sum of the losses times `v`, which has the shape of x. Queued. */
export function ctcLossCurvature(fn: string, x: Tensor, v: Tensor, targets: CtcTargets): Tensor {
  if (!sameShape(v.shape, x.shape))
    throw new ShapeError(expected(fn, "the shape of x", "v", v.shape));
  const y = Tensor.empty(x.shape, { dtype: x.dtype, device: x.device });
  withPacked(fn, [x, v, ...integers(targets)], (values, direction, ...packed) => {
    enqueue(fn, "ctc_loss_curvature", x.device, {
      x: shaped(fn, values, x.shape),
      v: shaped(fn, direction, x.shape),
      ...given(fn, targets, packed),
      y: y.native(fn),
    });
  });
  return y;
}
