import { run } from "../../lib/binding/index.js";
import { obsRefitRows } from "../../lib/ops/obs-rows.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { ar1Layer, matrix, random } from "../helpers/gptq-oracle.js";
import { answer, damped } from "../helpers/obs-oracle.js";
import { nested } from "../helpers/prune-oracle.js";
import { readVectors } from "../helpers/vectors.js";

const vectors = readVectors<{
  H: number[][];
  w: number[];
  single_weight_obs: { index: number; error: number; w_after: number[] }[];
}>("obs_obq.json");

eachDevice("obs_refit_rows", (device) => {
  async function refit(W: number[][], H: number[][], mask: number[][], damping: number) {
    const layer = {
      gram: matrix(H, "float64", device),
      weight: matrix(W, "float32", device),
      damping,
    };
    const kept = Tensor.from(Uint8Array.from(mask.flat()), [W.length, H.length], {
      dtype: "bool",
      device,
    });
    const got = await run(obsRefitRows("test", layer, kept));
    return { ...got, weight: nested(await got.weight.data(), H.length) };
  }

  test.each(vectors.single_weight_obs.map((one) => [one.index, one] as const))(
    "the weights of the file without weight %i",
    async (index, one) => {
      const mask = vectors.w.map((_, j) => Number(j !== index));
      const { weight, loss, zeros } = await refit([vectors.w], vectors.H, [mask], 0);
      one.w_after.forEach((value, j) => {
        expect(Math.abs(weight[0]![j]! - value)).toBeLessThan(1e-6);
      });
      expect(Math.abs(loss - one.error)).toBeLessThan(1e-6 * one.error + 1e-8);
      expect(zeros).toBe(1);
    },
  );

  test.each([
    [1, 1],
    [7, 33],
    [3, 70],
  ])("%i x %i: least squares by elimination", async (out, columns) => {
    const { W, H } = ar1Layer(out, columns, 0.8, columns);
    const draw = random(columns);
    const mask = W.map((row) => row.map(() => Number(draw() < 0.5)));
    const Hd = damped(H, 0.01);
    const damping = Hd[0]![0]! - H[0]![0]!;
    const { weight, loss } = await refit(W, H, mask, damping);
    let cost = 0;
    W.forEach((row, r) => {
      const gone = new Map(mask[r]!.flatMap((keep, j) => (keep ? [] : [[j, 0] as const])));
      const wanted = answer(Hd, row, gone);
      cost += wanted.cost;
      wanted.weight.forEach((value, j) => {
        expect(Math.abs(weight[r]![j]! - value)).toBeLessThan(1e-6 * Math.max(1, Math.abs(value)));
      });
    });
    expect(Math.abs(loss - cost)).toBeLessThanOrEqual(1e-9 * cost);
  });

  test("all kept, none kept, an empty layer, an indefinite matrix", async () => {
    const { W, H } = ar1Layer(2, 5, 0.5, 1);
    const ones = W.map((row) => row.map(() => 1));
    const all = await refit(W, H, ones, 0);
    expect([all.weight, all.loss]).toEqual([W, 0]);
    const none = await refit(
      W,
      H,
      ones.map((row) => row.map(() => 0)),
      0,
    );
    expect(none.weight.flat()).toEqual(new Array(10).fill(0));
    const empty = { gram: matrix(H, "float64", device), weight: Tensor.empty([0, 5], { device }) };
    const noRows = Tensor.empty([0, 5], { dtype: "bool", device });
    const nothing = await run(obsRefitRows("test", { ...empty, damping: 0 }, noRows));
    expect([nothing.loss, nothing.zeros]).toEqual([0, 0]);
    const bad = [
      [1, 5],
      [5, 1],
    ];
    await expect(refit([[1, 2]], bad, [[1, 1]], 0)).rejects.toMatchObject({
      code: "NOT_POSITIVE_DEFINITE",
    });
  });
});
