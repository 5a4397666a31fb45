import { allocateBits, type BitBudget, type BitLayer } from "../../../lib/compress/index.js";
import { chooseLeast } from "../../../lib/compress/mixed/choices.js";
import { NumericalError } from "../../../lib/errors.js";
import { readVectors } from "../../helpers/vectors.js";

const vectors = readVectors<{
  layers: { name: string; n: number; omega: Record<string, number> }[];
  ilp: { bits: number[]; size_limit_bits: number; best: number[]; omega: number }[];
  pareto_2_4_8: { size_bits: number; omega: number; bits: number[] }[];
}>("hawq.json");

const layersAt = (bits: readonly number[]): BitLayer[] =>
  vectors.layers.map(({ name, n, omega }) => ({
    name,
    weights: n,
    choices: bits.map((b) => ({ bits: b, cost: omega[b] ?? NaN })),
  }));
const weights = vectors.layers.reduce((sum, { n }) => sum + n, 0);

test.each(vectors.ilp)("the vectors' optimum within $size_limit_bits bits of $bits", (one) => {
  const found = allocateBits(layersAt(one.bits), { averageBits: one.size_limit_bits / weights });
  expect(found.bits).toEqual(one.best);
  expect(found.cost).toBeCloseTo(one.omega, 12);
  expect(found.gap).toBe(0);
  expect(found.byName.get("l3")).toBe(one.best[3]);
  const inBytes = allocateBits(layersAt(one.bits), { bytes: one.size_limit_bits / 8 });
  expect(inBytes.bits).toEqual(one.best);
});

test("the frontier is the vectors' Pareto front", () => {
  const { frontier, frontierExact } = allocateBits(layersAt([2, 4, 8]), { averageBits: 8 });
  expect(frontierExact).toBe(true);
  expect(frontier.map(({ bits }) => bits)).toEqual(vectors.pareto_2_4_8.map(({ bits }) => bits));
  frontier.forEach(({ cost, averageBits, bytes }, i) => {
    expect(cost).toBeCloseTo(vectors.pareto_2_4_8[i]?.omega ?? NaN, 12);
    expect(averageBits * weights).toBeCloseTo(vectors.pareto_2_4_8[i]?.size_bits ?? NaN, 9);
    expect(bytes * 8).toBe(vectors.pareto_2_4_8[i]?.size_bits);
  });
});

/** A small generator: numbers in 0..1 that depend on the seed alone. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function randomLayers(seed: number, count: number): BitLayer[] {
  const next = numbers(seed);
  return Array.from({ length: count }, (_, i) => ({
    name: `layer${i}`,
    weights: 1 + Math.floor(next() * 1000),
    choices: [2, 3, 4, 8].slice(0, 1 + Math.floor(next() * 4)).map((bits) => ({
      bits,
      cost: next() * 2 ** -bits - 0.01, // neither convex nor always falling, some negative
      uses: { time: Math.floor(next() * 50) },
    })),
  }));
}

/** Every allocation in turn. */
function leastCost(
  layers: readonly BitLayer[],
  budget: { averageBits: number; bytes: number; uses: Readonly<Record<string, number>> },
): number {
  const total = layers.reduce((sum, layer) => sum + layer.weights, 0);
  let least = Infinity;
  const walk = (i: number, cost: number, bits: number, time: number): void => {
    const layer = layers[i];
    if (layer === undefined) {
      if (bits > budget.averageBits * total || bits / 8 > budget.bytes) return;
      if (time > (budget.uses["time"] ?? Infinity)) return;
      least = Math.min(least, cost);
      return;
    }
    for (const choice of layer.choices)
      walk(
        i + 1,
        cost + choice.cost,
        bits + layer.weights * choice.bits,
        time + (choice.uses?.["time"] ?? 0),
      );
  };
  walk(0, 0, 0, 0);
  return least;
}

test("the optimum of random problems is what enumeration finds, by either search, and none when there is none", () => {
  let solved = 0;
  let refused = 0;
  for (let seed = 1; seed <= 120; ++seed) {
    const layers = randomLayers(seed, 1 + (seed % 7));
    const averageBits = 2 + (seed % 5) * 0.7;
    const budgets: BitBudget[] = [
      { averageBits },
      { averageBits, uses: { time: 30 * (seed % 6) } },
      { averageBits, bytes: 900, uses: { time: 25 * (seed % 7) } },
    ];
    for (const budget of budgets) {
      const least = leastCost(layers, {
        averageBits,
        bytes: budget.bytes ?? Infinity,
        uses: budget.uses ?? {},
      });
      if (least === Infinity) {
        expect(() => allocateBits(layers, budget)).toThrow("the budget cannot be met");
        refused += 1;
        continue;
      }
      for (const maxStates of [16384, 4]) {
        const found = allocateBits(layers, budget, { maxStates });
        expect(found.cost).toBeCloseTo(least, 12);
        expect(found.gap).toBe(0);
      }
      solved += 1;
    }
  }
  expect(Math.min(solved, refused)).toBeGreaterThan(20); // both are tested
});

