/** Parts of models: modules with named parameters, initial values, losses. */
export {
  MultiHeadAttention,
  type AttentionInputs,
  type MultiHeadAttentionOptions,
} from "./attention.js";
export { Conv2d, type Conv2dOptions } from "./conv2d.js";
export { distillationLoss, type DistillationOptions } from "./distillation.js";
export { Dropout } from "./dropout.js";
export { Embedding, type EmbeddingOptions } from "./embedding.js";
export * as init from "./init.js";
export { InitialValues, type Initializer, type ParameterOptions } from "./init.js";
export { Layer, type LayerHook } from "./layer.js";
export { Linear, type LinearOptions } from "./linear.js";
export * from "./losses.js";
export { LSTM, type LSTMState } from "./lstm.js";
export { Module } from "./module.js";
export {
  BatchNorm,
  LayerNorm,
  RMSNorm,
  type BatchNormOptions,
  type NormModuleOptions,
} from "./norms.js";
export type { Parameter } from "./parameter.js";
export { withWeights, type WeightLayer } from "./with-weights.js";
export { Sequential, type Stage } from "./sequential.js";
export {
  FeedForward,
  TransformerBlock,
  type FeedForwardOptions,
  type TransformerBlockOptions,
} from "./transformer.js";
