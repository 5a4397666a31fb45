import { inputGram } from "../../lib/curvature/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { gramOracle, normal, tokens, worstRelative } from "../helpers/gram-oracle.js";

eachDevice("gram_matrix", (device) => {
  test("both halves, scaled by 2/N; asking does not change what comes after", async () => {
    const X = tokens(3000, 70, normal(1));
    const asked = inputGram(70, { device });
    const plain = inputGram(70, { device });
    for (const [from, to] of [
      [0, 100],
      [100, 2500],
      [2500, 3000],
    ] as const) {
      const part = Tensor.from(X.subarray(from * 70, to * 70), [to - from, 70], { device });
      await asked.add(part);
      (await asked.matrix()).dispose();
      await plain.add(part);
    }
    const a = (await (await asked.matrix()).data()) as Float64Array;
    expect(a).toEqual(await (await plain.matrix()).data());
    for (let i = 0; i < 70; ++i)
      for (let j = 0; j < i; ++j) expect(a[i * 70 + j]).toBe(a[j * 70 + i]);
    expect(worstRelative(a, gramOracle(X, 70))).toBeLessThan(1e-6);
  });

  test("nothing added: zeros", async () => {
    const matrix = await inputGram(3, { device }).matrix();
    expect(Array.from((await matrix.data()) as Float64Array)).toEqual(new Array(9).fill(0));
  });
});
