import {
  blockFisher,
  fisherInverse,
  fisherInverseSync,
  fisherWindow,
} from "../../lib/curvature/index.js";
import { memoryStats } from "../../lib/binding/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { matrix, normal, solve } from "../helpers/gptq-oracle.js";
import { readVectors } from "../helpers/vectors.js";

interface Vectors {
  grads: number[][];
  x: number[];
  cases: {
    damp: number;
    ihvp: number[];
    diag_inv: number[];
    elements: [number, number, number][];
  }[];
}
const vectors = readVectors<Vectors>("mfac.json");

function close(tensor: Tensor, wanted: readonly number[], relative: number): void {
  const values = Array.from(tensor.dataSync(), Number);
  expect(values.length).toBe(wanted.length);
  const largest = Math.max(...wanted.map(Math.abs));
  wanted.forEach((value, i) => {
    expect(Math.abs(values[i]! - value)).toBeLessThanOrEqual(relative * largest);
  });
}

/** F = damp I + 1/m sum g g^T of one block, dense, and its columns of the inverse by elimination. */
function denseInverse(grads: number[][], damp: number, blockSize: number): number[][] {
  const d = grads[0]!.length;
  const F = Array.from({ length: d }, (_, i) =>
    Array.from({ length: d }, (__, j) => {
      const apart = Math.floor(i / blockSize) !== Math.floor(j / blockSize);
      const sum = grads.reduce((s, g) => s + g[i]! * g[j]!, 0);
      return (i === j ? damp : 0) + (apart ? 0 : sum / grads.length);
    }),
  );
  return F.map((_, j) =>
    solve(
      F,
      F.map((__, i) => Number(i === j)),
    ),
  );
}
const times = (A: number[][], x: number[]) =>
  A.map((row) => row.reduce((sum, value, j) => sum + value * x[j]!, 0));

function draws(seed: number, m: number, d: number): number[][] {
  const draw = normal(seed);
  return Array.from({ length: m }, () => Array.from({ length: d }, () => Math.fround(draw())));
}

