import { ctcLossRows } from "../../lib/ops/ctc-loss.js";
import { Tensor } from "../../lib/tensor/index.js";
import { ctcOfPaths } from "../helpers/ctc-oracle.js";
import { eachDevice } from "../helpers/each-device.js";
import { randomPlain, toTensor, valuesOf } from "../helpers/plain.js";

eachDevice("ctc_loss", (device) => {
  const int32 = (values: readonly number[], shape: number[]) =>
    Tensor.from(Int32Array.from(values), shape, { device });

  /** Sequences of one batch: 5 steps of 3 classes, the blank is class 0. */
  const cases: [steps: number, target: number[]][] = [
    [5, [1, 2]],
    [5, [1, 1, 2]],
    [3, [2]],
    [5, []],
    [0, []],
    [1, [1]],
    [5, [2, 1, 2, 1, 2]],
  ];
  const batch = (blank = 0) => ({
    target: int32(
      cases.flatMap(([, target]) => [...target, ...new Array<number>(5 - target.length).fill(-7)]),
      [cases.length, 5],
    ),
    inputLengths: int32(
      cases.map(([steps]) => steps),
      [cases.length],
    ),
    targetLengths: int32(
      cases.map(([, target]) => target.length),
      [cases.length],
    ),
    blank,
  });

  test.each(["float64", "float32"] as const)("every path, and central differences, %s", (dtype) => {
    const plain = randomPlain([cases.length, 5, 3], 3, (u) => 2 * u);
    using x = toTensor(plain, dtype, device);
    const values = valuesOf(x);
    const { loss, slope } = ctcLossRows("test", x, batch());
    const [losses, slopes] = [valuesOf(loss), valuesOf(slope)];
    const eps = dtype === "float32" ? 2 ** -23 : 2 ** -46;
    cases.forEach(([steps, target], n) => {
      const of = (change: (i: number) => number) =>
        ctcOfPaths((t, c) => change((n * 5 + t) * 3 + c), steps, 3, target, 0);
      const expected = of((i) => values[i]!);
      expect(Math.abs(losses[n]! - expected)).toBeLessThanOrEqual(
        8 * eps * (1 + Math.abs(expected)),
      );
      for (let i = n * 15; i < (n + 1) * 15; ++i) {
        const h = 1e-5;
        const moved = (d: number) => of((j) => values[j]! + (j === i ? d : 0));
        const difference = steps === 0 ? 0 : (moved(h) - moved(-h)) / (2 * h);
        // h^2 times a third derivative of at most 1, and the rounding of the losses over h
        expect(Math.abs(slopes[i]! - difference)).toBeLessThanOrEqual(1e-9 + 4 * eps);
      }
    });
    for (const t of [loss, slope]) t.dispose();
  });

  test("long sequences: the shares of a step sum to one; no underflow", () => {
    const [steps, classes] = [700, 40];
    using x = toTensor(
      randomPlain([2, steps, classes], 5, (u) => 4 * u - 8),
      "float32",
      device,
    );
    const labels = Array.from({ length: 2 * 80 }, (_, i) => 1 + ((i * 11) % 39));
    const { loss, slope } = ctcLossRows("test", x, {
      target: int32(labels, [2, 80]),
      inputLengths: int32([steps, 300], [2]),
      targetLengths: int32([80, 33], [2]),
      blank: 0,
    });
    for (const value of valuesOf(loss)) expect(value).toBeGreaterThan(1000);
    const shares = valuesOf(slope);
    for (let row = 0; row < 2 * steps; ++row) {
      const sum = shares.subarray(row * classes, (row + 1) * classes).reduce((s, v) => s + v, 0);
      const counted = row < steps || row - steps < 300;
      expect(Math.abs(sum + (counted ? 1 : 0))).toBeLessThanOrEqual(counted ? 1e-5 : 0);
    }
    for (const t of [loss, slope]) t.dispose();
  });

  test("a target of probability 0; NaN", () => {
    const never = [-Infinity, 0, 0, NaN, 0, 0];
    using x = Tensor.from(never, [2, 1, 3], { device });
    const { loss } = ctcLossRows("test", x, {
      target: int32([0, 0], [2, 1]),
      inputLengths: int32([1, 1], [2]),
      targetLengths: int32([1, 1], [2]),
      blank: 1,
    });
    expect([...valuesOf(loss)]).toEqual([Infinity, NaN]);
  });

  const wrong: [what: string, steps: number, labels: number, target: number[], message: RegExp][] =
    [
      ["too many steps", 6, 1, [1, 1], /sequence 0: its length is not/],
      ["too many labels", 5, 3, [1, 1], /sequence 0: the length of its target/],
      [
        "a label that is the blank",
        5,
        2,
        [1, 0],
        /sequence 0: its target has a label that is the blank/,
      ],
      ["a label that is no class", 5, 1, [3, 1], /sequence 0: its target has a label/],
      ["fewer steps than labels", 1, 2, [1, 2], /sequence 0: it has fewer steps/],
      ["no step between equal labels", 2, 2, [1, 1], /sequence 0: it has fewer steps/],
    ];
  test.each(wrong)("%s", (_, steps, labels, target, message) => {
    using x = Tensor.zeros([1, 5, 3], { device });
    const { loss } = ctcLossRows("ctcLoss", x, {
      target: int32(target, [1, 2]),
      inputLengths: int32([steps], [1]),
      targetLengths: int32([labels], [1]),
      blank: 0,
    });
    expect(() => loss.dataSync()).toThrow(
      expect.objectContaining({
        code: "ARGUMENT",
        message: expect.stringMatching(message) as string,
      }),
    );
  });

  test("shapes, dtypes and the blank", () => {
    const x = Tensor.zeros([1, 5, 3], { device });
    const good = {
      target: int32([1, 2], [1, 2]),
      inputLengths: int32([5], [1]),
      targetLengths: int32([2], [1]),
      blank: 0,
    };
    const run = (logits: Tensor, change: object) => () =>
      ctcLossRows("ctcLoss", logits, { ...good, ...change });
    expect(run(x.reshape([5, 3]), {})).toThrow(
      "ctcLoss: expected shape [sequences, steps, classes] for logProbs",
    );
    expect(run(x, { target: int32([1, 2], [2]) })).toThrow(
      "ctcLoss: expected shape [1, labels] for target",
    );
    expect(run(x, { inputLengths: Tensor.zeros([1], { device }) })).toThrow(
      "ctcLoss: expected int32 for the dtype of inputLengths",
    );
    expect(run(x, { blank: 3 })).toThrow("ctcLoss: expected an integer from 0 to 2 for blank");
  });
});
