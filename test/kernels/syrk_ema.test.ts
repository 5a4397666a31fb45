import { setThreads } from "../../lib/binding/index.js";
import { syrkEma } from "../../lib/linalg/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { normal } from "../helpers/gptq-oracle.js";
import {
  distance,
  eps,
  largest,
  multiply,
  spectrum,
  tensorOf,
  transpose,
  valuesOf,
  withSpectrum,
} from "../helpers/spectral.js";

eachDevice("syrk_ema", (device) => {
  test.each([
    { m: 1, k: 1 },
    { m: 3, k: 5 },
    { m: 70, k: 129 },
    { m: 257, k: 64 },
    { m: 16390, k: 3 },
    { m: 0, k: 4 },
  ])("x [$m, $k], both ways", async ({ m, k }) => {
    for (const dtype of ["float32", "float64"] as const)
      for (const transposed of [false, true]) {
        if (transposed && m > 1000) continue;
        const d = transposed ? m : k;
        using x = tensorOf(Array.from({ length: m * k }, normal(m + k)), [m, k], dtype, device);
        const before = withSpectrum(spectrum(d, 10), 1);
        using state = tensorOf(before, [d, d], dtype, device);
        const [X, S] = [await valuesOf(x), await valuesOf(state)];
        syrkEma(state, x, { beta: 0.75, weight: -0.5, transposed });
        const gram = transposed
          ? multiply(X, transpose(X, m, k), m, k, m)
          : multiply(transpose(X, m, k), X, k, m, k);
        const terms = transposed ? k : m;
        const got = await valuesOf(state);
        expect(
          distance(
            got,
            S.map((s, i) => 0.75 * s - 0.5 * gram[i]!),
          ),
        ).toBeLessThanOrEqual((terms + 2) * eps[dtype] * (largest(gram) + 1));
        for (let i = 0; i < d; ++i)
          for (let j = 0; j < i; ++j) expect(got[i * d + j]).toBe(got[j * d + i]);
      }
  });

  test("a batch, a view, beta 0 on NaN, threads", async () => {
    const values = Array.from({ length: 2 * 40 * 300 }, normal(9));
    using x = tensorOf(values, [2, 40, 300], "float32", device);
    const results = [];
    for (const threads of [1, 2, 3]) {
      setThreads(threads);
      using state = tensorOf(
        new Float64Array(2 * 300 * 300).fill(NaN),
        [2, 300, 300],
        "float32",
        device,
      );
      syrkEma(state, x, { beta: 0, weight: 1 });
      results.push(await state.data());
    }
    setThreads(2);
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
    using one = Tensor.zeros([300, 300], { device });
    syrkEma(one, x.slice(0, 1, 2).reshape([40, 300]), { beta: 1, weight: 1 });
    expect(await one.data()).toEqual(results[0]!.slice(300 * 300));
    using small = Tensor.zeros([40, 40], { device });
    using plain = Tensor.zeros([40, 40], { device });
    const first = x.slice(0, 0, 1).reshape([40, 300]);
    syrkEma(small, first.transpose(), { beta: 0, weight: 1 });
    syrkEma(plain, first, { beta: 0, weight: 1, transposed: true });
    expect(distance(await valuesOf(small), await valuesOf(plain))).toBeLessThanOrEqual(
      300 * eps.float32 * 400,
    );
  });

  test("what it refuses", () => {
    const x = Tensor.zeros([3, 2], { device });
    const refuses = (run: () => void, code: string) => {
      expect(run).toThrow(expect.objectContaining({ code }) as Error);
    };
    const options = { beta: 1, weight: 1 };
    refuses(() => {
      syrkEma(Tensor.zeros([3, 3], { device }), x, options);
    }, "SHAPE");
    refuses(() => {
      syrkEma(
        Tensor.zeros([2, 2], { device, dtype: "float64" }) as unknown as Tensor<"float32">,
        x,
        options,
      );
    }, "DTYPE");
    refuses(() => {
      syrkEma(Tensor.zeros([2, 4], { device }).slice(1, 0, 2), x, options);
    }, "ARGUMENT");
    refuses(() => {
      syrkEma(Tensor.zeros([2, 2], { device }), x, { beta: NaN, weight: 1 });
    }, "ARGUMENT");
    x.dispose();
    refuses(() => {
      syrkEma(Tensor.zeros([2, 2], { device }), x, options);
    }, "DISPOSED");
  });
});
