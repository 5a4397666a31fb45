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
export { mobyDick, stateOfTheUnion, type TextDocument } from "./text.js";
export type { EncodeOptions, Tokenizer } from "./tokenizer.js";
export { ByteTokenizer } from "./byte-tokenizer.js";
export { BpeTokenizer } from "./bpe-tokenizer.js";
export { trainBpe, type TrainBpeOptions } from "./bpe-train.js";
export { loadTokenizer, saveTokenizer } from "./tokenizer-json.js";
export { HuggingFaceTokenizer, huggingFaceTokenizer } from "./huggingface-tokenizer.js";
export {
  encodeDocuments,
  type TokenBatch,
  tokenBatches,
  type TokenBatchOptions,
} from "./token-batches.js";
