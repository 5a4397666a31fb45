/** What every pass on one layer must do; a new pass is one row of the table. */
import { memoryStats, setThreads } from "../../lib/binding/index.js";
import {
  gptaq,
  gptaqSync,
  gptq,
  gptqSync,
  magnitude,
  magnitudeSync,
  obc,
  obcSync,
  obq,
  obqSync,
  obs,
  roundToNearest,
  roundToNearestSync,
  type SparsityOptions,
  sparsegpt,
  sparsegptSync,
  wanda,
  wandaSync,
} from "../../lib/compress/index.js";
import { type InputGram, inputGram } from "../../lib/curvature/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { ar1Layer, matrix } from "../helpers/gptq-oracle.js";
import { nested, quadraticError } from "../helpers/prune-oracle.js";
import { settledMemory } from "../helpers/live-memory.js";

type Gram = InputGram | Tensor;
interface Options extends SparsityOptions {
  name?: string;
  signal?: AbortSignal;
  report?: "full" | "none";
}
interface Result {
  weight: Tensor<"float32">;
  mask?: Tensor<"bool"> | undefined;
  /** Of the report: the result's error and its baseline's. */
  errors?: (number | undefined)[];
  warnings: readonly string[];
}
interface Pass {
  name: string;
  prunes: boolean;
  /** Reads the inputs' statistic. */
  calibrated: boolean;
  /** Never worse than its baseline when the inputs are uncorrelated. */
  run(W: Tensor, gram: Gram, options: Options): Promise<Result>;
  runSync(W: Tensor, gram: Gram, options: Options): Result;
}

type Pruned = Awaited<ReturnType<typeof sparsegpt>>;
const pruned = ({ weight, mask, report }: Pruned): Result => ({
  weight,
  mask,
  errors: [report.relativeError, report.magnitudeRelativeError],
  warnings: report.warnings,
});
type Quantized = Awaited<ReturnType<typeof gptq>>;
const quantized = (q: Quantized): Result => ({
  weight: q.dequantize(),
  errors: [q.report.relativeError, q.report.rtnRelativeError],
  warnings: q.report.warnings,
});
/** Options of a quantizer: it has no target to be pruned to. */
const grid = ({ name, signal, report }: Options) => ({
  bits: 3 as const,
  groupSize: 16,
  sym: false,
  name,
  signal,
  report,
});
/** Of inputs that are the original model's. */
const noGap = (W: Tensor) => {
  const columns = W instanceof Tensor ? (W.shape[1] ?? 1) : 1;
  return Tensor.from(new Float32Array(columns * columns), [columns, columns], { borrow: true });
};
const joint = (options: Options) => ({ ...options, quantize: { bits: 4 as const, sym: false } });

const passes: Pass[] = [
  {
    name: "roundToNearest",
    prunes: false,
    calibrated: false,
    run: async (W, gram, o) => quantized(await roundToNearest(W, { ...grid(o), gram })),
    runSync: (W, gram, o) => quantized(roundToNearestSync(W, { ...grid(o), gram })),
  },
  {
    name: "gptq",
    prunes: false,
    calibrated: true,
    run: async (W, gram, o) => quantized(await gptq(W, gram, grid(o))),
    runSync: (W, gram, o) => quantized(gptqSync(W, gram, grid(o))),
  },
  {
    name: "obq",
    prunes: false,
    calibrated: true,
    run: async (W, gram, o) => quantized(await obq(W, gram, grid(o))),
    runSync: (W, gram, o) => quantized(obqSync(W, gram, grid(o))),
  },
  {
    name: "gptaq",
    prunes: false,
    calibrated: true,
    run: async (W, gram, o) => quantized(await gptaq(W, gram, noGap(W), grid(o))),
    runSync: (W, gram, o) => quantized(gptaqSync(W, gram, noGap(W), grid(o))),
  },
  {
    name: "magnitude",
    prunes: true,
    calibrated: false,
    run: async (W, _, o) => pruned(await magnitude(W, o)),
    runSync: (W, _, o) => pruned(magnitudeSync(W, o)),
  },
  {
    name: "wanda",
    prunes: true,
    calibrated: true,
    run: async (W, gram, o) => pruned(await wanda(W, gram, o)),
    runSync: (W, gram, o) => pruned(wandaSync(W, gram, o)),
  },
  {
    name: "obc",
    prunes: true,
    calibrated: true,
    run: async (W, gram, o) => pruned(await obc(W, gram, o)),
    runSync: (W, gram, o) => pruned(obcSync(W, gram, o)),
  },
  {
    name: "sparsegpt",
    prunes: true,
    calibrated: true,
    run: async (W, gram, o) => pruned(await sparsegpt(W, gram, o)),
    runSync: (W, gram, o) => pruned(sparsegptSync(W, gram, o)),
  },
  {
    name: "sparsegpt, joint",
    prunes: true,
    calibrated: true,
    run: async (W, gram, o) => pruned(await sparsegpt(W, gram, joint(o))),
    runSync: (W, gram, o) => pruned(sparsegptSync(W, gram, joint(o))),
  },
];

