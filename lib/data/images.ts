import type { Device } from "../binding/index.js";
import { ArgumentError, expected, ShapeError } from "../errors.js";
import { checkInteger } from "../ops/check.js";
import { Tensor } from "../tensor/index.js";
import { Batches, type BatchOptions } from "./batches.js";
import { EpochOrder } from "./epoch-order.js";

/** Labelled pictures in memory, a byte a value. */
export interface ImageDataset {
  /** `[count, channels, height, width]`, row-major. */
  readonly images: Uint8Array;
  /** `[count]`, each an index into `classes`. */
  readonly labels: Uint8Array;
  readonly count: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  /** Names of the classes. */
  readonly classes: readonly string[];
}

/** The caller disposes both. */
export interface ImageBatch {
  /** `[batch, channels, height, width]`. */
  readonly x: Tensor<"float32">;
  /** `[batch]`, the labels. */
  readonly y: Tensor<"int32">;
}

export interface ImageBatchOptions extends BatchOptions {
  /** Values are `(byte / 255 - mean) / std` in float32. Default 0. */
  readonly mean?: number | undefined;
  /** > 0, default 1. */
  readonly std?: number | undefined;
  /** Default "cpu". */
  readonly device?: Device | undefined;
}

function checkImages(fn: string, dataset: ImageDataset): number {
  const { images, labels, count, channels, height, width } = dataset;
  const size = channels * height * width;
  if (images.length !== count * size) {
    const dims = [count, channels, height, width].join(", ");
    throw new ShapeError(expected(fn, `the values of [${dims}]`, "images", images));
  }
  if (labels.length !== count)
    throw new ShapeError(expected(fn, `${count} labels`, "labels", labels));
  return size;
}

/**
 * Batches of pictures and labels as tensors. See `Batches` for order and resume.
 *
 * @throws ArgumentError, ShapeError
 */
export function imageBatches(
  dataset: ImageDataset,
  options: ImageBatchOptions,
): Batches<ImageBatch> {
  const fn = "imageBatches";
  const size = checkImages(fn, dataset);
  const { mean = 0, std = 1, device } = options;
  if (!Number.isFinite(mean))
    throw new ArgumentError(expected(fn, "a finite number", "mean", mean));
  if (!(std > 0 && std < Infinity)) {
    throw new ArgumentError(expected(fn, "a positive number", "std", std));
  }
  const values = Float32Array.from({ length: 256 }, (_, byte) => (byte / 255 - mean) / std);
  const { images, labels, channels, height, width } = dataset;
  const collate = (indices: Uint32Array): ImageBatch => {
    const x = new Float32Array(indices.length * size);
    const y = new Int32Array(indices.length);
    indices.forEach((index, i) => {
      y[i] = labels[index] ?? 0;
      const from = index * size;
      for (let k = 0; k < size; k++) x[i * size + k] = values[images[from + k] ?? 0] ?? 0;
    });
    return {
      x: Tensor.from(x, [indices.length, channels, height, width], { device }),
      y: Tensor.from(y, [indices.length], { dtype: "int32", device }),
    };
  };
  return new Batches(dataset.count, collate, options);
}

/** The pictures with these indices, in their order, copied. @throws ArgumentError for an index that is not there. */
export function selectImages(dataset: ImageDataset, indices: ArrayLike<number>): ImageDataset {
  const fn = "selectImages";
  const size = checkImages(fn, dataset);
  const count = indices.length;
  const images = new Uint8Array(count * size);
  const labels = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    const index = indices[i];
    checkInteger(fn, `indices[${i}]`, index, 0, dataset.count - 1);
    images.set(dataset.images.subarray(index * size, (index + 1) * size), i * size);
    labels[i] = dataset.labels[index] ?? 0;
  }
  return { ...dataset, images, labels, count };
}

/**
 * Parts a dataset at random in two.
 *
 * @param options `test` pictures, 1 to count - 1, go into the second part; `seed` default 0.
 * @throws ArgumentError
 */
export function splitImages(
  dataset: ImageDataset,
  options: { test: number; seed?: number | undefined },
): { train: ImageDataset; test: ImageDataset } {
  const { test, seed = 0 } = options;
  checkInteger("splitImages", "test", test, 1, dataset.count - 1);
  checkInteger("splitImages", "seed", seed, 0, Number.MAX_SAFE_INTEGER);
  const order = new EpochOrder(seed, 0, dataset.count).slice(0, dataset.count);
  return {
    train: selectImages(dataset, order.subarray(test)),
    test: selectImages(dataset, order.subarray(0, test)),
  };
}
