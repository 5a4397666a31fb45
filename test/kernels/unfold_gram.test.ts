import { convInputGram } from "../../lib/curvature/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { gramOracle, normal, patchesOracle, worstRelative } from "../helpers/gram-oracle.js";

const base = { stride: [1, 1], padding: [0, 0, 0, 0], dilation: [1, 1], groups: 1 } as const;

eachDevice("unfold_gram", (device) => {
  test.each([
    { name: "1x1", shape: [2, 3, 5, 4], g: { ...base, kernel: [1, 1] } },
    {
      name: "3x3, padded",
      shape: [1, 2, 7, 5],
      g: { ...base, kernel: [3, 3], padding: [1, 1, 1, 1] },
    },
    {
      name: "uneven everything",
      shape: [2, 4, 9, 11],
      g: { kernel: [3, 2], stride: [2, 3], padding: [0, 2, 1, 0], dilation: [2, 1], groups: 2 },
    },
    {
      name: "depthwise 5x5",
      shape: [1, 6, 12, 40],
      g: { ...base, kernel: [5, 5], padding: [2, 2, 2, 2], groups: 6 },
    },
    { name: "1-D", shape: [3, 2, 1, 30], g: { ...base, kernel: [1, 3], stride: [1, 2] } },
    { name: "more than one chunk", shape: [3, 2, 40, 41], g: { ...base, kernel: [2, 2] } },
  ] as const)(
    "$name equals the Gram of naive patches, however cut into batches",
    async ({ shape, g }) => {
      const draw = normal(shape[2]);
      const [batch, channels, height, width] = shape;
      const X = Float32Array.from({ length: batch * channels * height * width }, draw);
      const whole = convInputGram({ channels, ...g }, { device });
      await whole.add(Tensor.from(X, shape, { device }));
      const single = convInputGram({ channels, ...g }, { device });
      const image = channels * height * width;
      for (let b = 0; b < batch; ++b) {
        single.addSync(
          Tensor.from(X.subarray(b * image, (b + 1) * image), [1, channels, height, width], {
            device,
          }),
        );
      }
      for (let group = 0; group < g.groups; ++group) {
        const columns = (channels / g.groups) * g.kernel[0] * g.kernel[1];
        const H = (await (await whole.grams[group]!.matrix()).data()) as Float64Array;
        const patches = patchesOracle(X, shape, g, group);
        expect(whole.count).toBe(patches.length / columns);
        expect(worstRelative(H, gramOracle(patches, columns))).toBeLessThan(3e-6);
        expect(await (await single.grams[group]!.matrix()).data()).toEqual(H);
      }
    },
  );

  test("bad input", async () => {
    const gram = convInputGram({ channels: 2, kernel: [3, 3] }, { device });
    await expect(gram.add(Tensor.zeros([1, 3, 5, 5], { device }))).rejects.toMatchObject({
      code: "SHAPE",
    });
    await expect(
      gram.add(Tensor.from(new Float32Array(18).fill(NaN), [1, 2, 3, 3], { device })),
    ).rejects.toMatchObject({ code: "NON_FINITE" });
    expect(gram.count).toBe(0);
    expect(() => convInputGram({ channels: 3, kernel: [1, 1], groups: 2 }, { device })).toThrow(
      expect.objectContaining({ code: "ARGUMENT" }),
    );
  });
});
