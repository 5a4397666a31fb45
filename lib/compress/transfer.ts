import { ArgumentError, expected } from "../errors.js";
import { type Parameter, parameterList } from "../nn/parameter.js";
import { checkTensor } from "../ops/check.js";
import { item } from "../ops/tensor-mean.js";
import type { Tensor } from "../tensor/index.js";
import { checkHeld, type NamedMasks } from "./gradual.js";

/** What is trained on the new task. */
export interface TransferTask {
  /** For the optimizer: the head alone, or the backbone too. */
  readonly parameters: readonly Parameter[];
  /** For `optimizer.setMasks`: where the backbone's weights are zero; empty when it is frozen. */
  readonly masks: NamedMasks;
}

export interface TransferOptions {
  /** Parameters of the new classifier, dense, of the same model. */
  readonly head: Iterable<Parameter>;
  /**
   * "linear": the backbone stays as it is, to the bit; its outputs for all examples can be computed once. "full": all weights that
   * are not zero are trained.
   */
  readonly mode: "linear" | "full";
  readonly train: (task: TransferTask) => Promise<void> | void;
}

export interface TransferResult {
  /** Masks of the backbone's parameters of rank 2 or more; the caller disposes them. */
  readonly masks: NamedMasks;
  /** Weights of them that are zero, before and after. */
  readonly zeros: number;
}

/**
 * Takes a sparse network to another task with its zeros where they are: the mask is read off the weights, `train` does the rest, and
 * what had to stay is compared afterwards.
 *
 * @param backbone float32 parameters of the sparse network without its classifier. Batch-norm averages are no parameters: in
 *   evaluation mode they stay, in training mode they follow the new data.
 * @throws ArgumentError when training changed a frozen parameter or a zero, or a parameter is in both lists; DTypeError; what `train`
 *   throws. The parameters are as `train` left them.
 * Source: Iofinova et al., "How well do sparse ImageNet models transfer?", 2022.
 *
 * @example
 * await sparseTransfer(backbone, { head: model.output.parameters(), mode: "full", train: async ({ parameters, masks }) => {
 *   const optimizer = new SGD(parameters, { lr: 0.05 });
 *   optimizer.setMasks(masks);
 *   for (const batch of batches) await optimizer.step(() => loss(batch));
 * } });
 */
export async function sparseTransfer(
  backbone: Iterable<Parameter>,
  options: TransferOptions,
): Promise<TransferResult> {
  const fn = "sparseTransfer";
  const { mode, train } = options;
  if (!["linear", "full"].includes(mode))
    throw new ArgumentError(expected(fn, '"linear" or "full"', "mode", mode));
  const body = parameterList(fn, backbone);
  const head = parameterList(fn, options.head);
  for (const { name, tensor } of [...body, ...head])
    checkTensor(fn, name, tensor, ["float32"], tensor.shape);
  const twice = head.find(({ tensor }) => body.some((one) => one.tensor === tensor));
  if (twice)
    throw new ArgumentError(
      expected(fn, "parameters that the backbone has not", "head", twice.name),
    );
  const masks = new Map<string, Tensor<"bool">>();
  for (const { name, tensor } of body)
    if (tensor.rank >= 2) masks.set(name, tensor.toDType("bool"));
  const before = mode === "linear" ? body.map(({ tensor }) => tensor.contiguous()) : [];
  try {
    let zeros = 0;
    for (const mask of masks.values())
      zeros += (await mask.data()).reduce((sum, keep) => sum + Number(keep === 0), 0);
    if (mode === "linear") {
      await train({ parameters: head, masks: new Map() });
      await checkFrozen(fn, body, before);
    } else {
      await train({ parameters: [...body, ...head], masks });
      await checkHeld(fn, body, masks);
    }
    return { masks, zeros };
  } catch (error) {
    for (const mask of masks.values()) mask.dispose();
    throw error;
  } finally {
    for (const tensor of before) tensor.dispose();
  }
}

async function checkFrozen(
  fn: string,
  body: readonly Parameter[],
  before: readonly Tensor[],
): Promise<void> {
  for (const [i, { name, tensor }] of body.entries()) {
    const [old, now] = await Promise.all([item(before, i).data(), tensor.data()]);
    const at = old.findIndex((value, k) => !Object.is(value, now[k]));
    if (at >= 0)
      throw new ArgumentError(
        `${fn}: expected train to leave the backbone as it is but element ${at} of ${name} has changed`,
      );
  }
}
