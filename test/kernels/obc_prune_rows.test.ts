import { run } from "../../lib/binding/index.js";
import { obcPruneRows } from "../../lib/ops/obs-rows.js";
import { eachDevice } from "../helpers/each-device.js";
import { ar1Layer, matrix } from "../helpers/gptq-oracle.js";
import { damped, greedy } from "../helpers/obs-oracle.js";
import { nested } from "../helpers/prune-oracle.js";
import { readVectors } from "../helpers/vectors.js";

const vectors = readVectors<{
  H: number[][];
  w: number[];
  obc_prune_greedy: { pruned: number; step_error: number; w: number[]; total_error: number }[];
}>("obs_obq.json");

type Target = { zeros: number } | { n: number; m: number };

eachDevice("obc_prune_rows", (device) => {
  async function prune(W: number[][], H: number[][], target: Target, damping: number) {
    const layer = {
      gram: matrix(H, "float64", device),
      weight: matrix(W, "float32", device),
      damping,
    };
    const got = await run(obcPruneRows("test", layer, target));
    const columns = H.length;
    return {
      loss: got.loss,
      weight: nested(await got.weight.data(), columns),
      mask: nested(await got.mask.data(), columns),
    };
  }

  test("the greedy steps of the file", async () => {
    for (const [i, one] of vectors.obc_prune_greedy.entries()) {
      const { weight, mask, loss } = await prune([vectors.w], vectors.H, { zeros: i + 1 }, 0);
      one.w.forEach((value, j) => {
        expect(Math.abs(weight[0]![j]! - value)).toBeLessThan(2e-6);
        expect(mask[0]![j]).toBe(Number(value !== 0));
      });
      expect(Math.abs(loss - one.total_error)).toBeLessThan(1e-6 * one.total_error + 1e-8);
    }
  });

  test.each<[number, number, Target]>([
    [1, 1, { zeros: 1 }],
    [4, 9, { zeros: 17 }],
    [3, 12, { n: 2, m: 4 }],
    [2, 11, { n: 2, m: 3 }],
    [2, 8, { zeros: 0 }],
  ])("%i x %i, %j: every candidate of every step tried out", async (out, columns, target) => {
    const { W, H } = ar1Layer(out, columns, 0.7, out + columns);
    const Hd = damped(H, 0.02);
    const got = await prune(W, H, target, Hd[0]![0]! - H[0]![0]!);
    const traces = W.map((row) =>
      greedy(Hd, row, columns, (_, j, fixed) => {
        if ("zeros" in target) return 0;
        const start = Math.floor(j / target.m) * target.m;
        const size = Math.min(target.m, columns - start);
        const gone = [...fixed.keys()].filter((k) => k >= start && k < start + size).length;
        return gone < Math.floor((target.n * size) / target.m) ? 0 : undefined;
      }),
    );
    const counts = traces.map((trace) => ("zeros" in target ? 0 : trace.length));
    const zeros = "zeros" in target ? target.zeros : 0;
    for (let left = zeros; left > 0; --left) {
      const next = traces.map((trace, r) => trace[counts[r]!]?.cost ?? Infinity);
      ++counts[next.indexOf(Math.min(...next))]!;
    }
    let loss = 0;
    traces.forEach((trace, r) => {
      const steps = trace.slice(0, counts[r]);
      const gone = new Set(steps.map((step) => step.index));
      expect(got.mask[r]).toEqual(W[r]!.map((_, j) => Number(!gone.has(j))));
      (steps.at(-1)?.weight ?? W[r]!).forEach((value, j) => {
        expect(Math.abs(got.weight[r]![j]! - value)).toBeLessThan(
          1e-5 * Math.max(1, Math.abs(value)),
        );
      });
      loss += steps.reduce((sum, step) => sum + step.cost, 0);
    });
    expect(Math.abs(got.loss - loss)).toBeLessThanOrEqual(1e-8 * loss);
  });

  test("a matrix that is not positive definite names the column", async () => {
    const bad = [
      [1, 0, 0],
      [0, 1, 5],
      [0, 5, 1],
    ];
    await expect(prune([[1, 2, 3]], bad, { zeros: 1 }, 0)).rejects.toMatchObject({
      code: "NOT_POSITIVE_DEFINITE",
      details: { index: 2 },
    });
  });
});
