import * as ad from "../../lib/autodiff/index.js";
import { memoryStats } from "../../lib/binding/index.js";
import { scope, Tensor } from "../../lib/tensor/index.js";
import { largestError, randomPlain, toPlain, toTensor, valuesOf, zip } from "../helpers/plain.js";
import { settledMemory } from "../helpers/live-memory.js";

const values = (xs: readonly Tensor[]) => xs.map((x) => [...valuesOf(x)]);
const tensor = (xs: number[], shape = [xs.length]) => Tensor.from(new Float64Array(xs), shape);
const dot = (a: readonly Tensor[], b: readonly Tensor[]) =>
  a.reduce((s, x, i) => {
    const y = valuesOf(b[i]!);
    return s + valuesOf(x).reduce((t, v, j) => t + v * y[j]!, 0);
  }, 0);

/** f = 1/2 (w2 tanh(w1 x) - t)^2, x = 1, t = 0.5: oracle 1 of the specification of derivatives. */
function small() {
  const w = tensor([0.3, 0.7]);
  const model = () => ad.mul(w.slice(0, 1, 2), ad.tanh(w.slice(0, 0, 1)));
  const loss = (z: Tensor) => ad.sum(ad.scale(ad.square(ad.sub(z, 0.5)), 0.5));
  return { w, model, loss, f: () => loss(model()) };
}

/** A network with a curved loss, three layers, its weights in float64. */
function network(seed = 1) {
  const x = toTensor(randomPlain([6, 4], seed), "float64");
  const params = [[5, 4], [5], [3, 5], [3]].map((shape, i) =>
    toTensor(randomPlain(shape, seed + 1 + i), "float64"),
  );
  const [w1, b1, w2, b2] = params as [Tensor, Tensor, Tensor, Tensor];
  const model = () => ad.linear(ad.tanh(ad.linear(x, w1, b1)), w2, b2);
  const loss = (z: Tensor) =>
    ad.mean(
      ad.sub(ad.logSumExp(z, 1), ad.sum(ad.mul(z, ad.sin(ad.scale(x.slice(1, 0, 3), 3))), 1)),
    );
  return { params, model, loss, f: () => loss(model()) };
}

describe("the worked example", () => {
  const { w, model, loss, f } = small();
  const close = (received: Tensor, expected: number[]) => {
    expect(largestError(valuesOf(received), Float64Array.from(expected))).toBeLessThan(1e-8);
  };

  test("gradient, Hessian, product, Gauss-Newton", () => {
    close(ad.grad(f, [w])[0]!, [-0.18966838, -0.08625218]);
    const h = ad.hessian(f, [w]);
    expect(h.shape).toEqual([2, 2]);
    close(h, [0.52086865, -0.08434117, -0.08434117, 0.08486304]);
    close(ad.hvp(f, [w], [tensor([1, -1])]).products[0]!, [0.60520982, -0.1692042]);
    const columns = [
      [1, 0],
      [0, 1],
    ].map((v) => ad.ggnvp(model, loss, [w], [tensor(v)]));
    close(columns[0]!.products[0]!, [0.41036307, 0.18661366]);
    close(columns[1]!.products[0]!, [0.18661366, 0.08486304]);
    expect(valuesOf(columns[0]!.value)[0]).toBeCloseTo(valuesOf(f())[0]!, 15);
  });
});

test("the Hessian of log-sum-exp at log p is diag(p) - p p^T", () => {
  const z = tensor([0.2, 0.3, 0.5].map(Math.log));
  const h = ad.hessian(() => ad.logSumExp(z), [z]);
  const expected = [0.16, -0.06, -0.1, -0.06, 0.21, -0.15, -0.1, -0.15, 0.25];
  expect(largestError(valuesOf(h), Float64Array.from(expected))).toBeLessThan(1e-14);
});

