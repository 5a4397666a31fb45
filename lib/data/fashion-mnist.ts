import { join } from "node:path";
import { describe, FormatError, IoError } from "../errors.js";
import { readIdx } from "../formats/idx.js";
import type { ImageDataset } from "./images.js";

/** Where Debian's package puts the files. */
const FOLDER = "/usr/share/datasets/fashion-mnist";
const INSTALL = "sudo apt-get install -y dataset-fashion-mnist";
const SIDE = 28;

const CLASSES = [
  "T-shirt/top",
  "Trouser",
  "Pullover",
  "Dress",
  "Coat",
  "Sandal",
  "Shirt",
  "Sneaker",
  "Bag",
  "Ankle boot",
] as const;

/**
 * Fashion-MNIST (Xiao, Rasul, Vollgraf, 2017; MIT): 60,000 pictures to train on, 10,000 to test, 28 x 28 grey, ten classes.
 * Nothing is downloaded: the four `*-ubyte.gz` files come with Debian's package `dataset-fashion-mnist`.
 *
 * @param options `folder` of the files; default where Debian puts them.
 * @throws IoError when a file is missing (the message says how to get it); FormatError when one is malformed or the labels do
 *   not fit the pictures.
 */
export async function fashionMnist(
  options: { folder?: string | undefined } = {},
): Promise<{ train: ImageDataset; test: ImageDataset }> {
  const { folder = FOLDER } = options;
  const [train, test] = await Promise.all([readPart(folder, "train"), readPart(folder, "t10k")]);
  return { train, test };
}

async function readPart(folder: string, part: "train" | "t10k"): Promise<ImageDataset> {
  const [images, labels] = await Promise.all([
    readFile(join(folder, `${part}-images-idx3-ubyte.gz`)),
    readFile(join(folder, `${part}-labels-idx1-ubyte.gz`)),
  ]);
  const [count = 0, height, width] = images.shape;
  if (images.shape.length !== 3 || height !== SIDE || width !== SIDE) {
    throw malformed(folder, part, `pictures of [count, ${SIDE}, ${SIDE}]`, images.shape);
  }
  if (labels.shape.length !== 1 || labels.shape[0] !== count) {
    throw malformed(folder, part, `labels of [${count}]`, labels.shape);
  }
  const wrong = labels.data.find((label) => label >= CLASSES.length);
  if (wrong !== undefined) {
    throw malformed(folder, part, `labels below ${CLASSES.length}`, wrong);
  }
  const [pixels, classes] = [images.data, CLASSES];
  return { images: pixels, labels: labels.data, count, channels: 1, height, width, classes };
}

function malformed(folder: string, part: string, what: string, received: unknown): FormatError {
  return new FormatError(
    `fashionMnist: expected ${what} in the ${part} files of ${folder} but received ${describe(received)}`,
    { details: { folder, part } },
  );
}

async function readFile(path: string) {
  try {
    return await readIdx(path);
  } catch (cause) {
    if (!(cause instanceof IoError) || cause.details["errno"] !== "ENOENT") throw cause;
    throw new IoError(
      `fashionMnist: could not read ${path}: no such file. On Debian and its relatives this installs it:\n  ${INSTALL}`,
      { details: cause.details, cause },
    );
  }
}