eachDevice(
  "fisherInverse",
  (device) => {
    const grads64 = (grads: number[][]) => matrix(grads, "float64", device);
    const vector = (x: number[]) => Tensor.from(Float64Array.from(x), [x.length], { device });

    test.each(vectors.cases.map((one) => [one.damp, one] as const))(
      "the file, damp %p: product, diagonal, elements",
      async (damp, one) => {
        using inverse = await fisherInverse(grads64(vectors.grads), { damp });
        close(inverse.product(vector(vectors.x)), one.ihvp, 1e-9);
        close(inverse.diagonal(), one.diag_inv, 1e-9);
        const largest = Math.max(...one.diag_inv);
        for (const [a, b, value] of one.elements)
          expect(Math.abs((await inverse.element(a, b)) - value)).toBeLessThan(1e-9 * largest);
        expect([inverse.size, inverse.gradients]).toEqual([12, 4]);
      },
    );

    test("one and two gradients, worked by hand", async () => {
      using one = await fisherInverse(grads64([[1, 2, 0]]), { damp: 0.1 });
      close(one.product(vector([1, 1, 1])), [4.11764706, -1.76470588, 10], 1e-8);
      using two = fisherInverseSync(
        grads64([
          [1, 2, 0],
          [0, 1, 1],
        ]),
        { damp: 0.1 },
      );
      close(two.product(vector([1, 1, 1])), [6.50537634, -2.90322581, 4.08602151], 1e-8);
      close(two.diagonal(), [7.04301075, 1.93548387, 3.01075269], 1e-8);
    });

    test.each([
      { m: 5, d: 37, blockSize: -1 },
      { m: 5, d: 37, blockSize: 8 },
      { m: 40, d: 12, blockSize: 5 },
      { m: 3, d: 7, blockSize: 1 },
      { m: 2, d: 4, blockSize: 100 },
      { m: 1, d: 1, blockSize: -1 },
      { m: 64, d: 90, blockSize: -1 },
    ])("$m gradients of $d weights in blocks of $blockSize: the dense inverse", async (one) => {
      const { m, d, blockSize } = one;
      const grads = draws(m * d, m, d);
      grads[m - 1] = [...grads[0]!]; // duplicates do no harm
      const x = draws(7, 1, d)[0]!;
      const dense = denseInverse(grads, 0.01, blockSize === -1 ? d : blockSize);
      const diagonal = dense.map((row, i) => row[i]!);
      using inverse = await fisherInverse(grads64(grads), { damp: 0.01, blockSize });
      close(inverse.product(vector(x)), times(dense, x), 1e-11);
      close(inverse.diagonal(), diagonal, 1e-11);
      for (const [a, b] of [
        [0, 0],
        [0, d - 1],
        [d - 1, Math.floor(d / 2)],
      ] as const) {
        const got = await inverse.element(a, b);
        expect(Math.abs(got - dense[a]![b]!)).toBeLessThan(1e-11 * Math.max(...diagonal));
        expect(await inverse.element(b, a)).toBe(got);
      }
      // Float32 gradients: the same matrix, results rounded once.
      using narrow = await fisherInverse(matrix(grads, "float32", device), {
        damp: 0.01,
        blockSize,
      });
      using x32 = Tensor.from(x, [d], { device });
      close(narrow.product(x32), times(dense, x), 2 ** -23);
    });

    test("zero gradients leave 1/damp; the order of gradients does not matter", async () => {
      using none = await fisherInverse(Tensor.zeros([3, 4], { device }), { damp: 0.5 });
      expect(Array.from(await none.diagonal().data())).toEqual([2, 2, 2, 2]);
      using a = await fisherInverse(grads64(vectors.grads), { damp: 0.1 });
      using b = await fisherInverse(grads64([...vectors.grads].reverse()), { damp: 0.1 });
      close(a.diagonal(), Array.from(await b.diagonal().data()), 1e-13);
    });

    test("a window: m + 2 gradients later it is the inverse of the last m", async () => {
      const grads = draws(5, 8, 9);
      using window = fisherWindow(9, { gradients: 6, damp: 0.05, dtype: "float64", device });
      const x = draws(6, 1, 9)[0]!;
      close(
        await window.product(vector(x)),
        x.map((value) => value / 0.05),
        1e-14,
      );
      for (const [i, g] of grads.entries()) {
        await window.insert(vector(g));
        const held = [...grads.slice(Math.max(0, i - 5), i + 1)];
        while (held.length < 6) held.push(new Array<number>(9).fill(0));
        using y = await window.product(vector(x));
        close(y, times(denseInverse(held, 0.05, 9), x), 1e-11);
      }
      const bad = vector([NaN, ...x.slice(1)]);
      await expect(window.insert(bad)).rejects.toMatchObject({ code: "NON_FINITE" });
      close(
        await window.product(vector(x)),
        times(denseInverse(grads.slice(2), 0.05, 9), x),
        1e-11,
      );
    });

    test("a window of few gradients: the first steps, and large damping", async () => {
      // u = g / (damp + |g|^2 / m) for the first gradient.
      using window = fisherWindow(2, { device });
      using g = Tensor.from([1, 2], [2], { device });
      await window.insert(g);
      using u = await window.product(g);
      close(u, [1 / (1e-5 + 5 / 1024), 2 / (1e-5 + 5 / 1024)], 2 ** -23);
      using tame = fisherWindow(2, { gradients: 1, damp: 1e12, device });
      await tame.insert(g);
      using v = await tame.product(g);
      close(v, [1e-12, 2e-12], 1e-6);
    });
  },
  [
    "cholesky",
    "solve_triangular",
    "matmul",
    "vector_reduce",
    "combine_rows",
    "copy",
    "unary",
    "reduce",
  ],
);

