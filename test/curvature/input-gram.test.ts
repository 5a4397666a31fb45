import { promises as fs } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { convInputGram, InputGram, inputGram } from "../../lib/curvature/index.js";
import { readSafetensors, writeSafetensors } from "../../lib/formats/safetensors.js";
import { scope, Tensor } from "../../lib/tensor/index.js";
import { normal } from "../helpers/gptq-oracle.js";

const COLUMNS = 9;
const batch = (tokens: number, seed = 1, columns = COLUMNS) =>
  Tensor.from(
    Float32Array.from(
      { length: tokens * columns },
      (_, i) => (((i + seed) * 0.6180339887) % 1) - 0.5,
    ),
    [tokens, columns],
  );
const values = async (gram: InputGram) => {
  using matrix = await gram.matrix();
  return (await matrix.data()) as Float64Array | Float32Array;
};

let folder = "";
beforeAll(async () => {
  folder = await fs.mkdtemp(join(tmpdir(), "osculate-gram-"));
});
afterAll(() => fs.rm(folder, { recursive: true }));

test("2/N X^T X, by hand", async () => {
  using gram = inputGram(2);
  expect(Array.from(await values(gram))).toEqual([0, 0, 0, 0]);
  using X = Tensor.from([1, 2, 3, 4], [2, 2]);
  await gram.add(X);
  gram.addSync(X);
  expect(gram.count).toBe(4);
  expect(Array.from(await values(gram))).toEqual([10, 14, 14, 20]);
  expect(await values(gram)).toBeInstanceOf(Float64Array);
});

describe("the queue", () => {
  test("calls are done in order; matrix waits for those before it and not for those after", async () => {
    using gram = inputGram(COLUMNS);
    const sizes = [3000, 1, 4000, 77];
    using X = batch(sizes.reduce((sum, size) => sum + size, 0));
    let at = 0;
    const adds = [];
    let middle: Promise<Float64Array | Float32Array> | undefined;
    for (const size of sizes) {
      const part = X.slice(0, at, (at += size));
      adds.push(gram.add(part));
      part.dispose(); // the queue holds its own
      if (size === 1) middle = values(gram);
    }
    const all = await values(gram);
    await Promise.all(adds);
    using early = inputGram(COLUMNS);
    using head = X.slice(0, 0, 3001);
    await early.add(head);
    expect(await middle).toEqual(await values(early));
    using whole = inputGram(COLUMNS);
    await whole.add(X);
    expect(all).toEqual(await values(whole));
    expect(gram.count).toBe(7078);
  });

  test("addSync refuses to overtake", async () => {
    using gram = inputGram(COLUMNS);
    using X = batch(5);
    const running = gram.add(X);
    expect(() => {
      gram.addSync(X);
    }).toThrow(/InputGram.addSync/);
    await running;
    gram.addSync(X, { label: "now" });
    expect(gram.count).toBe(10);
  });

  test("a refused batch does not stop the next one, and is named", async () => {
    using gram = inputGram(COLUMNS);
    using good = batch(3);
    using bad = Tensor.from(new Float32Array(2 * COLUMNS).fill(NaN, 13, 14), [2, COLUMNS]);
    const refused = gram.add(bad, { label: "layer 3, batch 7" });
    const added = gram.add(good);
    await expect(refused).rejects.toMatchObject({
      name: "NumericalError",
      code: "NON_FINITE",
      message: expect.stringMatching(/\[1, 4\].*layer 3, batch 7/) as string,
      details: { index: 13, label: "layer 3, batch 7" },
    });
    await added;
    expect(gram.count).toBe(3);
    expect(() => {
      gram.addSync(bad, { label: "layer 9" });
    }).toThrow(/layer 9/);
    expect((await values(gram)).every(Number.isFinite)).toBe(true);
  });

  test("an abort before the turn changes nothing and is answered at once", async () => {
    using gram = inputGram(COLUMNS);
    using X = batch(3000);
    const controller = new AbortController();
    const first = gram.add(X);
    const second = gram.add(X, { signal: controller.signal });
    controller.abort(new Error("enough"));
    await expect(second).rejects.toThrow("enough");
    await first;
    await expect(gram.add(X, { signal: controller.signal })).rejects.toThrow("enough");
    await gram.add(X);
    expect(gram.count).toBe(6000);
  });

  test("an abort during the work makes the gram unusable", async () => {
    using gram = inputGram(1500);
    using X = Tensor.zeros([20480, 1500]);
    const controller = new AbortController();
    const running = gram.add(X, { signal: controller.signal });
    setTimeout(() => {
      controller.abort();
    }, 30);
    const start = performance.now();
    await expect(running).rejects.toMatchObject({ name: "AbortError" });
    expect(performance.now() - start).toBeLessThan(1000);
    await expect(gram.matrix()).rejects.toMatchObject({ code: "ABORTED" });
    await expect(gram.add(X)).rejects.toMatchObject({ code: "ABORTED" });
  });
});