const half = { sparsity: 0.5 };
const W = (rows: number[][]) => matrix(rows, "float32", "cpu");
const H = (rows: number[][]) => matrix(rows, "float64", "cpu");

describe.each(passes.map((pass) => [pass.name, pass] as const))("%s", (_, pass) => {
  const layer = ar1Layer(70, 40, 0.8, 11);

  test("the blocking twin, any number of threads and a strided view: the same bits", async () => {
    const wanted = await pass.run(W(layer.W), H(layer.H), half);
    const transposed = W(layer.W[0]!.map((_, c) => layer.W.map((row) => row[c]!)));
    const results = [
      pass.runSync(W(layer.W), H(layer.H), half),
      await pass.run(transposed.transpose(), H(layer.H), half),
    ];
    for (const threads of [1, 3]) {
      setThreads(threads);
      results.push(await pass.run(W(layer.W), H(layer.H), half));
    }
    setThreads(2);
    for (const result of results) {
      expect(result.weight.dataSync()).toEqual(wanted.weight.dataSync());
      expect(result.mask?.dataSync()).toEqual(wanted.mask?.dataSync());
    }
  });

  test("W is not changed, and nothing is left behind but the results", async () => {
    const [w, h] = [W(layer.W), H(layer.H)];
    const before = await w.data();
    const { liveBlocks } = await settledMemory();
    const result = await pass.run(w, h, { ...half, report: "full" });
    result.weight.dispose();
    result.mask?.dispose();
    expect(memoryStats().liveBlocks).toBeLessThanOrEqual(liveBlocks);
    expect(await w.data()).toEqual(before);
    const bad = H(layer.H.map((row) => row.map(() => NaN)));
    const broken = (await settledMemory()).liveBlocks;
    if (pass.calibrated) await expect(pass.run(w, bad, half)).rejects.toThrow();
    expect(memoryStats().liveBlocks).toBeLessThanOrEqual(broken);
  });

  test("fewer tokens than columns, and a column without input", async () => {
    const gram = inputGram(40);
    const tokens = Float32Array.from({ length: 7 * 40 }, (_, i) =>
      i % 40 === 3 ? 0 : Math.sin(i * i),
    );
    await gram.add(Tensor.from(tokens, [7, 40]));
    const result = await pass.run(W(layer.W), gram, half);
    expect(result.weight.dataSync().every(Number.isFinite)).toBe(true);
    if (!pass.calibrated) return;
    const warnings = result.warnings.join();
    expect(warnings).toMatch(/1 of 40 columns/);
    nested(result.weight.dataSync(), 40).forEach((row) => {
      expect(row[3]).toBe(0);
    });
  });

  test("no tokens and an all-zero matrix: an error that names the layer", async () => {
    if (!pass.calibrated) return;
    const error = { code: "NO_TOKENS", message: expect.stringContaining("up") as string };
    const zeros = H(layer.H.map((row) => row.map(() => 0)));
    for (const gram of [inputGram(40), zeros]) {
      await expect(pass.run(W(layer.W), gram, { ...half, name: "up" })).rejects.toMatchObject(
        error,
      );
      expect(() => pass.runSync(W(layer.W), gram, { ...half, name: "up" })).toThrow(
        expect.objectContaining(error) as Error,
      );
    }
  });

  test("NaN and Inf in the weights: an error with the place", async () => {
    for (const value of [NaN, -Infinity]) {
      const rows = layer.W.map((row) => [...row]);
      rows[65]![7] = value;
      await expect(pass.run(W(rows), H(layer.H), { ...half, name: "up" })).rejects.toMatchObject({
        code: "NON_FINITE",
        message: expect.stringContaining("up has 1 NaN or Inf, the first at [65, 7]") as string,
      });
    }
  });

  test.each<[string, (w: Tensor, h: Gram) => [Tensor, Gram, Options?], string]>([
    ["a weight of rank 1", (_, h) => [Tensor.zeros([40]), h], "SHAPE"],
    ["a float64 weight", (_, h) => [Tensor.zeros([2, 40], { dtype: "float64" }), h], "DTYPE"],
    ["no tensor", (_, h) => [[1] as never, h], "ARGUMENT"],
    ["a matrix of another size", (w) => [w, Tensor.zeros([3, 3])], "SHAPE"],
    ["a gram of another size", (w) => [w, inputGram(3)], "ARGUMENT"],
    ["no target", (w, h) => [w, h, {}], "ARGUMENT"],
    ["two targets", (w, h) => [w, h, { sparsity: 0.5, pattern: "2:4" }], "ARGUMENT"],
    ["a sparsity above 1", (w, h) => [w, h, { sparsity: 1.01 }], "ARGUMENT"],
    ["a sparsity that is NaN", (w, h) => [w, h, { sparsity: NaN }], "ARGUMENT"],
    ["a pattern of more than all", (w, h) => [w, h, { pattern: "5:4" }], "ARGUMENT"],
    ["a pattern of nothing", (w, h) => [w, h, { pattern: "0:0" }], "ARGUMENT"],
    ["a pattern that is none", (w, h) => [w, h, { pattern: "2of4" }], "ARGUMENT"],
  ])("%s", async (what, change, code) => {
    const [w, h, options] = change(W(layer.W), H(layer.H));
    const ofTarget = options !== undefined;
    const ofGram = what.includes("of another size");
    if ((ofTarget && !pass.prunes) || (ofGram && pass.name === "magnitude")) return;
    await expect(pass.run(w, h, options ?? half)).rejects.toMatchObject({ code });
    expect(() => pass.runSync(w, h, options ?? half)).toThrow();
  });

  test("disposed tensors and an abort", async () => {
    const w = W(layer.W);
    w.dispose();
    await expect(pass.run(w, H(layer.H), half)).rejects.toMatchObject({ code: "DISPOSED" });
    const signal = AbortSignal.abort(new Error("stop"));
    await expect(pass.run(W(layer.W), H(layer.H), { ...half, signal })).rejects.toThrow("stop");
  });

  test("empty layers and one weight", async () => {
    const none = await pass.run(Tensor.empty([0, 40]), H(layer.H), half);
    expect(none.weight.shape).toEqual([0, 40]);
    const one = await pass.run(W([[0.75]]), H([[2]]), { sparsity: 0 });
    expect(Math.abs(one.weight.dataSync()[0]! - 0.75)).toBeLessThan(1e-3);
  });

  test("uncorrelated inputs: no worse than the baseline, which is optimal or on the same grid", async () => {
    const diagonal = layer.H.map((row, i) => row.map((h, j) => (i === j ? h * (1 + (i % 7)) : 0)));
    for (const target of pass.prunes ? [{ pattern: "2:4" }, { pattern: "3:5" }] : [half]) {
      const result = await pass.run(W(layer.W), H(diagonal), { ...target, report: "full" });
      const [error, baseline] = result.errors!;
      if (error === undefined || baseline === undefined) {
        expect(pass.name).toBe("magnitude");
        continue;
      }
      expect(error).toBeLessThanOrEqual(baseline * (1 + 1e-6));
      const weight = nested(result.weight.dataSync(), 40);
      const zero = layer.W.map((row) => row.map(() => 0));
      const wanted =
        quadraticError(layer.W, weight, diagonal) / quadraticError(layer.W, zero, diagonal);
      expect(Math.abs(error - wanted)).toBeLessThan(1e-5 * wanted);
    }
  });

  if (!pass.prunes) return;

  test("sparsity 0 keeps all, 1 keeps none; between them the count is the target's", async () => {
    for (const [sparsity, zeros] of [
      [0, 0],
      [0.1, 280],
      [0.7, 1960],
      [1, 2800],
    ] as const) {
      const result = await pass.run(W(layer.W), H(layer.H), { sparsity });
      expect(result.mask!.dataSync().filter((keep) => keep === 0).length).toBe(zeros);
      result.mask!.dataSync().forEach((keep, i) => {
        if (!keep) expect(result.weight.dataSync()[i]).toBe(0);
      });
    }
  });

  test.each(["2:4", "4:8", "1:3", "3:7", "0:4", "4:4", "40:100"])(
    "%s: the count of every group; a last group that is short says so",
    async (pattern) => {
      const [n, m] = pattern.split(":").map(Number) as [number, number];
      const result = await pass.run(W(layer.W), H(layer.H), { pattern });
      for (const row of nested(result.mask!.dataSync(), 40)) {
        for (let j = 0; j < 40; j += m) {
          const group = row.slice(j, j + m);
          const zeros = group.filter((keep) => keep === 0).length;
          expect(zeros).toBe(Math.floor((n * group.length) / m));
        }
      }
      const warned = result.warnings.some((warning) => warning.includes(`no multiple of ${m}`));
      expect(warned).toBe(40 % m !== 0);
    },
  );
});

