import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { ArgumentError, FormatError, IoError, ShapeError } from "../../lib/errors.js";
import { fashionMnist } from "../../lib/data/fashion-mnist.js";
import {
  imageBatches,
  type ImageDataset,
  selectImages,
  splitImages,
} from "../../lib/data/images.js";
import { mnistDigits } from "../../lib/data/mnist-digits.js";

/** Picture i holds 10 i, 10 i + 1, ... and has label i mod 3. */
function pictures(count: number): ImageDataset {
  return {
    images: Uint8Array.from({ length: count * 6 }, (_, k) => 10 * Math.floor(k / 6) + (k % 6)),
    labels: Uint8Array.from({ length: count }, (_, i) => i % 3),
    count,
    channels: 1,
    height: 2,
    width: 3,
    classes: ["a", "b", "c"],
  };
}

describe("imageBatches", () => {
  test("pictures and labels go together, scaled", () => {
    const batches = imageBatches(pictures(5), { batchSize: 2, seed: 3, mean: 0.25, std: 0.5 });
    const seen: number[] = [];
    for (const { x, y } of batches) {
      expect(x.shape).toEqual([y.size, 1, 2, 3]);
      expect([x.dtype, y.dtype, y.shape]).toEqual(["float32", "int32", [y.size]]);
      const values = x.dataSync();
      y.dataSync().forEach((label, i) => {
        const byte = Math.round(255 * (0.5 * values[6 * i]! + 0.25));
        seen.push(byte / 10);
        expect(label).toBe((byte / 10) % 3);
        for (let k = 0; k < 6; k++) {
          expect(values[6 * i + k]).toBe(Math.fround(((byte + k) / 255 - 0.25) / 0.5));
        }
      });
      x.dispose();
      y.dispose();
    }
    expect(seen.sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4]);
  });

  test.each([
    [{ mean: NaN }, /mean but received NaN/],
    [{ std: 0 }, /std but received 0/],
    [{ std: Infinity }, /std but received Infinity/],
  ])("refuses %p", (options, message) => {
    expect(() => imageBatches(pictures(2), { batchSize: 1, ...options })).toThrow(message);
  });

  test("refuses a dataset that does not add up", () => {
    const good = pictures(2);
    expect(() => imageBatches({ ...good, height: 3 }, { batchSize: 1 })).toThrow(ShapeError);
    expect(() => imageBatches({ ...good, labels: new Uint8Array(1) }, { batchSize: 1 })).toThrow(
      ShapeError,
    );
    expect(() => imageBatches(pictures(0), { batchSize: 1 })).toThrow(ArgumentError);
  });
});

test("selectImages copies the pictures asked for, in order", () => {
  const { images, labels, count } = selectImages(pictures(4), [3, 1, 1]);
  expect(count).toBe(3);
  expect([...images]).toEqual([
    30, 31, 32, 33, 34, 35, 10, 11, 12, 13, 14, 15, 10, 11, 12, 13, 14, 15,
  ]);
  expect([...labels]).toEqual([0, 1, 1]);
  expect(selectImages(pictures(4), []).count).toBe(0);
  for (const bad of [4, -1, 0.5]) {
    expect(() => selectImages(pictures(4), [bad])).toThrow(ArgumentError);
  }
});

test("splitImages: every picture in one part, the same parts for the same seed", () => {
  const first = (dataset: ImageDataset) =>
    Array.from({ length: dataset.count }, (_, i) => dataset.images[6 * i]! / 10);
  const { train, test } = splitImages(pictures(20), { test: 6, seed: 1 });
  expect([train.count, test.count]).toEqual([14, 6]);
  expect([...first(train), ...first(test)].sort((a, b) => a - b)).toEqual([...Array(20).keys()]);
  expect(first(splitImages(pictures(20), { test: 6, seed: 1 }).test)).toEqual(first(test));
  expect(first(splitImages(pictures(20), { test: 6, seed: 2 }).test)).not.toEqual(first(test));
  for (const bad of [0, 20, 1.5]) {
    expect(() => splitImages(pictures(20), { test: bad })).toThrow(ArgumentError);
  }
});

