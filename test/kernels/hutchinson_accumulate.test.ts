import { hutchinsonAccumulate, hutchinsonAccumulateSync } from "../../lib/ops/hutchinson.js";
import { rademacher } from "../../lib/ops/random.js";
import { spatialBlock } from "../../lib/ops/segments.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { exactSum, vector } from "../helpers/flat-data.js";
import { readVectors } from "../helpers/vectors.js";

const eps = 2 ** -24;

/** All sign vectors of a length, z_i of number k is bit i of k. */
function signVectors(size: number): number[][] {
  return Array.from({ length: 2 ** size }, (_, k) =>
    Array.from({ length: size }, (_, i) => ((k >> i) & 1) * 2 - 1),
  );
}

const times = (H: readonly (readonly number[])[], z: readonly number[]) =>
  H.map((row) => row.reduce((sum, h, j) => sum + h * z[j]!, 0));

eachDevice("hutchinson_accumulate", (device) => {
  const tensor = (values: ArrayLike<number>) =>
    Tensor.from(Float32Array.from(values), undefined, { device });
  const floats = async (t: Tensor) => (await t.data()) as Float32Array;

  test("all sign vectors: mean z o Hz = diag H, its variance, E Hz^2 = squared row norms", async () => {
    const H = [
      [2, 1],
      [1, 3],
    ];
    const [mean, m2, rows, ones] = [tensor([0, 0]), tensor([0, 0]), tensor([0, 0]), tensor([0, 0])];
    let count = 0;
    for (const z of signVectors(2)) {
      const [hv, probe] = [tensor(times(H, z)), tensor(z)];
      const trace = await hutchinsonAccumulate(hv, { mean, m2 }, { probe, count });
      expect(trace).toBe(times(H, z).reduce((sum, x, i) => sum + x * z[i]!, 0));
      await hutchinsonAccumulate(hv, { mean: rows }, { kind: "square", count });
      await hutchinsonAccumulate(hv, { mean: ones }, { kind: "absolute", count });
      ++count;
    }
    expect([...(await floats(mean))]).toEqual([2, 3]);
    // Variance of one estimate: the squared off-diagonal of the row, 1 here. Four estimates: m2 = 4.
    (await floats(m2)).forEach((x) => {
      expect(x).toBeCloseTo(4, 5);
    });
    const norms = (await floats(rows)).map(Math.sqrt);
    expect(norms[0]).toBeCloseTo(2.23606798, 6);
    expect(norms[1]).toBeCloseTo(3.16227766, 6);
    expect([...(await floats(ones))]).toEqual([2, 3]); // |3|, |1| and |4|, |2|
  });

  test("absolute before the average is biased, the signed estimate is not: H = [[1,2],[2,1]]", async () => {
    const H = [
      [1, 2],
      [2, 1],
    ];
    const [signed, absolute] = [tensor([0, 0]), tensor([0, 0])];
    let count = 0;
    for (const z of signVectors(2)) {
      const hv = tensor(times(H, z));
      await hutchinsonAccumulate(hv, { mean: signed }, { probe: tensor(z), count });
      await hutchinsonAccumulate(hv, { mean: absolute }, { kind: "absolute", count });
      ++count;
    }
    expect([...(await floats(signed))]).toEqual([1, 1]);
    expect([...(await floats(absolute))]).toEqual([2, 2]);
  });

  test("hawq.json: over all 32 sign vectors the mean total is the trace, its variance the stated one", async () => {
    const { matrix, trace, hutchinson_variance } = readVectors<{
      matrix: number[][];
      trace: number;
      hutchinson_variance: number;
    }>("hawq.json");
    const totals: number[] = [];
    for (const z of signVectors(5))
      totals.push(await hutchinsonAccumulate(tensor(times(matrix, z)), {}, { probe: tensor(z) }));
    const mean = exactSum(32, (k) => totals[k]!) / 32;
    expect(mean).toBeCloseTo(trace, 12);
    expect(exactSum(32, (k) => (totals[k]! - mean) ** 2) / 32).toBeCloseTo(hutchinson_variance, 10);
  });

  test("probes drawn from their key: their mean within five standard errors", async () => {
    const n = 24;
    const H = Array.from({ length: n }, (_, i) =>
      Array.from({ length: n }, (_, j) => (i === j ? i - 3 : 1 / (1 + Math.abs(i - j)))),
    );
    const [mean, m2] = [tensor(new Array<number>(n).fill(0)), tensor(new Array<number>(n).fill(0))];
    const samples = device === "cpu" ? 4096 : 512;
    for (let count = 0; count < samples; ++count) {
      const key = { seed: 3, stream: 9, step: count, index: 1000 };
      using probe = rademacher([n], { ...key, device });
      using hv = tensor(times(H, [...probe.dataSync()]));
      hutchinsonAccumulateSync(hv, { mean, m2 }, { probe: key, count });
    }
    const [diagonal, squares] = [await floats(mean), await floats(m2)];
    for (let i = 0; i < n; ++i) {
      const variance = exactSum(n, (j) => (i === j ? 0 : H[i]![j]! ** 2));
      const error = Math.sqrt(variance / samples);
      expect(Math.abs(diagonal[i]! - H[i]![i]!)).toBeLessThan(5 * error);
      expect(Math.sqrt(squares[i]! / (samples * (samples - 1))) / error).toBeCloseTo(1, 1);
    }
  });

  test.each([0, 1, 127, 300, 40_001])(
    "%i elements: signs drawn equal signs given, in any cut",
    async (size) => {
      const key = { seed: 77, stream: 1, step: 5, index: 61 };
      const hv = tensor(vector("float32", size));
      const make = () => ({
        mean: tensor(new Float32Array(size)),
        ema: tensor(new Float32Array(size).fill(2)),
      });
      const [drawn, given, cut] = [make(), make(), make()];
      const total = await hutchinsonAccumulate(hv, drawn, { probe: key, beta: 0.75 });
      const probe = rademacher([size], { ...key, device });
      expect(await hutchinsonAccumulate(hv, given, { probe, beta: 0.75 })).toBe(total);
      const half = size >> 1;
      for (const [from, to] of [
        [0, half],
        [half, size],
      ] as const) {
        const part = (t: Tensor) => t.slice(0, from, to);
        const probe = { ...key, index: key.index + from };
        await hutchinsonAccumulate(
          part(hv),
          { mean: part(cut.mean), ema: part(cut.ema) },
          { probe, beta: 0.75 },
        );
      }
      const [h, z, mean, ema] = [
        await floats(hv),
        await floats(probe),
        await floats(drawn.mean),
        await floats(drawn.ema),
      ];
      let worst = 0;
      h.forEach((x, i) => {
        const d = x * z[i]!;
        worst = Math.max(
          worst,
          Math.abs(mean[i]! - d),
          Math.abs(ema[i]! - (1.5 + d / 4)) / (2 + Math.abs(d)),
        );
      });
      expect(worst).toBeLessThanOrEqual(2 * eps);
      for (const other of [given, cut]) {
        expect(
          Buffer.from((await floats(other.mean)).buffer).equals(Buffer.from(mean.buffer)),
        ).toBe(true);
        expect(Buffer.from((await floats(other.ema)).buffer).equals(Buffer.from(ema.buffer))).toBe(
          true,
        );
      }
      const exact = exactSum(size, (i) => h[i]! * z[i]!);
      expect(Math.abs(total - exact)).toBeLessThanOrEqual(
        (size + 1) * 2 ** -53 * exactSum(size, (i) => Math.abs(h[i]!)),
      );
    },
  );

  test("averages over rows, kernels, and runs longer than a tile; only inside a tensor", async () => {
    const shapes = [[6, 40], [13], [16, 3, 3, 3], [2, 20_003], [], [5, 7, 4]];
    const segments = shapes.map((shape) => ({
      size: shape.reduce((a, b) => a * b, 1),
      block: spatialBlock(shape),
    }));
    expect(segments.map(({ block }) => block)).toEqual([40, 1, 9, 20_003, 1, 4]);
    const size = segments.reduce((sum, segment) => sum + segment.size, 0);
    const h = vector("float32", size, 5);
    const z = vector("float32", size, 6).map(Math.sign);
    for (const kind of ["signed", "absolute", "square"] as const) {
      const mean = tensor(new Float32Array(size));
      const probe = tensor(z);
      const total = await hutchinsonAccumulate(tensor(h), { mean }, { kind, probe, segments });
      const got = await floats(mean);
      const d = (i: number) =>
        kind === "signed"
          ? h[i]! * z[i]!
          : kind === "absolute"
            ? Math.abs(h[i]!)
            : Math.fround(h[i]! ** 2);
      let worst = 0;
      for (let start = 0, s = 0; s < segments.length; ++s) {
        for (const end = start + segments[s]!.size; start < end; start += segments[s]!.block) {
          const { block } = segments[s]!;
          const exact = exactSum(block, (i) => d(start + i)) / block;
          for (let i = start; i < start + block; ++i)
            worst = Math.max(worst, Math.abs(got[i]! - exact) / Math.abs(exact));
        }
      }
      expect(worst).toBeLessThan(1.1 * eps); // a sum in float64, rounded once
      const sum = exactSum(size, d);
      expect(Math.abs(total - sum)).toBeLessThanOrEqual(
        1.1 * eps * exactSum(size, (i) => Math.abs(d(i))),
      );
    }
  });

  test("blocks by rank, as asked for", () => {
    expect(spatialBlock([])).toBe(1);
    expect(spatialBlock([7])).toBe(1);
    expect(spatialBlock([4, 1])).toBe(1);
    expect(spatialBlock([4, 6], [-1, 1, -1, -1])).toBe(1);
    expect(spatialBlock([12], [4, -1, -1, -1])).toBe(4);
    expect(spatialBlock([2, 3, 4, 5, 6])).toBe(120);
    expect(spatialBlock([3, 0])).toBe(1);
    expect(() => spatialBlock([5, 3], [-1, 2, -1, -1])).toThrow(/a divisor of 15 for blocks\[1\]/);
    expect(() => spatialBlock([5], [0, -1, -1, -1])).toThrow(/for blocks\[0\]/);
  });

  test("NaN changes nothing, and is found", async () => {
    const h = vector("float32", 30_000);
    h[20_007] = NaN;
    const mean = tensor(vector("float32", 30_000, 3));
    const before = await floats(mean);
    const found = { code: "NON_FINITE", details: { index: 20_007 } };
    const probe = { seed: 1 };
    await expect(
      hutchinsonAccumulate(tensor(h), { mean }, { probe, count: 2 }),
    ).rejects.toMatchObject(found);
    expect(() => hutchinsonAccumulateSync(tensor(h), { mean }, { probe })).toThrow(
      /hv is not finite/,
    );
    expect(await floats(mean)).toEqual(before);
    expect(
      await hutchinsonAccumulate(tensor(h), { mean }, { probe, checkFinite: false }),
    ).toBeNaN();
  });

  test("what it refuses", async () => {
    const v = () => tensor([1, 2, 3, 4]);
    const hv = v();
    const refuse = (statistics: object, options: object, message: RegExp) =>
      expect(
        hutchinsonAccumulate(hv, statistics, { probe: { seed: 1 }, ...options }),
      ).rejects.toThrow(message);
    await refuse({}, { probe: undefined }, /the signs, for kind "signed", for probe/);
    await refuse({}, { kind: "cube" }, /for kind/);
    await refuse({}, { count: -1 }, /for count/);
    await refuse({ ema: v() }, {}, /for beta/);
    await refuse({ ema: v() }, { beta: 1 }, /for beta/);
    await refuse({ m2: v() }, {}, /since m2 is given, for mean/);
    await refuse({ mean: tensor([1]) }, {}, /the 4 elements of hv for mean/);
    await refuse({ mean: v().toDType("float64") }, {}, /dtype of mean/);
    await refuse({ mean: hv }, {}, /hv and mean share memory/);
    await refuse({}, { probe: tensor([1]) }, /for probe/);
    await refuse({}, { probe: { seed: -1 } }, /for seed/);
    await refuse({}, { segments: [{ size: 3, block: 1 }] }, /sizes with the sum 4/);
    const gone = v();
    gone.dispose();
    await refuse({ mean: gone }, {}, /disposed/);
    const nothing = undefined as unknown as Tensor;
    await expect(hutchinsonAccumulate(nothing, {}, { kind: "square" })).rejects.toThrow(/for hv/);
  });
});
