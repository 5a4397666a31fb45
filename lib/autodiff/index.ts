/** Differentiable functions of tensors, and exact derivatives of what is composed from them, to any order. */
export { differentiable, type Rules, type Use } from "./define.js";
export { grad, valueAndGrad, type ValueAndGrad } from "./grad.js";
export {
  gradcheck,
  type GradcheckFailure,
  type GradcheckOptions,
  type GradcheckReport,
} from "./gradcheck.js";
export { hessian } from "./hessian.js";
export { ggnvp, hvp, type Ggnvp, type Hvp } from "./hvp.js";
export { jvp, vjp, type Jvp, type Outputs, type Vjp } from "./jvp.js";
export * from "./ops/activations.js";
export {
  add,
  div,
  equal,
  greater,
  greaterEqual,
  less,
  lessEqual,
  maximum,
  minimum,
  mul,
  notEqual,
  pow,
  sub,
  where,
  type Operand,
} from "./ops/arithmetic.js";
export {
  affine,
  cos,
  erf,
  exp,
  log,
  neg,
  reciprocal,
  scale,
  sin,
  sqrt,
  square,
} from "./ops/elementary.js";
export { scaledDotProductAttention, type AttentionOptions } from "./ops/attention.js";
export {
  conv2d,
  convTranspose2d,
  type ConvOptions,
  type ConvTransposeOptions,
} from "./ops/convolution.js";
export { dropout } from "./ops/dropout.js";
export {
  avgPool2d,
  globalAvgPool2d,
  maxPool2d,
  type AvgPoolOptions,
  type PoolOptions,
} from "./ops/pooling.js";
export { rotary, rotaryAngles, type RotaryOptions } from "./ops/rotary.js";
export { argmax } from "../ops/argmax.js";
export { embedding, gather, scatterAdd, takeAlong } from "./ops/indexing.js";
export { ctcLoss, type CtcLossOptions } from "./ops/ctc.js";
export { crossEntropy, type CrossEntropyOptions, type Reduction } from "./ops/losses.js";
export {
  batchNorm,
  batchNormWith,
  layerNorm,
  rmsNorm,
  type BatchStatistics,
  type NormOptions,
} from "./ops/normalization.js";
export { logSoftmax, softmax, type SoftmaxOptions } from "./ops/softmax.js";
export { linear, matmul } from "./ops/products.js";
export { logSumExp, max, mean, min, sum, variance, type ReduceOptions } from "./ops/reductions.js";
export { alias, concat, pad, reshape } from "./ops/views.js";