describe.each(["float64", "float32"] as const)("symmetry and linearity in %s", (dtype) => {
  const bound = dtype === "float64" ? 1e-10 : 1e-5;
  const net = network(3);
  const params = net.params.map((p) => p.toDType(dtype));
  const x = toTensor(randomPlain([6, 4], 3), dtype);
  const [w1, b1, w2, b2] = params as [Tensor, Tensor, Tensor, Tensor];
  const model = () => ad.linear(ad.sigmoid(ad.linear(x, w1, b1)), w2, b2);
  const f = () => ad.sum(ad.logSumExp(ad.mul(model(), model()), 1));
  const vector = (seed: number) =>
    params.map((p, i) => toTensor(randomPlain(p.shape, seed + i), dtype));
  const [u, v] = [vector(50), vector(70)];

  test("<u, H v> = <v, H u>; <u, J v> = <J^T u, v>", () => {
    const hu = ad.hvp(f, params, u).products;
    const hv = ad.hvp(f, params, v).products;
    const size = Math.abs(dot(u, hv)) + Math.abs(dot(hv, hv)) ** 0.5;
    expect(Math.abs(dot(u, hv) - dot(v, hu))).toBeLessThan(bound * size);
    const { tangents } = ad.jvp(model, params, v);
    const cotangent = toTensor(randomPlain([6, 3], 90), dtype);
    const back = ad.vjp(model, params).pullback([cotangent]);
    expect(Math.abs(dot([cotangent], tangents) - dot(back, v))).toBeLessThan(bound * 10);
  });

  test("H (a u + b v) = a H u + b H v", () => {
    const mixed = u.map((x1, i) => ad.add(ad.scale(x1, 2), ad.scale(v[i]!, -0.5)));
    const sum = ad.hvp(f, params, mixed).products;
    const parts = [u, v].map((w) => ad.hvp(f, params, w).products);
    sum.forEach((s, i) => {
      const expected = ad.add(ad.scale(parts[0]![i]!, 2), ad.scale(parts[1]![i]!, -0.5));
      expect(largestError(valuesOf(s), valuesOf(expected))).toBeLessThan(bound * 10);
    });
  });

  test("Gauss-Newton: positive semi-definite, and the Hessian of a linear model", () => {
    const loss = (z: Tensor) => ad.sum(ad.logSumExp(z, 1));
    for (const seed of [1, 2, 3]) {
      const w = vector(seed * 10);
      expect(dot(w, ad.ggnvp(model, loss, params, w).products)).toBeGreaterThanOrEqual(0);
    }
    const straight = () => ad.linear(x, w1, b1);
    const g = ad.ggnvp(straight, loss, [w1, b1], v.slice(0, 2)).products;
    const h = ad.hvp(() => loss(straight()), [w1, b1], v.slice(0, 2)).products;
    g.forEach((p, i) => {
      expect(largestError(valuesOf(p), valuesOf(h[i]!))).toBeLessThan(bound);
    });
  });
});