test.each([4096, 4097, 70001])("%p weights: F undoes the product", async (d) => {
  const grads = draws(d, 3, d);
  const x = draws(1, 1, d)[0]!;
  using inverse = await fisherInverse(matrix(grads, "float64", "cpu"), { damp: 0.1 });
  using product = inverse.product(Tensor.from(Float64Array.from(x)));
  const y = Array.from(product.dataSync(), Number);
  const inner = grads.map((g) => g.reduce((sum, value, j) => sum + value * y[j]!, 0) / 3);
  using back = Tensor.from(
    Float64Array.from(
      y,
      (value, j) => 0.1 * value + grads.reduce((s, g, i) => s + g[j]! * inner[i]!, 0),
    ),
  );
  close(back, x, 1e-9);
  const diagonal = await inverse.diagonal().data();
  for (const j of [0, 4095, d - 1])
    expect(Math.abs((await inverse.element(j, j)) - diagonal[j]!)).toBeLessThan(1e-10);
});

test("nothing is leaked, and the caller's tensor stays", async () => {
  const g = matrix(vectors.grads, "float32", "cpu");
  const before = memoryStats().liveBlocks;
  for (const blockSize of [-1, 4]) {
    using inverse = await fisherInverse(g, { blockSize });
    inverse.diagonal().dispose();
    using x = Tensor.zeros([12]);
    inverse.product(x).dispose();
    await inverse.element(0, 1);
  }
  {
    using window = fisherWindow(12, { gradients: 3 });
    using row = g.slice(0, 1, 2).reshape([12]);
    await window.insert(row);
    (await window.product(row)).dispose();
  }
  expect(memoryStats().liveBlocks).toBeLessThanOrEqual(before);
  expect(g.dataSync()[1]).toBe(-0.5);
});

test("bad input", async () => {
  const g = Tensor.from([1, 2, NaN, 4], [2, 2]);
  await expect(fisherInverse(g)).rejects.toMatchObject({
    code: "NON_FINITE",
    message: expect.stringContaining("[1, 0]") as string,
  });
  const good = Tensor.from([1, 2], [1, 2]);
  const code = async (run: Promise<unknown>, wanted: string) =>
    expect(run).rejects.toMatchObject({ code: wanted });
  await code(fisherInverse(good, { damp: 0 }), "ARGUMENT");
  await code(fisherInverse(good, { damp: NaN }), "ARGUMENT");
  await code(fisherInverse(good, { blockSize: 0 }), "ARGUMENT");
  await code(fisherInverse(Tensor.zeros([0, 2])), "ARGUMENT");
  await code(fisherInverse(Tensor.zeros([2])), "SHAPE");
  await code(fisherInverse(good.toDType("int32")), "DTYPE");
  const signal = AbortSignal.abort(new Error("enough"));
  await expect(fisherInverse(good, { signal })).rejects.toThrow("enough");
  const inverse = await fisherInverse(good);
  expect(() => inverse.product(Tensor.zeros([3]))).toThrow("shape [2]");
  expect(() => inverse.product(Tensor.zeros([2], { dtype: "float64" }))).toThrow("float32");
  await code(inverse.element(0, 2), "ARGUMENT");
  inverse.dispose();
  expect(() => inverse.diagonal()).toThrow("disposed");
  const fisher = blockFisher(2);
  await code(fisher.add(g), "NON_FINITE");
  expect(fisher.count).toBe(0);
  await code(fisher.add(Tensor.zeros([1, 3])), "SHAPE");
  fisher.dispose();
  await code(fisher.add(good), "DISPOSED");
  expect(() => fisherWindow(3, { gradients: 0 })).toThrow("gradients");
  const window = fisherWindow(2, { gradients: 2 });
  await code(window.insert(Tensor.zeros([3])), "SHAPE");
  window.dispose();
  await code(window.product(Tensor.zeros([2])), "DISPOSED");
});
