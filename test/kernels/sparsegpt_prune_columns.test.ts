import { run } from "../../lib/binding/index.js";
import { gptqFactor } from "../../lib/ops/gptq-factor.js";
import { gptqQuantizeColumns } from "../../lib/ops/gptq-quantize-columns.js";
import type { GridOptions } from "../../lib/ops/quantization-grid.js";
import {
  type SparsegptColumnsOptions,
  sparsegptPruneColumns,
} from "../../lib/ops/sparsegpt-prune-columns.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import {
  ar1Layer,
  conditionalOptimum,
  matrix,
  oracleGrid,
  roundEven,
} from "../helpers/gptq-oracle.js";
import { keepLargest, nested, quadraticError } from "../helpers/prune-oracle.js";
import { readVectors } from "../helpers/vectors.js";

interface VectorCase {
  n_zero: number;
  m: number;
  sparsity: number;
  blocksize: number;
  quant: string | null;
  mask_pruned: number[][];
  weights: number[][];
  loss: number;
  err_no_update_same_mask: number;
  err_exact_refit_same_mask: number;
  codes?: number[][];
  scale?: number[];
  zero?: number[];
}
const vectors = readVectors<{
  W: number[][];
  H: number[][];
  percdamp: number;
  cases: VectorCase[];
}>("sparsegpt.json");
const grid4: GridOptions = {
  bits: 4,
  groupSize: -1,
  sym: false,
  mse: false,
  scaleDtype: "float32",
};

type Settings = Partial<SparsegptColumnsOptions> & Pick<SparsegptColumnsOptions, "target">;

/** Damped H, as the kernel's factor has it. */
function damped(H: number[][], fraction = 0.01): number[][] {
  const mean = H.reduce((sum, row, i) => sum + row[i]!, 0) / H.length;
  return H.map((row, i) => row.map((h, j) => h + (i === j ? fraction * mean : 0)));
}

/** SparseGPT with no factor: scores w^2 by Schur complements, updates by conditional least squares. */
function oracle(W: number[][], H: number[][], settings: Settings & { block: number }) {
  const { target, grid } = settings;
  const Hd = damped(H);
  const n = H.length;
  const order = Int32Array.from({ length: n }, (_, i) => i);
  // R_jj^2 is what is left of H_jj when the later columns do all they can: H_jj - H_jF H_FF^-1 H_Fj.
  const pivots = Hd.map((row, j) => {
    const pull = conditionalOptimum(Hd, [1], [0], order.slice(j));
    return pull.reduce((sum, p, i) => sum - row[j + 1 + i]! * p, row[j]!);
  });
  const grids = W.map((row) => (grid ? oracleGrid(row, grid) : undefined));
  const now = W.map((row) => [...row]);
  const q: number[][] = W.map(() => []);
  const mask: number[][] = W.map(() => []);
  for (let j = 0; j < n; ++j) {
    const step = "n" in target ? target.m : settings.block;
    if (j % step === 0) {
      const to = Math.min(j + step, n);
      const scores = now.map((row) => row.slice(j, to).map((w, i) => w ** 2 * pivots[j + i]!));
      const chosen =
        "n" in target
          ? scores.map((row) => keepLargest(row, Math.floor((target.n * (to - j)) / target.m)))
          : nested(keepBlock(scores.flat(), target.fraction, settings.exactCount), to - j);
      chosen.forEach((row, r) => mask[r]!.push(...row));
    }
    W.forEach((row, r) => {
      const w = now[r]![j]!;
      const g = grids[r];
      const code = g && Math.max(0, Math.min(2 ** grid!.bits - 1, roundEven(w / g.scale) + g.zero));
      q[r]!.push(mask[r]![j] === 0 ? 0 : g && code !== undefined ? g.scale * (code - g.zero) : w);
      const change = conditionalOptimum(Hd, row, q[r]!, order);
      now[r] = [...q[r]!, ...change.map((d, i) => row[j + 1 + i]! + d)];
    });
  }
  return { q, mask, Hd };
}

/** Exactly floor(size * fraction), or by the published rule: all up to and including the next. */
function keepBlock(scores: number[], fraction: number, exactCount = true): number[] {
  const zeros = Math.floor(scores.length * fraction);
  if (exactCount) return keepLargest(scores, zeros);
  const threshold = [...scores].sort((a, b) => a - b)[Math.min(zeros, scores.length - 1)]!;
  return scores.map((score) => Number(score > threshold));
}

