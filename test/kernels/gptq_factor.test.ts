import { gptqFactor, type GptqFactor } from "../../lib/ops/gptq-factor.js";
import { Tensor } from "../../lib/tensor/index.js";
import { setThreads } from "../../lib/binding/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { ar1Layer, matrix, normal } from "../helpers/gptq-oracle.js";
import { readVectors } from "../helpers/vectors.js";

type Matrix = number[][];
const vectors = readVectors<{ H: Matrix; U: Matrix; H_damped: Matrix; percdamp: number }>(
  "gptq.json",
);

/** R from N and the diagonal: R_ij = N_ij R_jj. */
async function upper(factor: GptqFactor): Promise<Matrix> {
  const n = factor.order.length;
  const N = (await factor.factor.data()) as Float32Array;
  return Array.from({ length: n }, (_, i) =>
    Array.from({ length: n }, (_, j) =>
      i > j ? 0 : i === j ? factor.diagonal[j]! : N[i * n + j]! * factor.diagonal[j]!,
    ),
  );
}

/** Largest |R R^T - H_d| over the largest diagonal, both in processing order. */
function residual(R: Matrix, H: Matrix, order: Int32Array, damping: number): number {
  const n = R.length;
  let worst = 0;
  for (let i = 0; i < n; ++i) {
    for (let j = i; j < n; ++j) {
      let sum = 0;
      for (let k = j; k < n; ++k) sum += R[i]![k]! * R[j]![k]!;
      worst = Math.max(worst, Math.abs(sum - H[order[i]!]![order[j]!]! - (i === j ? damping : 0)));
    }
  }
  return worst / Math.max(...H.map((row, i) => row[i]!));
}

eachDevice("gptq_factor", (device) => {
  test("the vectors: R is the inverse of U, exact example of integers", async () => {
    const factor = await gptqFactor(matrix(vectors.H, "float64", device), {
      dampPercent: vectors.percdamp,
      actOrder: false,
      precision: "float64",
    });
    const R = await upper(factor);
    for (let i = 0; i < 8; ++i) {
      for (let j = 0; j < 8; ++j) {
        const product = R[i]!.reduce((sum, r, k) => sum + r * vectors.U[k]![j]!, 0);
        expect(Math.abs(product - (i === j ? 1 : 0))).toBeLessThan(1e-6); // N is float32
      }
      expect(Math.abs(factor.diagonal[i]! * vectors.U[i]![i]! - 1)).toBeLessThan(1e-13);
    }
    const H = [
      [6, 0, 1, 4],
      [0, 6, 3, -4],
      [1, 3, 5, 4],
      [4, -4, 4, 16],
    ];
    const exact = await gptqFactor(matrix(H, "float64", device), {
      dampPercent: 0,
      actOrder: false,
      precision: "float64",
    });
    expect(await upper(exact)).toEqual([
      [2, 1, 0, 1],
      [0, 1, 2, -1],
      [0, 0, 2, 1],
      [0, 0, 0, 4],
    ]);
  });

  test.each([
    { n: 1, precision: "float64" },
    { n: 63, precision: "float32" },
    { n: 64, precision: "float64" },
    { n: 131, precision: "float64", actOrder: true },
    { n: 300, precision: "float32", actOrder: true },
  ] as const)("R R^T = H_d: n $n in $precision", async ({ n, precision, ...rest }) => {
    const { H } = ar1Layer(1, n, 0.9, n);
    const actOrder = "actOrder" in rest;
    for (const dtype of ["float32", "float64"] as const) {
      const factor = await gptqFactor(matrix(H, dtype, device), {
        dampPercent: 0.01,
        actOrder,
        precision,
      });
      // N is stored in float32 whatever the precision: n eps(float32), c = 1.
      expect(residual(await upper(factor), H, factor.order, factor.damping)).toBeLessThan(
        n * 1.2e-7 + 2e-7,
      );
      const diag = Array.from(factor.order, (column) => Math.fround(H[column]![column]!));
      if (actOrder) expect(diag).toEqual([...diag].sort((a, b) => b - a));
    }
  });

  test("no entry is subnormal: they would make the column recursion many times slower", async () => {
    const n = 1200; // the factor of this matrix falls off as 0.8^k
    const H = Array.from({ length: n }, (_, i) =>
      Array.from({ length: n }, (_, j) => 0.8 ** Math.abs(i - j)),
    );
    const factor = await gptqFactor(matrix(H, "float64", device), {
      dampPercent: 0,
      actOrder: false,
      precision: "float64",
    });
    const N = (await factor.factor.data()) as Float32Array;
    let tiny = 0;
    for (let i = 0; i < n; ++i) {
      for (let j = i + 1; j < n; ++j) {
        const size = Math.abs(N[i * n + j]!);
        if (size > 0 && size < 1e-20) ++tiny;
      }
    }
    expect(tiny).toBe(0);
    expect(N[1]).toBeCloseTo(0.8, 5);
  });

  test("threads change no bit", async () => {
    const { H } = ar1Layer(1, 400, 0.8, 3);
    const results = [];
    for (const threads of [1, 2, 3]) {
      setThreads(threads);
      const factor = await gptqFactor(matrix(H, "float64", device), {
        dampPercent: 0.01,
        actOrder: true,
        precision: "float64",
      });
      results.push([await upper(factor), factor.diagonal]);
    }
    setThreads(2);
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
  });

  test("equal diagonals keep their order, dead columns count as 1 and come as units", async () => {
    const H = [
      [2, 0.5, 0, 0],
      [0.5, 2, 0, 0],
      [0, 0, 0, 0],
      [0, 0, 0, 3],
    ];
    const factor = await gptqFactor(matrix(H, "float64", device), {
      dampPercent: 0.5,
      actOrder: true,
      precision: "float64",
    });
    expect(Array.from(factor.order)).toEqual([3, 0, 1, 2]);
    expect(Array.from(factor.dead)).toEqual([0, 0, 1, 0]);
    expect(factor.deadColumns).toBe(1);
    expect(factor.damping).toBeCloseTo((0.5 * (2 + 2 + 1 + 3)) / 4, 14);
  });

  test("failures name the column, in the caller's order", async () => {
    const indefinite = [
      [1, 1.02, 0],
      [1.02, 1, 0],
      [0, 0, 1],
    ];
    const options = { dampPercent: 0, actOrder: false, precision: "float64" } as const;
    await expect(gptqFactor(matrix(indefinite, "float64", device), options)).rejects.toMatchObject({
      code: "NOT_POSITIVE_DEFINITE",
      details: { index: 0 }, // columns are eliminated from the last
    });
    await gptqFactor(matrix(indefinite, "float64", device), { ...options, dampPercent: 0.021 });
    const nan = matrix(
      [
        [1, NaN],
        [0, 1],
      ],
      "float32",
      device,
    );
    await expect(gptqFactor(nan, options)).rejects.toMatchObject({
      code: "NON_FINITE",
      details: { index: 1 },
    });
    const draw = normal(1);
    const wide = Tensor.from(Array.from({ length: 6 }, draw), [2, 3], { device });
    await expect(gptqFactor(wide, options)).rejects.toMatchObject({ code: "SHAPE" });
    await expect(gptqFactor(matrix(indefinite, "int32", device), options)).rejects.toMatchObject({
      code: "DTYPE",
    });
    await expect(
      gptqFactor(matrix(indefinite, "float64", device), { ...options, dampPercent: NaN }),
    ).rejects.toMatchObject({ code: "ARGUMENT" });
  });
});
