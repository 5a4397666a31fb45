/** Statistics of layers that training and compression share. */
export type { AddOptions } from "./gram-state.js";
export { InputGram, inputGram } from "./input-gram.js";
export { ConvInputGram, convInputGram, type ConvInputGeometry } from "./conv-input-gram.js";
export { ColumnStatistics, columnStatistics, type ColumnMoments } from "./column-statistics.js";
export { CrossGram, crossGram } from "./cross-gram.js";
export type { Estimate, StoppingRule } from "./estimate.js";
export type { BatchLoss, OverBatches } from "./hessian-operator.js";
export {
  hutchinsonDiagonal,
  hutchinsonTrace,
  type DiagonalEstimate,
  type HutchinsonOptions,
  type ParameterTrace,
  type TraceEstimate,
} from "./hutchinson.js";
export {
  fisherInverse,
  fisherInverseSync,
  type FisherInverse,
  type FisherOptions,
} from "./fisher-inverse.js";
export { FisherWindow, fisherWindow, type FisherWindowOptions } from "./fisher-window.js";
export { BlockFisher, blockFisher } from "./block-fisher.js";
export type { Sharing } from "./factor-sums.js";
export { kroneckerFactors, type KroneckerOptions, type LayerChoice } from "./kronecker.js";
export {
  perExampleGradients,
  type PerExampleGradients,
  type PerExampleOptions,
} from "./per-example.js";
export { sampleLabels } from "./sample-labels.js";
export { CurvatureStore, type LayerFactors } from "./store.js";
