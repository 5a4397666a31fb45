import { bisectBits, interLayerSensitivity, pairTerms } from "../../../lib/compress/index.js";
import { readVectors } from "../../helpers/vectors.js";

type Search = {
  target: number;
  probes8: [number, number][];
  probes4: [number, number][];
  bits: number[];
  acc: number;
};
const vectors = readVectors<{
  layer_cost: Record<string, number[]>;
  pair_cost: number[][];
  sensitivity_augmented: number[];
  order_ascending: number[];
  order_hessian_only: number[];
  searches: Search[];
}>("bisection.json");
const cost4 = vectors.layer_cost["4"] ?? [];
const pairs = vectors.pair_cost.flatMap((row, i) =>
  row.map((value, j) => ({ layers: [i, j] as const, value })),
);

/** The vectors' accuracy: layers cost by their bits, pairs while both are at 4. */
function accuracy(bits: readonly number[]): number {
  let result = 1;
  bits.forEach((b, i) => (result -= vectors.layer_cost[b]?.[i] ?? NaN));
  for (const { layers, value } of pairs) if (layers.every((i) => bits[i] === 4)) result -= value;
  return result;
}

test("sensitivities and orders of the vectors, with pair terms and without", () => {
  const raw = interLayerSensitivity(cost4, pairs, { normalize: false });
  raw.sensitivities.forEach((value, i) => {
    expect(value).toBeCloseTo(vectors.sensitivity_augmented[i] ?? NaN, 12);
  });
  expect(raw.order).toEqual(vectors.order_ascending);
  expect(interLayerSensitivity(cost4, pairs).order).toEqual(vectors.order_ascending);
  expect(interLayerSensitivity(cost4, []).order).toEqual(vectors.order_hessian_only);
  expect(interLayerSensitivity(cost4, pairs, { mu: 0 }).order).toEqual(vectors.order_hessian_only);
});

test.each(vectors.searches)("the search to $target takes the vectors' steps", async (search) => {
  const { target } = search;
  const found = await bisectBits(accuracy, { order: vectors.order_ascending, target });
  expect(found.bits).toEqual(search.bits);
  expect(found.result).toBeCloseTo(search.acc, 12);
  expect(found.baseline).toBe(1);
  const steps = (bits: number) =>
    found.probes
      .filter((probe) => probe.bits === bits && probe.kind === "search")
      .map(({ count, result }) => [count, Number(result.toFixed(12))]);
  expect(steps(8)).toEqual(search.probes8);
  expect(steps(4)).toEqual(search.probes4.map(([k, acc]) => [k, Number(acc.toFixed(12))]));
});

test("what is found is what trying every count finds", async () => {
  for (let step = 0; step <= 60; ++step) {
    const target = 0.94 + step * 0.001;
    const { bits, result } = await bisectBits(accuracy, { order: vectors.order_ascending, target });
    let expected = bits.map(() => 16);
    for (const rung of [8, 4]) {
      const open = vectors.order_ascending.filter((i) => expected[i] === (rung === 8 ? 16 : 8));
      const tried = open.map((_, k) =>
        expected.map((b, i) => (open.slice(0, k + 1).includes(i) ? rung : b)),
      );
      expected = tried.findLast((one) => accuracy(one) >= target) ?? expected;
    }
    expect(bits).toEqual(expected);
    expect(result).toBe(accuracy(bits));
    expect(result).toBeGreaterThanOrEqual(target);
  }
});

test("repair takes a layer that the order hid behind a sensitive one", async () => {
  // In this order layer 4, which costs most, comes first: nothing goes to 4 bits but by repair.
  const options = { order: [4, 3, 1, 0, 5, 2], target: 0.99 };
  const plain = await bisectBits(accuracy, options);
  expect(plain.bits).toEqual([8, 8, 8, 8, 8, 8]);
  const repaired = await bisectBits(accuracy, { ...options, repair: true });
  expect(repaired.bits).toEqual([8, 4, 8, 4, 8, 8]);
  expect(repaired.result).toBe(accuracy(repaired.bits));
});

test("a result that does not hold a second time is stepped down from", async () => {
  let calls = 0;
  // Every other evaluation of 3 layers or more passes by luck.
  const noisy = (bits: readonly number[]): number => {
    const low = bits.filter((b) => b === 4).length;
    return low < 3 || calls++ % 2 === 0 ? 1 : 0;
  };
  const found = await bisectBits(noisy, { order: [0, 1, 2, 3], target: 1, ladder: [8, 4] });
  expect(found.probes.map(({ count, kind }) => [count, kind])).toEqual([
    [2, "search"],
    [3, "search"],
    [4, "search"],
    [3, "confirm"],
  ]);
  expect(found.bits).toEqual([4, 4, 4, 8]);
  calls = 1;
  const lower = await bisectBits(noisy, { order: [0, 1, 2, 3], target: 1, ladder: [8, 4] });
  expect(lower.bits.filter((b) => b === 4)).toHaveLength(2);
  expect(lower.result).toBe(1);
});

test("pair terms are what two layers lose beyond their own losses", async () => {
  const loss = (layers: readonly number[]): number =>
    0.5 + layers.length ** 2 - (layers.includes(0) && layers.includes(2) ? 9 : 0);
  const asked: number[][] = [];
  const terms = await pairTerms(3, (layers) => {
    asked.push([...layers]);
    return loss(layers);
  });
  expect(asked).toEqual([[], [0], [1], [2], [0, 1], [0, 2], [1, 2]]);
  expect(terms.map(({ value }) => value)).toEqual([2, 0, 2]); // 4.5 - 1.5 - 1.5 + 0.5; never below 0
  const near = await pairTerms(3, loss, { distance: 1 });
  expect(near.map(({ layers }) => layers)).toEqual([
    [0, 1],
    [1, 2],
  ]);
});

const order = [0, 1];
test.each<[string, () => Promise<unknown>, string]>([
  ["a target above the start", () => bisectBits(() => 0.5, { order, target: 0.6 }), "at most 0.5"],
  ["NaN results", () => bisectBits(() => NaN, { order, target: 0 }), "the result of evaluate"],
  ["a layer twice", () => bisectBits(() => 1, { order: [0, 0], target: 0 }), "every layer once"],
  [
    "a rising ladder",
    () => bisectBits(() => 1, { order, target: 0, ladder: [4, 8] }),
    "falling bits",
  ],
  ["NaN losses", () => pairTerms(2, () => NaN), "the loss with layers []"],
  [
    "an aborted search",
    () => bisectBits(() => 1, { order, target: 0, signal: AbortSignal.abort() }),
    "aborted",
  ],
])("refused: %s", async (_, call, message) => {
  await expect(call()).rejects.toThrow(message);
});

test("sensitivities that are NaN or below 0, and pairs of no layer, are refused", () => {
  expect(() => interLayerSensitivity([1, NaN], [])).toThrow("own[1]");
  expect(() => interLayerSensitivity([1], [{ layers: [0, 1], value: 1 }])).toThrow(
    "a layer of a pair",
  );
  expect(() => interLayerSensitivity([1, 1], [{ layers: [0, 1], value: -1 }])).toThrow(
    "layers 0 and 1",
  );
});