test("a gram outlives the scope it was made in", async () => {
  const gram = scope(() => {
    const made = inputGram(COLUMNS);
    made.addSync(batch(4));
    return { made };
  }).made;
  using X = batch(4);
  await gram.add(X);
  expect(gram.count).toBe(8);
  gram.dispose();
});

test("bad input is refused with typed errors that name shapes", async () => {
  for (const wrong of [-1, 2.5, "9"])
    expect(() => inputGram(wrong as number)).toThrow(/inputGram: expected an integer/);
  using gram = inputGram(COLUMNS);
  using flat = Tensor.from(new Float32Array(COLUMNS));
  using narrow = batch(2, 1, COLUMNS - 1);
  using doubles = Tensor.from(new Float64Array(COLUMNS), [1, COLUMNS]);
  const gone = batch(1);
  gone.dispose();
  const cases: [unknown, string, RegExp][] = [
    [flat, "SHAPE", /\[tokens, 9\].*received \[9\]/],
    [narrow, "SHAPE", /\[tokens, 9\].*received \[2, 8\]/],
    [doubles, "DTYPE", /float32.*float64/],
    [new Float32Array(COLUMNS), "ARGUMENT", /a Tensor for X/],
    [gone, "DISPOSED", /disposed/],
  ];
  for (const [X, code, message] of cases) {
    await expect(gram.add(X as Tensor)).rejects.toMatchObject({ code });
    await expect(gram.add(X as Tensor)).rejects.toThrow(message);
    expect(() => {
      gram.addSync(X as Tensor);
    }).toThrow(message);
  }
  using X = batch(1);
  await gram.add(X);
  expect(gram.count).toBe(1);
  gram.dispose();
  expect(gram.disposed).toBe(true);
  for (const late of [gram.add(X), gram.matrix(), gram.save(join(folder, "late"))])
    await expect(late).rejects.toMatchObject({ code: "DISPOSED" });
});

describe("save and load", () => {
  test.each([
    [0, 500, COLUMNS],
    [2048, 2048, COLUMNS],
    [5000, 3000, 50],
    [2100, 1, 2049],
  ])("%i tokens, then %i more, %i columns: the same bits", async (before, after, columns) => {
    const path = join(folder, `gram-${before}.safetensors`);
    using gram = inputGram(columns);
    using first = batch(before, 1, columns);
    using second = batch(after, 2, columns);
    const running = gram.add(first);
    await gram.save(path); // waits for the queue
    await running;
    using loaded = await InputGram.load(path);
    expect(loaded.count).toBe(before);
    expect(loaded.inFeatures).toBe(columns);
    const same = async () =>
      Buffer.from((await values(loaded)).buffer).equals(Buffer.from((await values(gram)).buffer));
    expect(await same()).toBe(true);
    await Promise.all([gram.add(second), loaded.add(second)]);
    expect(await same()).toBe(true);
  });

  test("files that are no grams, or damaged", async () => {
    const path = join(folder, "whole.safetensors");
    using gram = inputGram(3);
    using X = batch(2100, 1, 3);
    await gram.add(X);
    await gram.save(path);
    const file = await readSafetensors(path);
    const metadata = Object.fromEntries(file.metadata);
    const read = async (name: string) => {
      const entry = file.entries.get(name)!;
      const { dtype, shape } = entry;
      return { dtype, shape, data: await file.read(name) };
    };
    const tensors = { accumulator: await read("accumulator"), staging: await read("staging") };
    await file.close();
    const damaged = async (change: object, facts: Record<string, string> = {}) => {
      const all = Object.entries({ ...tensors, ...change });
      const other = join(folder, "damaged.safetensors");
      await writeSafetensors(other, new Map(all), { ...metadata, ...facts });
      return InputGram.load(other);
    };
    expect((await damaged({})).count).toBe(2100);
    const flat = { ...tensors.accumulator, shape: [9] };
    const nan = { ...tensors.accumulator, data: new Float64Array(9).fill(NaN) };
    const single = { dtype: "F32", shape: [3, 3], data: new Float32Array(9) };
    const cases: [object, Record<string, string>, RegExp][] = [
      [{}, { kind: "pt" }, /its kind is pt, not osculate\.input_gram/],
      [{}, { version: "2" }, /its version is 2/],
      [{}, { count: "many" }, /count/],
      [{}, { count: "2101" }, /staging is F32 \[52, 3\], not F32 \[53, 3\]/],
      [{ accumulator: flat }, {}, /accumulator is F64 \[9\]/],
      [{ accumulator: single }, {}, /accumulator is F32/],
      [{ accumulator: nan }, {}, /9 NaN or Inf/],
    ];
    for (const [change, facts, message] of cases) {
      const loading = damaged(change, facts);
      await expect(loading).rejects.toMatchObject({ name: "FormatError" });
      await expect(loading).rejects.toThrow(message);
    }
    const cut = join(folder, "cut.safetensors");
    await fs.writeFile(cut, (await fs.readFile(path)).subarray(0, 300));
    await expect(InputGram.load(cut)).rejects.toMatchObject({ code: "FORMAT" });
    await expect(InputGram.load(join(folder, "none"))).rejects.toMatchObject({ code: "IO" });
    await expect(gram.save(join(folder, "none", "gram"))).rejects.toMatchObject({ code: "IO" });
  });
});

