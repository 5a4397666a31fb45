/** Quantizers and pruners of one layer, and the quantization of whole ONNX models. */
export { gptq, gptqSync } from "./gptq.js";
export { awq, type AwqOptions, type AwqResult, awqSync } from "./passes/awq.js";
export type { ScaledWeights } from "./column-scale.js";
export { gptaq, type GptaqOptions, gptaqSync } from "./passes/gptaq.js";
export {
  hadamard,
  type HadamardOptions,
  HadamardRotation,
  hadamardRotation,
  hadamardSync,
  type RotatedLayer,
  type RotationOptions,
} from "./passes/hadamard.js";
export {
  type GlobalMagnitudeOptions,
  magnitude,
  magnitudeGlobal,
  magnitudeGlobalSync,
  type MagnitudeOptions,
  magnitudeSync,
} from "./passes/magnitude.js";
export {
  obc,
  type ObcOptions,
  obcSync,
  obq,
  type ObqOptions,
  obqSync,
  obs,
  type ObsDamping,
  type ObsOptions,
  obsSync,
} from "./passes/obs.js";
export { gmp, type GmpOptions, gmpSync } from "./passes/gmp.js";
export {
  pruneGradually,
  type GradualOptions,
  type GradualResult,
  type GradualStep,
  type NamedMasks,
} from "./gradual.js";
export { robustLoss } from "./robust-loss.js";
export { fgsm, pgd, type AttackOptions } from "./attack.js";
export {
  sparseTransfer,
  type TransferOptions,
  type TransferResult,
  type TransferTask,
} from "./transfer.js";
export { madSaliency, type MadStatistics, softplusInverse } from "./passes/mad.js";
export { madScores, type MadScoresOptions } from "./passes/mad-scores.js";
export { type ByScoresOptions, pruneByScores } from "./passes/by-scores.js";
export {
  channelUnits,
  hapFates,
  hapImportance,
  headUnits,
  type FateOptions,
  type HapOptions,
  type UnitFate,
  type UnitLayer,
  type UnitPart,
} from "./passes/hap.js";
export { hapPrune, ImplantConv2d, keepUnits, type KeptUnits } from "./passes/hap-apply.js";
export { mfac, type MfacOptions, mfacSync } from "./passes/mfac.js";
export { obert, type ObertOptions, obertSync } from "./passes/obert.js";
export {
  type CubicSchedule,
  cubicSparsity,
  geometricSparsities,
  rewoundLearningRate,
} from "./sparsity-schedule.js";
export {
  sparsegpt,
  type SparseGptOptions,
  type SparseGptResult,
  sparsegptSync,
} from "./passes/sparsegpt.js";
export { smoothQuant, type SmoothQuantOptions, smoothQuantSync } from "./passes/smoothquant.js";
export { wanda, type WandaOptions, wandaSync } from "./passes/wanda.js";
export type { PruneOptions, PruneReport, PruneResult } from "./prune-report.js";
export type { SparsityOptions } from "./sparsity.js";
export {
  roundToNearest,
  type RoundToNearestOptions,
  roundToNearestSync,
} from "./round-to-nearest.js";
export type { GptqOptions, QuantizeOptions } from "./options.js";
export type { QuantizeResult } from "./quantize-result.js";
export type { FactorAttempt, LayerReport } from "./layer-report.js";
export { quantizeOnnx } from "./job.js";
export type {
  JobEvent,
  LayerRow,
  LayerSummary,
  OutputCheck,
  QuantizeOnnxOptions,
  QuantizeOnnxResult,
} from "./job-types.js";
export {
  type CheckedRecipe,
  parseRecipe,
  parseRecipeText,
  readRecipe,
  type Recipe,
  type Rule,
} from "./recipe.js";
export {
  compress,
  type CompressEvent,
  compressJob,
  type CompressOptions,
  type CompressResult,
  type CompressTotals,
  type ModuleLayerRow,
} from "./modules/compress-job.js";
export {
  type ModuleAssignment,
  type ModuleLayerOptions,
  type ModuleRecipe,
  type ModuleRule,
  type Preset,
  presets,
} from "./modules/module-recipe.js";
export {
  allocateBits,
  type AllocateOptions,
  type BitAllocation,
  type BitBudget,
  type BitChoice,
  type BitLayer,
  type BitPoint,
} from "./mixed/allocate-bits.js";
export {
  bisectBits,
  type BisectOptions,
  type BisectProbe,
  type BisectResult,
  type EvaluateBits,
  interLayerSensitivity,
  type InterLayerOptions,
  type PairTerm,
  pairTerms,
} from "./mixed/bisect-bits.js";
export {
  layerSensitivities,
  type LayerSensitivity,
  type Sensitivities,
  type SensitivityOptions,
} from "./mixed/layer-sensitivities.js";
export type { LayerCurvature } from "./mixed/layer-curvature.js";
export type { SensitivityCache } from "./mixed/sensitivity-cache.js";
export { type Plan, type PlanOptions, type PlanRow, planOnnx } from "./plan.js";
export { type VerifyOptions, type VerifyReport, verifyOnnx } from "./verify.js";