describe("fashionMnist", () => {
  const folder = mkdtempSync(join(tmpdir(), "osculate-fashion-"));
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  const write = (name: string, shape: number[], data: Uint8Array) => {
    const header = Buffer.alloc(4 + 4 * shape.length);
    header.set([0, 0, 8, shape.length]);
    shape.forEach((dimension, axis) => header.writeUInt32BE(dimension, 4 + 4 * axis));
    writeFileSync(join(folder, name), gzipSync(Buffer.concat([header, data])));
  };
  const bytes = (count: number, value: number) => new Uint8Array(count).fill(value);
  const writeAll = () => {
    for (const [part, count] of [
      ["train", 3],
      ["t10k", 2],
    ] as const) {
      write(`${part}-images-idx3-ubyte.gz`, [count, 28, 28], bytes(count * 784, count));
      write(`${part}-labels-idx1-ubyte.gz`, [count], bytes(count, 9));
    }
  };

  test("reads both parts", async () => {
    writeAll();
    const { train, test } = await fashionMnist({ folder });
    expect([train.count, test.count]).toEqual([3, 2]);
    expect([...train.labels]).toEqual([9, 9, 9]);
    expect(test.images).toHaveLength(2 * 784);
    expect(train.classes[9]).toBe("Ankle boot");
  });

  test.each<[string, string, number[], Uint8Array, RegExp]>([
    [
      "fewer labels than pictures",
      "train-labels-idx1-ubyte.gz",
      [2],
      bytes(2, 1),
      /labels of \[3\]/,
    ],
    ["a label that is no class", "t10k-labels-idx1-ubyte.gz", [2], bytes(2, 10), /labels below 10/],
    ["labels for pictures", "train-images-idx3-ubyte.gz", [3], bytes(3, 0), /pictures of \[count/],
    ["other pictures", "t10k-images-idx3-ubyte.gz", [2, 4, 4], bytes(32, 0), /pictures of \[count/],
  ])("refuses %s", async (_, name, shape, data, message) => {
    writeAll();
    write(name, shape, data);
    const error = await fashionMnist({ folder }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(FormatError);
    expect((error as Error).message).toMatch(message);
  });

  test("refuses a truncated file", async () => {
    writeAll();
    writeFileSync(join(folder, "train-images-idx3-ubyte.gz"), Uint8Array.of(0x1f, 0x8b, 8, 0));
    await expect(fashionMnist({ folder })).rejects.toThrow(FormatError);
  });

  test("says how to get the files", async () => {
    const error = await fashionMnist({ folder: join(folder, "none") }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(IoError);
    expect((error as Error).message).toContain("apt-get install -y dataset-fashion-mnist");
  });

  const installed = existsSync("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz");
  (installed ? test : test.skip)(
    "the real one (skipped where Debian's package is not installed)",
    async () => {
      const { train, test } = await fashionMnist();
      expect([train.count, test.count]).toEqual([60000, 10000]);
      for (let label = 0; label < 10; label++) {
        expect(train.labels.filter((value) => value === label)).toHaveLength(6000);
      }
      // The published mean and standard deviation of the training pictures.
      const mean = train.images.reduce((sum, value) => sum + value, 0) / train.images.length / 255;
      expect(mean).toBeCloseTo(0.286, 3);
    },
  );
});

test("mnistDigits: all of the package, bytes again", async () => {
  const digits = await mnistDigits();
  expect(digits.count).toBe(10000);
  expect(digits.images).toHaveLength(10000 * 784);
  const counts = digits.classes.map((_, d) => digits.labels.filter((label) => label === d).length);
  expect(counts).toEqual([1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978]);
  // The first stroke of the first digit, as MNIST's training picture 1 has it.
  expect([...digits.images.subarray(127, 132)]).toEqual([51, 159, 253, 159, 50]);
});
