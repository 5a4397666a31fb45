/** Optimizers: each takes a function that returns the loss, asks the engine for the derivatives it needs, and steps. */
export {
  AdaHessian,
  type AdaHessianOptions,
  type AdaHessianProbes,
  type BlockSize,
} from "./adahessian.js";
export {
  AdaFisher,
  AdaFisherW,
  type AdaFisherFactors,
  type AdaFisherOptions,
} from "./adafisher.js";
export { AdamW, type AdamWOptions } from "./adamw.js";
export {
  batchOutlier,
  noiseFromBatches,
  ratesBetween,
  scaledLearningRate,
  type BatchNoise,
  type SpectralRates,
} from "./batch-rules.js";
export { FOSI, type FOSIOptions, type FOSIStats } from "./fosi.js";
export { INNAprop, type INNApropOptions } from "./innaprop.js";
export { MFAC, type MFACOptions, type MFACWindow } from "./mfac.js";
export { MKOR, type MKOROptions, type MKORStats } from "./mkor.js";
export {
  NewtonCG,
  type NewtonCGOptions,
  type NewtonCGSearch,
  type NewtonCGStats,
  type NewtonCGStepOptions,
} from "./newton-cg.js";
export { OASIS, type OASISCurvature, type OASISOptions, type OASISStats } from "./oasis.js";
export { Muon, type MuonOptions, type MuonScale } from "./muon.js";
export {
  KFAC,
  type KFACCurvature,
  type KFACOptions,
  type KFACStats,
  type KFACStepOptions,
} from "./kfac.js";
export type { DampingMode } from "./kfac-layer.js";
export {
  Optimizer,
  type CommonOptions,
  type Evaluation,
  type LossFunction,
  type OptimizerOptions,
  type StepOptions,
  type StepResult,
  type WithGroups,
} from "./optimizer.js";
export type { Group, Match, Parameter } from "./parameters.js";
export type { NamedSchedule, Scheduled, ScheduleFunction } from "./schedule.js";
export { SAG, SAGA, type SAGData, type SAGOptions, type SAGStepOptions } from "./sag.js";
export {
  Shampoo,
  type ShampooGraft,
  type ShampooLimits,
  type ShampooOptions,
  type ShampooStats,
} from "./shampoo.js";
export { SOAP, type SOAPOptions } from "./soap.js";
export { SGD, type SGDOptions } from "./sgd.js";
export {
  Sophia,
  type SophiaCurvature,
  type SophiaOptions,
  type SophiaStats,
  type SophiaStepOptions,
} from "./sophia.js";
export {
  spectralRates,
  type SpectralRatesOptions,
  type SpectralRatesResult,
} from "./spectral-rates.js";
export { SVRG, type SVRGData, type SVRGOptions, type SVRGStepOptions } from "./svrg.js";
export {
  retainDivergence,
  soul,
  unlearningLoss,
  type UnlearningMethod,
  type UnlearningTerms,
} from "./unlearning.js";
