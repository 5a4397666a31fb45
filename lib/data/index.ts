/** Datasets, batches, tokenizers. */
export { Batches, type BatchOptions, type BatchState } from "./batches.js";
export {
  type ImageBatch,
  type ImageBatchOptions,
  imageBatches,
  type ImageDataset,
  selectImages,
  splitImages,
} from "./images.js";
export { fashionMnist } from "./fashion-mnist.js";
export { mnistDigits } from "./mnist-digits.js";
