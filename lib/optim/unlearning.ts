import {
  add,
  logSoftmax,
  mul,
  neg,
  scale,
  softmax,
  softplus,
  sub,
  sum,
} from "../autodiff/index.js";
import { ArgumentError, expected } from "../errors.js";
import type { Tensor } from "../tensor/index.js";
import type { SophiaCurvature, SophiaOptions } from "./sophia.js";

/** What a model is to forget, and what it is to keep; each a mean cross-entropy, one element. */
export interface UnlearningTerms {
  /** On the forget batch: with its labels, or for "preference" with those of a refusal. */
  readonly forget: Tensor;
  /** On the retain batch; or another term that holds the model to what it knew, such as `retainDivergence`. */
  readonly retain?: Tensor | undefined;
}

/**
 * - "gradientAscent": `-CE_f`. Without bound: stop once CE_f is above log(vocabulary) + 1.
 * - "gradientDifference": `-CE_f + gamma CE_r`, gamma 2.
 * - "preference": `CE_f + gamma CE_r`, CE_f against refusals, gamma 5.
 * - "npo": `-(2 / beta) log sigmoid(beta (CE_f - reference)) + gamma CE_r`, beta 0.1, gamma 1. Bounded below.
 */
export type UnlearningMethod =
  | { readonly kind: "gradientAscent" }
  | { readonly kind: "gradientDifference" | "preference"; readonly gamma?: number | undefined }
  | {
      readonly kind: "npo";
      /** CE_f of the model before unlearning, on this batch. */
      readonly reference: number;
      /** Default 0.1. */
      readonly beta?: number | undefined;
      readonly gamma?: number | undefined;
    };

const gammas = { gradientDifference: 2, preference: 5, npo: 1 };

/**
 * The loss that makes a model forget one batch and keep another; give it to an optimizer, with one forget and one retain
 * batch a step.
 *
 * @throws ArgumentError for an unknown kind, numbers out of range, or a retain term that is missing or not used
 * Source: Jia et al., SOUL, 2024, and its code (NPO with mean cross-entropies, as there); Zhang et al., Negative preference
 * optimization, 2024. The default gamma of "npo" is ours.
 *
 * @example
 * const optimizer = new Sophia(model.parameters(), { ...soul, lr: 5e-6 });
 * await optimizer.step(() =>
 *   unlearningLoss({ forget: lossOf(forgetBatch), retain: lossOf(retainBatch) }, { kind: "gradientDifference" }),
 * );
 */
export function unlearningLoss(terms: UnlearningTerms, method: UnlearningMethod): Tensor {
  const fn = "unlearningLoss";
  const { forget, retain } = terms;
  if (method.kind === "gradientAscent") {
    if (retain !== undefined)
      throw new ArgumentError(expected(fn, "no retain term for gradientAscent", "retain", retain));
    return neg(forget);
  }
  if (!Object.hasOwn(gammas, method.kind)) {
    const known = ["gradientAscent", ...Object.keys(gammas)].join(", ");
    throw new ArgumentError(expected(fn, `one of ${known}`, "kind", method.kind));
  }
  const { gamma = gammas[method.kind] } = method;
  checkAtLeast(fn, "gamma", gamma, 0);
  if (retain === undefined)
    throw new ArgumentError(expected(fn, `a retain term for ${method.kind}`, "retain", retain));
  return add(forgetting(fn, forget, method), scale(retain, gamma));
}

function forgetting(
  fn: string,
  forget: Tensor,
  method: Exclude<UnlearningMethod, { kind: "gradientAscent" }>,
): Tensor {
  if (method.kind !== "npo") return method.kind === "preference" ? forget : neg(forget);
  const { reference, beta = 0.1 } = method;
  checkAtLeast(fn, "beta", beta, Number.MIN_VALUE);
  checkAtLeast(fn, "reference", reference, -Number.MAX_VALUE);
  return scale(softplus(scale(sub(forget, reference), -beta)), 2 / beta);
}

function checkAtLeast(fn: string, name: string, value: unknown, least: number): void {
  if (!(typeof value === "number" && value >= least && value < Infinity))
    throw new ArgumentError(expected(fn, `a finite number from ${least}`, name, value));
}

/**
 * How far a model has moved from what it was, as a retain term: the mean over positions of `sum p log(p / q)` with p the
 * model's probabilities and q the reference's ("kl", default), or of `-sum p log q` ("crossEntropy"), which SOUL's code uses
 * under the name of the first.
 *
 * @param logits `[..., classes]`. @param reference of the same shape; nothing is followed into it if it was made outside.
 */
export function retainDivergence(
  logits: Tensor,
  reference: Tensor,
  kind: "kl" | "crossEntropy" = "kl",
): Tensor {
  if (!["kl", "crossEntropy"].includes(kind))
    throw new ArgumentError(expected("retainDivergence", '"kl" or "crossEntropy"', "kind", kind));
  const p = softmax(logits);
  const q = logSoftmax(reference);
  const each = mul(p, kind === "kl" ? sub(logSoftmax(logits), q) : neg(q));
  return scale(sum(each), (logits.shape.at(-1) ?? 1) / Math.max(1, logits.size));
}

/**
 * Options of `Sophia` as SOUL runs it: the curvature from the squares of the training gradient itself, at every step. Its code
 * averages the momentum twice a step, which is `betas: [0.81, 0.95]`. Turn weight decay off for biases and norms by a group;
 * the authors use learning rates of 5e-6 to 2e-5.
 */
export const soul = {
  curvature: "empirical",
  updateInterval: 1,
  betas: [0.9, 0.95],
  rho: 0.04,
  batch: 5120,
  weightDecay: 0.1,
} as const satisfies SophiaOptions & SophiaCurvature;
