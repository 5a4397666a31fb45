import { run } from "../../lib/binding/index.js";
import { selectSmallest } from "../../lib/ops/select-smallest.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { normal } from "../helpers/gptq-oracle.js";

/** The key of a float, by arithmetic: how many float32 numbers are below it, -0 and 0 one number. */
function key(x: number, absolute: boolean): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, Math.abs(x));
  const magnitude = view.getUint32(0);
  if (absolute) return magnitude;
  return x < 0 ? 2 ** 31 - 1 - magnitude : 2 ** 31 + magnitude;
}

eachDevice("score_histogram", (device) => {
  test.each([
    { sizes: [1], levels: 0 },
    { sizes: [0, 7], levels: 0 },
    { sizes: [300_001, 5, 4096], levels: 0 },
    { sizes: [1000, 999], levels: 3 },
  ])("the k-th smallest of $sizes numbers", async ({ sizes, levels }) => {
    const draw = normal(sizes.length + levels);
    const values = sizes.map((size) =>
      Float32Array.from({ length: size }, () => {
        const x = draw() * 10 ** Math.round(4 * draw());
        return levels > 0 ? Math.round(x * levels) / levels : x;
      }),
    );
    const tensors = values.map((one) => Tensor.from(one, [one.length], { device }));
    for (const absolute of [false, true]) {
      const keys = values
        .flatMap((one) => Array.from(one, (x) => key(x, absolute)))
        .sort((a, b) => a - b);
      for (const k of [1, 2, Math.ceil(keys.length / 2), keys.length - 1, keys.length]) {
        if (k < 1 || k > keys.length) continue;
        const found = await run(selectSmallest("test", tensors, k, { absolute }));
        const wanted = keys[k - 1]!;
        const below = keys.filter((one) => one < wanted).length;
        const equal = keys.filter((one) => one === wanted).length;
        expect(found).toEqual({ key: wanted, ties: k - below === equal ? -1 : k - below });
      }
    }
    expect(await run(selectSmallest("test", tensors, 0, { absolute: true }))).toEqual({
      key: 0,
      ties: 0,
    });
  });

  test("infinities have an order, NaN is refused and named", async () => {
    using ends = Tensor.from(new Float32Array([Infinity, -1, -Infinity, -0, 0]), [5], { device });
    expect(await run(selectSmallest("test", [ends], 1, { absolute: false }))).toEqual({
      key: key(-Infinity, false),
      ties: -1,
    });
    expect(await run(selectSmallest("test", [ends], 3, { absolute: false }))).toEqual({
      key: key(0, false),
      ties: 1,
    });
    const bad = new Float32Array(300_000);
    bad[290_000] = NaN;
    using tensor = Tensor.from(bad, [bad.length], { device });
    await expect(
      run(selectSmallest("test", [tensor], 1, { absolute: true })),
    ).rejects.toMatchObject({ code: "NON_FINITE", details: { index: 290_000 } });
  });
});