test("refit <= SparseGPT <= its mask without an update; OBC <= SparseGPT, over layers", async () => {
  const sums = { obc: 0, sparsegpt: 0 };
  for (let seed = 0; seed < 5; ++seed) {
    const { W: rows, H: gram } = ar1Layer(12, 32, 0.8, seed);
    const [w, h] = [W(rows), H(gram)];
    const options = { pattern: "2:4", report: "full" } as const;
    const swept = await sparsegpt(w, h, options);
    const exact = await obs(w, h, { mask: swept.mask });
    expect(exact.report.zeros).toBe(192);
    expect(exact.mask.dataSync()).toEqual(swept.mask.dataSync());
    expect(exact.report.loss).toBeLessThanOrEqual(swept.report.loss!);
    const untouched = rows.map((row, r) =>
      row.map((value, j) => (swept.mask.dataSync()[r * 32 + j] ? value : 0)),
    );
    const mean = gram.reduce((sum, row, i) => sum + row[i]!, 0) / 32;
    const damped = gram.map((row, i) => row.map((x, j) => x + (i === j ? 0.01 * mean : 0)));
    expect(2 * swept.report.loss!).toBeLessThan(quadraticError(rows, untouched, damped));
    sums.sparsegpt += swept.report.loss!;
    sums.obc += (await obc(w, h, options)).report.loss!;
  }
  expect(sums.obc).toBeLessThan(sums.sparsegpt);
});