describe("convolutions", () => {
  const geometry = { channels: 4, kernel: [3, 3], groups: 2 } as const;
  const images = (count: number, height = 6) =>
    Tensor.from(Float32Array.from({ length: count * 4 * height * 5 }, normal(4)), [
      count,
      4,
      height,
      5,
    ]);

  test("one gram a group, filled and freed by the convolution", async () => {
    const conv = convInputGram(geometry);
    using X = images(3);
    await conv.add(X);
    conv.addSync(X);
    expect(conv.count).toBe(2 * 3 * 4 * 3);
    expect(conv.grams.map((gram) => [gram.inFeatures, gram.count])).toEqual([
      [18, 72],
      [18, 72],
    ]);
    const [first, second] = conv.grams as [InputGram, InputGram];
    using tokens = batch(2, 1, 18);
    await expect(first.add(tokens)).rejects.toThrow(/group 0 of a convolution/);
    first.dispose(); // the buffers are shared: nothing happens
    expect(await values(first)).not.toEqual(await values(second));
    const path = join(folder, "group.safetensors");
    await second.save(path);
    using loaded = await InputGram.load(path);
    expect(await values(loaded)).toEqual(await values(second));
    await loaded.add(tokens); // on its own it is a gram like any other
    conv.dispose();
    await expect(second.matrix()).rejects.toMatchObject({ code: "DISPOSED" });
    await expect(conv.add(X)).rejects.toMatchObject({ code: "DISPOSED" });
  });

  test("bad geometry and bad images", async () => {
    const wrong: [object, RegExp][] = [
      [{ groups: 3 }, /groups/],
      [{ channels: 0 }, /channels/],
      [{ kernel: [3] }, /kernel/],
      [{ kernel: 3 }, /kernel/],
      [{ stride: [0, 1] }, /stride/],
      [{ padding: [1, 1] }, /padding/],
      [{ padding: [0, -1, 0, 0] }, /padding/],
      [{ dilation: [1.5, 1] }, /dilation/],
    ];
    for (const [change, message] of wrong) {
      expect(() => convInputGram({ ...geometry, ...change })).toThrow(message);
    }
    using conv = convInputGram(geometry);
    using low = images(1, 2);
    using flat = low.reshape([4, 10]);
    using deep = images(1).reshape([1, 8, 3, 5]);
    await expect(conv.add(low)).rejects.toMatchObject({ code: "SHAPE" });
    await expect(conv.add(flat)).rejects.toMatchObject({ code: "SHAPE" });
    await expect(conv.add(deep)).rejects.toThrow(/\[batch, 4, height, width\]/);
  });
});