describe("nesting", () => {
  test("reverse over reverse, forward over forward and both mixed agree to third order", () => {
    // f = x^5: f' = 5 x^4, f'' = 20 x^3, f''' = 60 x^2
    const x = tensor([1.3]);
    const one = tensor([1]);
    const f = () => ad.sum(ad.mul(ad.mul(x, x), ad.pow(x, 3)));
    const reverse = (g: () => Tensor) => () => ad.sum(ad.grad(g, [x])[0]!);
    const forward = (g: () => Tensor) => () => ad.sum(ad.jvp(g, [x], [one]).tangents[0]!);
    const ways = [reverse, forward];
    for (const a of ways) {
      expect(valuesOf(a(f)())[0]).toBeCloseTo(5 * 1.3 ** 4, 10);
      for (const b of ways) {
        expect(valuesOf(a(b(f))())[0]).toBeCloseTo(20 * 1.3 ** 3, 10);
        for (const c of ways) expect(valuesOf(a(b(c(f)))())[0]).toBeCloseTo(60 * 1.3 ** 2, 10);
      }
    }
  });

  test("no confusion of inner and outer perturbations", () => {
    // d/dx (x * d/dy (x + y) at y = 1) at x = 1 is 1; confused implementations say 2.
    const x = tensor([1]);
    const y = tensor([1]);
    for (const inner of ["forward", "reverse"] as const) {
      const slope = () => {
        const g = () => ad.sum(ad.add(x, y));
        return inner === "reverse"
          ? ad.grad(g, [y])[0]!
          : ad.jvp(g, [y], [tensor([1])]).tangents[0]!;
      };
      const f = () => ad.sum(ad.mul(x, slope()));
      expect(values(ad.grad(f, [x]))).toEqual([[1]]);
      expect(values(ad.jvp(f, [x], [tensor([1])]).tangents)).toEqual([[1]]);
    }
    // d/dx of x * d/dx x^2 = 2 x^2: 4 x
    const f = () => ad.sum(ad.mul(x, ad.grad(() => ad.sum(ad.square(x)), [x])[0]!));
    expect(values(ad.grad(f, [x]))).toEqual([[4]]);
  });

  test("vjp refuses to be inside another derivative", () => {
    const x = tensor([1]);
    expect(() => ad.grad(() => ad.vjp(() => x, [x]).outputs[0]!, [x])).toThrow(
      "vjp: expected no other derivative around it",
    );
  });
});