test("the nearest budget that can be met can be met, and a little less cannot", () => {
  const layers = randomLayers(12, 6);
  const small: BitBudget = { averageBits: 2.5, uses: { time: 80 } };
  let details: { limit?: string; nearest?: number } = {};
  try {
    allocateBits(layers, small);
  } catch (error) {
    details = (error as { details: typeof details }).details;
  }
  const { limit = "", nearest = NaN } = details;
  const raised = (to: number): BitBudget =>
    limit === "averageBits" ? { ...small, averageBits: to } : { ...small, uses: { time: to } };
  expect(() => allocateBits(layers, raised(nearest * (1 + 1e-9)))).not.toThrow();
  expect(() => allocateBits(layers, raised(nearest * (1 - 1e-6)))).toThrow("cannot be met");
});

test("a budget that is reached exactly is met", () => {
  const layers = [{ name: "a", weights: 10, choices: [{ bits: 3.3, cost: 0 }] }];
  expect(allocateBits(layers, { averageBits: 3.3 }).bits).toEqual([3.3]);
});

test("60 layers of random sizes: proved best, a larger budget never costs more, a coarse search says how far off it is", () => {
  const next = numbers(7);
  const layers = Array.from({ length: 60 }, (_, i) => {
    const size = 64 * (1 + Math.floor(next() * 64));
    const sensitivity = next() ** 3;
    const choices = [2, 3, 4, 8].map((bits) => ({ bits, cost: size * sensitivity * 4 ** -bits }));
    return { name: `layer${i}`, weights: size, choices };
  });
  let before = Infinity;
  for (const averageBits of [2, 3, 3.5, 8]) {
    const found = allocateBits(layers, { averageBits });
    expect(found.frontierExact).toBe(true);
    expect(found.gap).toBe(0);
    expect(found.averageBits).toBeLessThanOrEqual(averageBits);
    expect(found.cost).toBeLessThanOrEqual(before);
    before = found.cost;
    const coarse = allocateBits(layers, { averageBits }, { maxStates: 64, maxNodes: 2000 });
    expect(coarse.averageBits).toBeLessThanOrEqual(averageBits);
    expect(coarse.cost).toBeGreaterThanOrEqual(found.cost * (1 - 1e-12));
    expect(coarse.lowerBound).toBeLessThanOrEqual(found.cost * (1 + 1e-12));
  }
});

test("a search that is ended early says how far from the best it may be", () => {
  const next = numbers(3);
  // Costs that follow the sizes closely: bounds say little, and enumeration is long.
  const layers = Array.from({ length: 60 }, (_, i) => {
    const size = 1000 + Math.floor(next() * 1000);
    const choices = [2, 4].map((bits) => ({
      bits,
      cost: bits === 2 ? size + next() : 0,
      uses: { time: bits === 2 ? 1 : 1 + next() },
    }));
    return { name: `layer${i}`, weights: size, choices };
  });
  const budget = { averageBits: 3, uses: { time: 90 } };
  const found = allocateBits(layers, budget, { maxNodes: 100, maxStates: 64 });
  expect(found.frontierExact).toBe(false);
  expect(found.gap).toBeGreaterThan(0);
  expect(found.lowerBound).toBeLessThan(found.cost);
  const more = allocateBits(layers, budget, { maxNodes: 20_000, maxStates: 64 });
  expect(more.cost).toBeLessThanOrEqual(found.cost);
  expect(found.lowerBound).toBeLessThanOrEqual(more.cost);
});

test("choosing among nothing costs nothing", () => {
  expect(chooseLeast([], [1], 10)).toMatchObject({ best: { picks: [], cost: 0 }, complete: true });
});

const one = { name: "a", weights: 8, choices: [{ bits: 4, cost: 1 }] };
test.each<[string, () => unknown, string]>([
  ["no layers", () => allocateBits([], { bytes: 1 }), "at least one layer"],
  ["no limit", () => allocateBits([one], {}), "averageBits, bytes or uses"],
  ["a name twice", () => allocateBits([one, one], { bytes: 100 }), "a twice"],
  ["no choice", () => allocateBits([{ ...one, choices: [] }], { bytes: 9 }), "1 to 256 choices"],
  ["NaN budget", () => allocateBits([one], { averageBits: NaN }), "budget.averageBits"],
  ["no such use", () => allocateBits([one], { uses: { time: 1 } }), "uses.time of a"],
  [
    "too small",
    () => allocateBits([one], { averageBits: 3 }),
    "expected at least 4 for budget.averageBits but received 3: the budget cannot be met, the nearest that can is 4",
  ],
])("refused: %s", (_, call, message) => {
  expect(call).toThrow(message);
});

test("a sensitivity that is NaN is an error that names the layer", () => {
  const layers = [one, { name: "b", weights: 8, choices: [{ bits: 4, cost: NaN }] }];
  expect(() => allocateBits(layers, { bytes: 100 })).toThrow(NumericalError);
  expect(() => allocateBits(layers, { bytes: 100 })).toThrow("the cost of b at 4 bits");
});
