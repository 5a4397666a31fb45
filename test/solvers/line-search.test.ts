import fc from "fast-check";
import { goldenSection, strongWolfe } from "../../lib/solvers/line-search.js";

interface P {
  t: number;
  value: number;
  slope: number;
}

/** Searches along phi from 0 and counts the evaluations. */
async function search(
  phi: (t: number) => number,
  slope: (t: number) => number,
  options: { c1?: number; c2?: number; first?: number } = {},
) {
  let evaluations = 0;
  const at = (t: number): Promise<P> => {
    evaluations++;
    return Promise.resolve({ t, value: phi(t), slope: slope(t) });
  };
  const start = { t: 0, value: phi(0), slope: slope(0) };
  const found = await strongWolfe(at, start, { c1: 1e-4, c2: 0.1, first: 1, ...options });
  return { found, evaluations };
}

describe("strongWolfe", () => {
  const curves: [string, (t: number) => number, (t: number) => number][] = [
    ["a parabola", (t) => (t - 3) ** 2, (t) => 2 * (t - 3)],
    ["a long valley", (t) => -t / (t * t + 2), (t) => (t * t - 2) / (t * t + 2) ** 2],
    ["a steep wall", (t) => Math.exp(8 * t) - 20 * t, (t) => 8 * Math.exp(8 * t) - 20],
    [
      "many valleys",
      (t) => 0.1 * t * t - t - Math.sin(4 * t),
      (t) => 0.2 * t - 1 - 4 * Math.cos(4 * t),
    ],
    [
      "a quartic",
      (t) => (t + 0.1) ** 5 - 2 * (t + 0.1) ** 4,
      (t) => 5 * (t + 0.1) ** 4 - 8 * (t + 0.1) ** 3,
    ],
  ];

  test.each(curves)("%s: both conditions hold, whatever the first step", async (_, phi, slope) => {
    for (const c2 of [0.1, 0.9]) {
      for (const first of [1e-3, 0.1, 1, 10, 100]) {
        const { found, evaluations } = await search(phi, slope, { c2, first });
        expect(evaluations).toBeLessThanOrEqual(20);
        expect(found!.value).toBeLessThanOrEqual(phi(0) + 1e-4 * found!.t * slope(0));
        expect(Math.abs(found!.slope)).toBeLessThanOrEqual(-c2 * slope(0));
      }
    }
  });

  test("random quartics with a minimum", async () => {
    const number = fc.double({ min: 0.1, max: 5, noNaN: true });
    await fc.assert(
      fc.asyncProperty(number, number, number, number, async (a, b, c, first) => {
        const phi = (t: number) => a * t ** 4 + b * t * t - c * t;
        const slope = (t: number) => 4 * a * t ** 3 + 2 * b * t - c;
        const { found } = await search(phi, slope, { first });
        expect(Math.abs(found!.slope)).toBeLessThanOrEqual(0.1 * c);
        expect(found!.value).toBeLessThan(phi(0));
      }),
    );
  });

  test("outside the domain counts as high", async () => {
    for (const outside of [NaN, Infinity]) {
      const phi = (t: number) => (t < 1.5 ? -Math.log(1.5 - t) - 3 * t : outside);
      const slope = (t: number) => 1 / (1.5 - t) - 3;
      const { found } = await search(phi, slope, { first: 8 });
      expect(found!.t).toBeCloseTo(1.5 - 1 / 3, 1);
    }
  });

  test("down for ever: the longest step", async () => {
    const { found } = await search(
      (t) => -t,
      () => -1,
    );
    expect(found!.t).toBe(1000);
  });

  test("no decrease: undefined, within the budget", async () => {
    const { found, evaluations } = await search(
      (t) => t,
      () => -1,
    );
    expect(found).toBeUndefined();
    expect(evaluations).toBe(20);
    expect(
      (
        await search(
          (t) => (t === 0 ? 0 : NaN),
          () => -1,
        )
      ).found,
    ).toBeUndefined();
  });

  test("a budget that runs out: the lowest point of the bracket", async () => {
    // Slopes that never flatten: only the values tell.
    const { found, evaluations } = await search(
      (t) => Math.abs(t - 0.3),
      (t) => (t < 0.3 ? -1 : 1),
    );
    expect(evaluations).toBeLessThanOrEqual(20);
    expect(found!.value).toBeLessThan(0.01);
  });
});

describe("goldenSection", () => {
  // Rounding f makes the valley's floor flat over about sqrt(eps), or eps where the least value is 0.
  test.each<[string, (v: number) => number, number, number, number]>([
    ["float32, least value 1", Math.fround, 1, 1e-5, 1e-3],
    ["float64, least value 1", (v) => v, 1, 1e-10, 1e-7],
    ["float64, least value 0", (v) => v, 0, 0, 1e-12],
  ])("finds the minimum as well as %s allows", async (_, round, least, atLeast, atMost) => {
    const f = (t: number) => Promise.resolve(round(least + (t - 1) ** 2 / 2));
    const { t } = await goldenSection(f, 0.2, 2.7, 80);
    expect(Math.abs(t - 1)).toBeGreaterThanOrEqual(atLeast);
    expect(Math.abs(t - 1)).toBeLessThanOrEqual(atMost);
  });

  test("costs two evaluations and one for each narrowing", async () => {
    let calls = 0;
    await goldenSection((t) => Promise.resolve(calls++ && t), 0, 1, 7);
    expect(calls).toBe(9);
  });
});