describe("parameters and results", () => {
  test("an unused parameter has a zero gradient, and is named", () => {
    const [a, b] = [tensor([1, 2]), tensor([3], [1, 1])];
    const { gradients, unused } = ad.valueAndGrad(() => ad.sum(ad.square(a)), [a, b]);
    expect(values(gradients)).toEqual([[2, 4], [0]]);
    expect(gradients[1]!.shape).toEqual([1, 1]);
    expect(unused).toEqual([1]);
    const product = ad.hvp(() => ad.sum(ad.square(a)), [a, b], [a, b]);
    expect(values(product.products)).toEqual([[2, 4], [0]]);
    expect(product.unused).toEqual([1]);
  });

  test("a value that is a parameter, or constant; a parameter used twice", () => {
    const a = tensor([3], []);
    const own = ad.valueAndGrad(() => a, [a]);
    expect(values(own.gradients)).toEqual([[1]]);
    own.value.dispose();
    expect(a.disposed).toBe(false);
    const constant = ad.valueAndGrad(() => tensor([5]), [a]);
    expect(values(constant.gradients)).toEqual([[0]]);
    expect(constant.unused).toEqual([0]);
    expect(values(ad.grad(() => ad.mul(a, a), [a]))).toEqual([[6]]);
    const pair = ad.jvp(() => [a, a], [a], [tensor([2], [])]);
    expect(values(pair.tangents)).toEqual([[2], [2]]);
    for (const t of [...pair.outputs, ...pair.tangents]) t.dispose();
    expect(a.disposed).toBe(false);
  });

  test("pullback works more than once; dispose frees", async () => {
    const before = (await settledMemory()).liveBlocks;
    const { params, model } = network();
    const after = memoryStats().liveBlocks;
    const pair = ad.vjp(model, params);
    const g = toTensor(randomPlain([6, 3], 9), "float64");
    const first = pair.pullback([g]);
    const second = pair.pullback([g]);
    expect(values(first)).toEqual(values(second));
    pair.dispose();
    for (const t of [...first, ...second, ...pair.outputs, g]) t.dispose();
    expect(memoryStats().liveBlocks).toBeLessThanOrEqual(after);
    expect(after).toBeGreaterThan(before);
  });

  const x = tensor([1, 2, 3]);
  test.each<[string, () => unknown, string]>([
    [
      "a vector",
      () => ad.grad(() => x, [x]),
      "grad: expected one element for the result of the function but received [3]",
    ],
    [
      "no tensor",
      () => ad.valueAndGrad(() => 3 as never, [x]),
      "valueAndGrad: expected a Tensor for the result of the function but received 3",
    ],
    ["a promise", () => ad.grad((() => Promise.resolve(x)) as never, [x]), "received Promise"],
    [
      "parameters that are no array",
      () => ad.grad(() => x, x as never),
      "grad: expected an array of tensors for params",
    ],
    [
      "an integer parameter",
      () => ad.grad(() => x, [Tensor.from(new Int32Array(2))]),
      'grad: expected float32 or float64 for the dtype of params[0] but received "int32"',
    ],
    [
      "a vector of another shape",
      () => ad.hvp(() => ad.sum(x), [x], [tensor([1])]),
      "hvp: expected shape [3] for vectors[0] but received [1]",
    ],
    [
      "a vector of another dtype",
      () => ad.jvp(() => x, [x], [Tensor.from([1, 2, 3])]),
      "jvp: expected float64 for the dtype of tangents[0]",
    ],
    [
      "too few vectors",
      () => ad.hvp(() => ad.sum(x), [x], []),
      "hvp: expected 1 tensors for vectors but received []",
    ],
    [
      "a large Hessian",
      () => ad.hessian(() => ad.sum(x), [Tensor.zeros([5000])]),
      "hessian: expected 1 to 4096 elements",
    ],
    [
      "float32 in gradcheck",
      () => ad.gradcheck(() => x, [Tensor.zeros([2])]),
      "gradcheck: expected float64",
    ],
  ])("refuses %s", (_, run, message) => {
    expect(run).toThrow(message);
  });

  test("a disposed tensor, and one that is disposed too early", () => {
    const gone = tensor([1]);
    gone.dispose();
    expect(() => ad.grad(() => gone, [gone])).toThrow("grad: the tensor [1] float64 was disposed");
    const early = () => {
      const y = ad.exp(x);
      const z = ad.sum(ad.square(y));
      y.dispose();
      return z;
    };
    expect(() => ad.grad(early, [x])).toThrow(/derivative of `square`; do not dispose it/);
    // Not needed, so no error: a sum does not look at its input again.
    const harmless = () => {
      const y = ad.scale(x, 2);
      const z = ad.sum(y);
      y.dispose();
      return z;
    };
    expect(values(ad.grad(harmless, [x]))).toEqual([[2, 2, 2]]);
  });

  test("what the function throws comes out, and nothing is left behind", async () => {
    const before = (await settledMemory()).liveBlocks;
    for (const run of [
      () => ad.grad(fails, [x]),
      () => ad.hvp(fails, [x], [x]),
      () => ad.jvp(fails, [x], [x]),
      () => ad.vjp(fails, [x]),
      () => ad.ggnvp(fails, (z) => z, [x], [x]),
    ])
      expect(run).toThrow("the user's own");
    expect(memoryStats().liveBlocks).toBeLessThanOrEqual(before);
    expect(values(ad.grad(() => ad.sum(x), [x]))).toEqual([[1, 1, 1]]);
    function fails(): Tensor {
      ad.exp(ad.square(x));
      throw new Error("the user's own");
    }
  });
});