eachDevice(
  "sparsegpt_prune_columns",
  (device) => {
    async function prune(W: number[][], H: number[][], settings: Settings) {
      const gram = matrix(H, "float64", device);
      const factor = await gptqFactor(gram, {
        dampPercent: 0.01,
        actOrder: false,
        precision: "float64",
      });
      const columns = H.length;
      const got = await run(
        sparsegptPruneColumns("test", matrix(W, "float32", device), factor, {
          exactCount: true,
          blockSize: 128,
          ...settings,
        }),
      );
      return {
        ...got,
        weight: nested(await got.weight.data(), columns),
        mask: nested(await got.mask.data(), columns),
      };
    }
    const close = (a: number[][], b: number[][], tolerance: number) => {
      const largest = Math.max(...b.flat().map(Math.abs));
      a.flat().forEach((x, i) => {
        expect(Math.abs(x - b.flat()[i]!)).toBeLessThanOrEqual(tolerance * largest);
      });
    };

    test.each(vectors.cases.map((one, i) => [i, one] as const))(
      "vector case %i",
      async (_, one) => {
        const target = one.m > 0 ? { n: one.n_zero, m: one.m } : { fraction: one.sparsity };
        const got = await prune(vectors.W, vectors.H, {
          target,
          blockSize: one.blocksize,
          exactCount: false,
          grid: one.quant === null ? undefined : grid4,
        });
        expect(got.mask.map((row) => row.map((keep) => 1 - keep))).toEqual(one.mask_pruned);
        close(got.weight, one.weights, 2e-6);
        expect(Math.abs(got.loss - one.loss)).toBeLessThan(1e-5 * one.loss);
        const Hd = damped(vectors.H, vectors.percdamp);
        const error = quadraticError(vectors.W, got.weight, Hd);
        expect(Math.abs(error - 2 * one.loss)).toBeLessThan(1e-5 * one.loss);
        if (one.quant === null) {
          expect(got.pruningLoss).toBe(got.loss);
          expect(error).toBeLessThan(one.err_no_update_same_mask);
          expect(error).toBeGreaterThanOrEqual(one.err_exact_refit_same_mask * (1 - 1e-6));
          expect(got.codes).toBeUndefined();
        } else {
          expect(nested(got.codes!.codes, 8)).toEqual(one.codes);
          expect(Array.from(got.codes!.zeros)).toEqual(one.zero);
          expect(got.pruningLoss).toBeGreaterThan(0);
          expect(got.pruningLoss).toBeLessThan(got.loss);
          got.mask.flat().forEach((keep, i) => {
            const row = Math.floor(i / 8);
            if (!keep) expect(got.codes!.codes[i]).toBe(got.codes!.zeros[row]);
            const value = got.codes!.scales[row]! * (got.codes!.codes[i]! - got.codes!.zeros[row]!);
            expect(got.weight.flat()[i]).toBe(Math.fround(value));
          });
        }
      },
    );

    test.each<[string, number, number, Settings]>([
      ["one element", 1, 1, { target: { fraction: 1 } }],
      ["half", 7, 33, { target: { fraction: 0.5 } }],
      ["more than a strip and a panel", 70, 37, { target: { fraction: 0.6 }, blockSize: 16 }],
      [
        "the published count",
        5,
        40,
        { target: { fraction: 0.5 }, exactCount: false, blockSize: 8 },
      ],
      ["2:4", 5, 70, { target: { n: 2, m: 4 } }],
      ["3:7, a last group of 5", 4, 40, { target: { n: 3, m: 7 }, blockSize: 10 }],
      ["groups wider than a panel", 3, 50, { target: { n: 20, m: 40 } }],
      ["one group wider than the row", 3, 9, { target: { n: 500, m: 1000 } }],
      ["quantized too", 6, 40, { target: { fraction: 0.5 }, grid: { ...grid4, bits: 3 } }],
      ["2:4 quantized too", 6, 40, { target: { n: 2, m: 4 }, grid: { ...grid4, sym: true } }],
    ])("equals the oracle without a factor: %s", async (_, out, columns, settings) => {
      const layer = ar1Layer(out, columns, 0.7, out * 100 + columns);
      const got = await prune(layer.W, layer.H, settings);
      const wanted = oracle(layer.W, layer.H, { ...settings, block: settings.blockSize ?? 128 });
      expect(got.mask).toEqual(wanted.mask);
      if (settings.grid === undefined) close(got.weight, wanted.q, 1e-4);
      const error = quadraticError(layer.W, wanted.q, wanted.Hd);
      expect(Math.abs(2 * got.loss - error)).toBeLessThan(1e-3 * error);
    });

    test("sparsity 0 changes nothing, or is GPTQ with a grid; sparsity 1 leaves nothing", async () => {
      const layer = ar1Layer(9, 30, 0.8, 4);
      const none = await prune(layer.W, layer.H, { target: { fraction: 0 } });
      expect(none.weight).toEqual(layer.W);
      expect([none.loss, none.zeros]).toEqual([0, 0]);
      const joint = await prune(layer.W, layer.H, { target: { fraction: 0 }, grid: grid4 });
      const factor = await gptqFactor(matrix(layer.H, "float64", device), {
        dampPercent: 0.01,
        actOrder: false,
        precision: "float64",
      });
      const gptq = await gptqQuantizeColumns(matrix(layer.W, "float32", device), factor, {
        ...grid4,
        staticGroups: true,
        blockSize: 128,
      });
      expect(joint.codes!.codes).toEqual(gptq.codes);
      expect(joint.loss).toBe(gptq.loss);
      expect(joint.pruningLoss).toBe(0);
      const all = await prune(layer.W, layer.H, { target: { fraction: 1 } });
      expect(all.weight.flat().every((w) => w === 0)).toBe(true);
      expect(all.zeros).toBe(270);
    });

    test("a mask that was given is kept and counts to the target", async () => {
      const layer = ar1Layer(8, 24, 0.8, 7);
      const first = await prune(layer.W, layer.H, { target: { n: 1, m: 4 } });
      const held = Tensor.from(Uint8Array.from(first.mask.flat()), [8, 24], {
        dtype: "bool",
        device,
      });
      const same = await prune(first.weight, layer.H, {
        target: { fraction: 0 },
        held,
        grid: grid4,
      });
      expect(same.mask).toEqual(first.mask);
      const more = await prune(first.weight, layer.H, { target: { n: 2, m: 4 }, held });
      expect(more.zeros).toBe(96);
      first.mask.flat().forEach((keep, i) => {
        if (!keep) expect(more.mask.flat()[i]).toBe(0);
      });
      const half = await prune(first.weight, layer.H, { target: { fraction: 0.5 }, held });
      expect(half.zeros).toBe(96);
      expect(half.mask.flat().every((keep, i) => keep <= first.mask.flat()[i]!)).toBe(true);
    });

    test("ties: exactly the count, the first ones; a diagonal H: nothing is updated", async () => {
      const W = Array.from({ length: 70 }, () => new Array<number>(8).fill(0.5));
      const H = ar1Layer(1, 8, 0.5, 1).H.map((row, i) => row.map((_, j) => Number(i === j)));
      const got = await prune(W, H, { target: { fraction: 0.25 } });
      expect(got.mask.flat()).toEqual(keepLargest(W.flat(), 140));
      expect(got.weight.flat().every((w) => w === 0 || w === 0.5)).toBe(true);
      const published = await prune(W, H, { target: { fraction: 0.25 }, exactCount: false });
      expect(published.zeros).toBe(560);
    });

    test("dead columns become zero and leave the others as without them", async () => {
      const layer = ar1Layer(5, 12, 0.7, 3);
      const dead = layer.H.map((row, i) => row.map((h, j) => (i === 5 || j === 5 ? 0 : h)));
      const got = await prune(layer.W, dead, { target: { n: 1, m: 3 } });
      got.weight.forEach((row) => {
        expect(row[5]).toBe(0);
      });
    });

    test("empty layers", async () => {
      const { H } = ar1Layer(1, 3, 0.5, 1);
      const factor = await gptqFactor(matrix(H, "float64", device), {
        dampPercent: 0.01,
        actOrder: false,
        precision: "float64",
      });
      const empty = Tensor.empty([0, 3], { device });
      const got = await run(
        sparsegptPruneColumns("test", empty, factor, {
          target: { fraction: 0.5 },
          exactCount: true,
          blockSize: 128,
        }),
      );
      expect([got.zeros, got.loss]).toEqual([0, 0]);
    });
  },
  ["sparsegpt_prune_columns", "gptq_factor"],
);