test("GPTQ and OBQ halve the error of rounding to nearest where inputs are correlated", async () => {
  const sums = { gptq: 0, obq: 0, rtn: 0 };
  for (let seed = 0; seed < 5; ++seed) {
    const { W: rows, H: gram } = ar1Layer(12, 48, 0.8, seed);
    const options = { bits: 4, groupSize: -1, sym: false, report: "full" } as const;
    const [a, b] = [await gptq(W(rows), H(gram), options), await obq(W(rows), H(gram), options)];
    sums.gptq += a.report.relativeError!;
    sums.obq += b.report.relativeError!;
    sums.rtn += a.report.rtnRelativeError!;
  }
  expect(sums.gptq).toBeLessThan(0.6 * sums.rtn);
  expect(sums.obq).toBeLessThan(0.6 * sums.rtn);
});

test("SparseGPT is better than Wanda, Wanda than magnitude, over layers with correlated inputs", async () => {
  for (const target of [{ sparsity: 0.5 }, { sparsity: 0.7 }, { pattern: "2:4" }]) {
    const sums = { magnitude: 0, wanda: 0, sparsegpt: 0 };
    for (let seed = 0; seed < 5; ++seed) {
      const { W: rows, H: gram } = ar1Layer(48, 64, 0.8, seed);
      // Inputs of different size, as in real layers.
      const scaled = gram.map((row, i) =>
        row.map((h, j) => h * 2 ** (((i * 5) % 7) - 3 + ((j * 5) % 7) - 3)),
      );
      const options = { ...target, report: "full" as const };
      const a = await wanda(W(rows), H(scaled), options);
      const b = await sparsegpt(W(rows), H(scaled), options);
      sums.magnitude += a.report.magnitudeRelativeError!;
      sums.wanda += a.report.relativeError!;
      sums.sparsegpt += b.report.relativeError!;
    }
    expect(sums.sparsegpt).toBeLessThan(sums.wanda);
    expect(sums.wanda).toBeLessThan(sums.magnitude);
  }
});