describe("memory", () => {
  test("live tensors and bytes are flat over 1,000 steps", async () => {
    const { params, model, loss, f } = network();
    const vectors = params.map((p) => toTensor(randomPlain(p.shape, 8), "float64"));
    const step = () => {
      const second = ad.hvp(f, params, vectors);
      const gauss = ad.ggnvp(model, loss, params, vectors);
      const first = ad.valueAndGrad(f, params);
      for (const t of [second.value, ...second.gradients, ...second.products]) t.dispose();
      for (const t of [gauss.value, ...gauss.products, first.value, ...first.gradients])
        t.dispose();
      const twice = ad.grad(() => ad.sum(ad.square(ad.grad(f, params)[0]!)), params);
      for (const t of twice) t.dispose();
    };
    step();
    const before = await settledMemory();
    for (let i = 0; i < 1000; ++i) step();
    const after = memoryStats();
    expect(after.liveBlocks).toBeLessThanOrEqual(before.liveBlocks);
    expect(after.liveBytes).toBeLessThanOrEqual(before.liveBytes);
  });

  test("inside a scope the results belong to it", async () => {
    const { params, f } = network();
    const before = (await settledMemory()).liveBlocks;
    const kept = scope(() => {
      ad.hvp(f, params, params);
      ad.grad(f, params);
      return ad.valueAndGrad(f, params).gradients[0]!;
    });
    expect(memoryStats().liveBlocks).toBeLessThanOrEqual(before + 1);
    kept.dispose();
  });

  test("a scope inside the function frees nothing that the gradient needs", () => {
    const { params, f } = network();
    const inside = () => scope(() => ad.square(scope(f)));
    const plain = () => ad.square(f());
    expect(values(ad.grad(inside, params))).toEqual(values(ad.grad(plain, params)));
    const [a, b] = [inside, plain].map((g) => values(ad.hvp(g, params, params).products));
    expect(a).toEqual(b);
    const twice = (g: () => Tensor) => () => ad.sum(ad.grad(g, params)[0]!);
    expect(values(ad.grad(twice(inside), params))).toEqual(values(ad.grad(twice(plain), params)));
  });

  test("the gradient of a chain needs the memory of its tape, not of its derivatives", async () => {
    const n = 1000; // small enough to be computed in place: memory is free again at once
    const x = Tensor.zeros([n], { dtype: "float64" });
    x.dataSync();
    const depth = 20;
    const chain = () => {
      let y: Tensor = x;
      for (let i = 0; i < depth; ++i) y = ad.sin(y);
      return ad.sum(y);
    };
    const before = (await settledMemory({ resetPeak: true })).liveBytes;
    const [g] = ad.grad(chain, [x]);
    g!.dataSync();
    // depth values, and a few cotangents and temporaries at a time
    expect(memoryStats().peakBytes - before).toBeLessThan((depth + 6) * n * 8 * 1.1);
    g!.dispose();
  });
});

describe("gradcheck can fail", () => {
  const x = tensor([0.3, -0.7, 1.1]);
  const wrong = (rules: Parameters<typeof ad.differentiable<[Tensor], undefined>>[1]) => {
    const follow = ad.differentiable<[Tensor], undefined>("wrong", rules);
    const cube = (y: Tensor) =>
      toTensor(
        zip((u) => u ** 3, toPlain(y)),
        "float64",
      );
    return (y: Tensor) => follow([y], cube(y), undefined);
  };
  const slope = (y: Tensor) => ad.scale(ad.square(y), 3);
  const checks = (f: (y: Tensor) => Tensor) => [
    ...new Set(ad.gradcheck(() => f(x), [x]).failures.map(({ check }) => check)),
  ];

  test("a right rule passes", () => {
    const right = wrong({
      vjp: ({ inputs: [y] }, g) => [ad.mul(g, slope(y))],
      jvp: ({ inputs: [y] }, [t]) => t && ad.mul(t, slope(y)),
    });
    expect(checks(right)).toEqual([]);
  });

  test("a wrong gradient, a wrong tangent", () => {
    expect(
      checks(
        wrong({
          vjp: ({ inputs: [y] }, g) => [ad.mul(g, ad.square(y))],
          jvp: ({ inputs: [y] }, [t]) => t && ad.mul(t, slope(y)),
        }),
      ),
    ).toContain("gradient");
    expect(
      checks(
        wrong({
          vjp: ({ inputs: [y] }, g) => [ad.mul(g, slope(y))],
          jvp: ({ inputs: [y] }, [t]) => t && ad.mul(t, y),
        }),
      ),
    ).toContain("forward against reverse");
  });

  test("a second derivative that is lost", () => {
    const constant = (y: Tensor) => Tensor.from(valuesOf(slope(y)), y.shape);
    expect(
      checks(
        wrong({
          vjp: ({ inputs: [y] }, g) => [ad.mul(g, constant(y))],
          jvp: ({ inputs: [y] }, [t]) => t && ad.mul(t, constant(y)),
        }),
      ),
    ).toEqual(["hessian"]);
  });
});
