import {
  mean,
  mul,
  matmul,
  square,
  sub,
  sum,
  softplus,
  log,
  add,
} from "../../lib/autodiff/index.js";
import { memoryStats } from "../../lib/binding/index.js";
import {
  AdaFisher,
  AdaFisherW,
  AdaHessian,
  AdamW,
  FOSI,
  INNAprop,
  MFAC,
  MKOR,
  NewtonCG,
  OASIS,
  Muon,
  KFAC,
  type Optimizer,
  type Parameter,
  type Scheduled,
  SAG,
  SAGA,
  SGD,
  Shampoo,
  SOAP,
  Sophia,
  SVRG,
  type StepOptions,
  type LossFunction,
} from "../../lib/optim/index.js";
import { Module } from "../../lib/nn/index.js";
import { loadTensors, saveTensors } from "../../lib/formats/index.js";
import { item } from "../../lib/ops/tensor-mean.js";
import { Tensor } from "../../lib/tensor/index.js";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { settledMemory } from "../helpers/live-memory.js";

type Any = Optimizer<object, string, object, StepOptions & { sampledLoss?: LossFunction }>;
type Options = Record<string, unknown>;

interface Row {
  readonly name: string;
  make(params: Iterable<Parameter>, options?: Options): Any;
  /** Options under which it goes downhill in a few hundred steps. */
  readonly tuned: Options;
  /** Keeps nothing from step to step. Default false. */
  readonly stateless?: boolean;
  /** Numeric options, with a value they may have. */
  readonly numbers: Readonly<Record<string, number>>;
  /** Most bytes that steps may hold for a while; default 32 KiB. */
  readonly stepBytes?: number;
  /** It treats a matrix as one: the bowls are matrices, which cannot be cut. */
  readonly matrices?: true;
}

class Bare extends Module {}

/** A row for each optimizer; a new one adds a line and gets every test below. */
const rows: readonly Row[] = [
  {
    name: "SGD",
    make: (params, options) => new SGD(params, options),
    tuned: { lr: 0.05 },
    numbers: { lr: 0.1, momentum: 0.5, weightDecay: 0.1 },
  },
  {
    name: "AdamW",
    make: (params, options) => new AdamW(params, options),
    tuned: { lr: 0.05, weightDecay: 0 },
    numbers: { lr: 0.1, eps: 1e-6, weightDecay: 0.1 },
  },
  {
    name: "AdaHessian",
    make: (params, options) => new AdaHessian(params, options),
    tuned: { lr: 0.1 },
    numbers: { lr: 0.1, eps: 1e-6, weightDecay: 0.1, hessianPower: 0.5 },
  },
  {
    name: "AdaHessian with a stale curvature",
    make: (params, options) =>
      new AdaHessian(params, { updateInterval: 3, samples: 2, ...options }),
    tuned: { lr: 0.1 },
    numbers: {},
  },
  {
    name: "Sophia (hutchinson)",
    make: (params, options) =>
      new Sophia(params, { curvature: "hutchinson", weightDecay: 0, ...options }),
    tuned: { lr: 0.02, rho: 1 },
    numbers: { lr: 0.1, rho: 1, weightDecay: 0.1 },
  },
  {
    // Of parameters that belong to no layer; layers are in kfac.test.ts.
    name: "KFAC",
    make: (params, options) => new KFAC(params, { model: new Bare(), weightDecay: 0, ...options }),
    tuned: { lr: 0.05 },
    numbers: {
      lr: 0.1,
      momentum: 0.5,
      weightDecay: 0.1,
      damping: 0.1,
      factorDecay: 0.5,
      klClip: 1,
    },
  },
  {
    name: "Sophia (empirical)",
    make: (params, options) =>
      new Sophia(params, {
        curvature: "empirical",
        batch: 8,
        weightDecay: 0,
        ...options,
      }),
    tuned: { lr: { schedule: "cosine", from: 0.05, steps: 300 }, rho: 0.01 },
    numbers: {},
  },
  {
    name: "MFAC",
    make: (params, options) => new MFAC(params, { gradients: 8, damp: 10, ...options }),
    tuned: { lr: 0.5 },
    numbers: { lr: 0.1, momentum: 0.5, weightDecay: 0.1 },
  },
  {
    name: "INNAprop",
    make: (params, options) => new INNAprop(params, options),
    tuned: { lr: 0.05, weightDecay: 0 },
    numbers: { lr: 0.1, alpha: 0.5, beta: 0.8, sigma: 0.9, eps: 1e-6, weightDecay: 0.1 },
  },
  {
    name: "OASIS (adaptive)",
    make: (params, options) => new OASIS(params, options),
    tuned: { lr: 0.01, alpha: 0.1, initialSamples: 100 },
    numbers: { lr: 0.1, alpha: 0.5, weightDecay: 0.1 },
  },
  {
    name: "OASIS (adaptive, gradients reused, momentum)",
    make: (params, options) =>
      new OASIS(params, { previousGradient: "reuse", betas: [0.5, 0.99], ...options }),
    tuned: { lr: 0.01, alpha: 0.1, initialSamples: 100 },
    numbers: {},
  },
  {
    name: "OASIS (fixed)",
    make: (params, options) => new OASIS(params, { stepSize: "fixed", ...options }),
    tuned: { lr: 0.1, betas: [0.9, 0.999], alpha: 0.1 },
    numbers: { lr: 0.1, alpha: 0.5, weightDecay: 0.1 },
  },
  {
    name: "FOSI over SGD",
    make: (params, options) =>
      new FOSI(new SGD(params, { ...options }), {
        largest: 3,
        interval: 3,
        warmup: 2,
        nonFinite: options?.["nonFinite"] as "skip" | undefined,
      }),
    tuned: { lr: 0.05, momentum: 0 },
    numbers: { lr: 0.1, momentum: 0.5 },
  },
  {
    name: "AdaFisher (no layers)",
    make: (params, options) => new AdaFisher(asModule(params), options),
    tuned: { lr: 0.03 },
    numbers: { lr: 0.1, beta: 0.5, damping: 0.1, weightDecay: 0.1 },
  },
  {
    name: "AdaFisherW (no layers)",
    make: (params, options) => new AdaFisherW(asModule(params), options),
    tuned: { lr: 0.03 },
    numbers: { weightDecay: 0.1 },
  },
  {
    name: "SVRG",
    make: (params, options) => alwaysFull(new SVRG(params, { batches: 1, ...options })),
    tuned: { lr: 0.03 },
    numbers: { lr: 0.1, weightDecay: 0.1 },
  },
  {
    name: "SAGA",
    make: (params, options) => new SAGA(params, { batches: 3, ...options }),
    tuned: { lr: 0.02 },
    numbers: { lr: 0.1, weightDecay: 0.1 },
  },
  {
    name: "SAG",
    make: (params, options) => new SAG(params, { batches: 3, ...options }),
    tuned: { lr: 0.01 },
    numbers: { lr: 0.1, weightDecay: 0.1 },
  },
  {
    name: "MKOR over SGD (no layers)",
    make: (params, options) => {
      const base = new SGD(params, options);
      return new MKOR(asModule(params), base, {
        nonFinite: options?.["nonFinite"] as "skip" | undefined,
      });
    },
    tuned: { lr: 0.03, momentum: 0 },
    numbers: { lr: 0.1, momentum: 0.5, weightDecay: 0.1 },
  },
  {
    name: "Muon",
    make: (params, options) => new Muon(params, options),
    tuned: { lr: { schedule: "cosine", from: 0.05, steps: 300 } },
    numbers: { lr: 0.1, momentum: 0.5, eps: 1e-6, weightDecay: 0.1 },
    matrices: true,
  },
  {
    name: "Muon (vectors, by AdamW)",
    make: (params, { lr = 0.01, ...options } = {}) =>
      new Muon(params, { adamw: { lr: lr as Scheduled }, method: "adamw", ...options }),
    tuned: { lr: 0.05 },
    numbers: { lr: 0.1 },
  },
  {
    name: "Shampoo",
    make: (params, options) =>
      new Shampoo(params, { blockSize: 2, rootInterval: 3, startStep: 3, ...options }),
    tuned: { lr: { schedule: "cosine", from: 0.1, steps: 300 } },
    numbers: { lr: 0.1, momentum: 0.5, beta2: 1, ridge: 0.1, weightDecay: 0.1, graftEps: 1e-3 },
    stepBytes: 256 << 10, // the workspace of its roots
    matrices: true,
  },
  {
    name: "Shampoo (vectors, RMSprop's norm)",
    make: (params, options) => new Shampoo(params, { graft: "rmsprop", ...options }),
    tuned: { lr: { schedule: "cosine", from: 0.02, steps: 300 } },
    numbers: { graftBeta: 0.9 },
  },
  {
    name: "SOAP",
    make: (params, options) =>
      new SOAP(params, { preconditionInterval: 3, weightDecay: 0, ...options }),
    tuned: { lr: { schedule: "cosine", from: 0.05, steps: 300 } },
    numbers: { lr: 0.1, shampooBeta: 0.5, eps: 1e-6, weightDecay: 0.1 },
    matrices: true,
  },
  {
    name: "SOAP (vectors)",
    make: (params, options) => new SOAP(params, { weightDecay: 0, ...options }),
    tuned: { lr: { schedule: "cosine", from: 0.05, steps: 300 } },
    numbers: {},
  },
  {
    name: "NewtonCG",
    make: (params, options) => new NewtonCG(params, options),
    tuned: {},
    stateless: true,
    numbers: { lr: 0.5 },
  },
];

/** With the loss of a step as the loss of all data. */
function alwaysFull(optimizer: SVRG): SVRG {
  const step = optimizer.step.bind(optimizer);
  optimizer.step = (loss, options) => step(loss, { fullLoss: loss, ...options });
  return optimizer;
}

/** A model whose fields are the parameters. */
function asModule(params: Iterable<Parameter>): Module {
  const model = new (class extends Module {})();
  return Object.assign(
    model,
    Object.fromEntries(Array.from(params, ({ name, tensor }) => [name, tensor])),
  );
}

const steepness = Float32Array.from({ length: 12 }, (_, i) => 1 + i);
const start = Float32Array.from({ length: 12 }, (_, i) => Math.sin(i + 1));

interface Bowl {
  readonly params: Parameter[];
  readonly loss: LossFunction;
  /** What each parameter adds to the loss. */
  readonly terms: readonly LossFunction[];
  readonly values: () => number[];
}

/** A quadratic bowl with curvatures 1 to 12 over one parameter, or over its halves. */
function bowl({ matrices }: Row, pieces: 1 | 2): Bowl {
  const size = 12 / pieces;
  const shape = matrices === true ? [size / 3, 3] : [size];
  const part = (values: Float32Array, i: number) =>
    Tensor.from(values.slice(i * size, (i + 1) * size), shape);
  const params = Array.from({ length: pieces }, (_, i) => ({
    name: `w${i}`,
    tensor: part(start, i),
  }));
  const curvatures = params.map((_, i) => part(steepness, i));
  const terms = params.map(
    ({ tensor }, i) =>
      () =>
        sum(mul(item(curvatures, i), square(tensor))),
  );
  const loss = () => terms.map((term) => term()).reduce((total, one) => add(total, one));
  return {
    params,
    loss,
    terms,
    values: () => params.flatMap(({ tensor }) => Array.from(tensor.dataSync())),
  };
}

const flatLoss = (params: readonly Parameter[]) => () => sum(mul(item(params, 0).tensor, 0));

describe.each(rows.map((row) => [row.name, row] as const))("%s", (_, row) => {
  test("a zero gradient leaves the parameters as they are, to the bit", async () => {
    const { params, values } = bowl(row, 1);
    using optimizer = row.make(params, { weightDecay: 0 });
    const before = values();
    for (let i = 0; i < 4; ++i) await optimizer.step(flatLoss(params));
    expect(values()).toEqual(before);
    expect(optimizer.steps).toBe(4);
  });

  test("with lr 0 the parameters stay and the state moves", async () => {
    const { params, loss, values } = bowl(row, 1);
    using optimizer = row.make(params, { lr: 0 });
    const before = values();
    let moved = false;
    // The first step of SOAP looks at the gradient, and without a basis to turn keeps nothing of it.
    for (let i = 0; i < 2 && !moved; ++i) {
      await optimizer.step(loss);
      const { tensors } = optimizer.stateDict();
      moved = [...tensors.values()].some((tensor) =>
        tensor.dataSync().some((x) => Number(x) !== 0),
      );
    }
    expect(values()).toEqual(before);
    expect(moved).toBe(row.stateless !== true);
  });

  test("saved, loaded into a new one and stepped on: the same bits as without", async () => {
    const one = bowl(row, 1);
    const two = bowl(row, 1);
    using whole = row.make(one.params, row.tuned);
    using first = row.make(two.params, row.tuned);
    for (let i = 0; i < 4; ++i) await Promise.all([whole.step(one.loss), first.step(two.loss)]);
    const path = join(folder, "state.safetensors");
    const { tensors, metadata } = first.stateDict();
    await saveTensors(path, tensors, Object.fromEntries(metadata));
    using second = row.make(two.params, row.tuned);
    second.loadStateDict(await loadTensors(path));
    for (let i = 0; i < 5; ++i) await Promise.all([whole.step(one.loss), second.step(two.loss)]);
    expect(second.steps).toBe(9);
    expect(two.values()).toEqual(one.values());
  });

  test("a tensor cut in two gives what the whole one gives; two matrices what each alone gives", async () => {
    const together = bowl(row, 2);
    using both = row.make(together.params, row.tuned);
    const apart = bowl(row, row.matrices === true ? 2 : 1);
    for (let i = 0; i < 5; ++i) await both.step(together.loss);
    for (const [k, parameter] of apart.params.entries()) {
      using alone = row.make([parameter], row.tuned);
      for (let i = 0; i < 5; ++i) await alone.step(item(apart.terms, k));
    }
    expect(together.values()).toEqual(apart.values());
  });

  test("every numeric option takes a schedule, and refuses what is out of range", async () => {
    for (const [name, value] of Object.entries(row.numbers)) {
      const schedules: Scheduled[] = [value, () => value, { schedule: "constant", from: value }];
      const results: number[][] = [];
      for (const schedule of schedules) {
        const { params, loss, values } = bowl(row, 1);
        using optimizer = row.make(params, { [name]: schedule });
        for (let i = 0; i < 3; ++i) await optimizer.step(loss);
        results.push(values());
      }
      expect(results[1]).toEqual(results[0]);
      expect(results[2]).toEqual(results[0]);
      for (const bad of [-1, Number.NaN, "1"]) {
        expect(() => row.make(bowl(row, 1).params, { [name]: bad })).toThrow(
          expect.objectContaining({
            code: "ARGUMENT",
            message: expect.stringContaining(name) as string,
          }),
        );
      }
    }
  });

  test("goes down a bowl, and a logistic regression", async () => {
    const { params, loss } = bowl(row, 1);
    using optimizer = row.make(params, row.tuned);
    const losses: number[] = [];
    for (let i = 0; i < 300; ++i) losses.push((await optimizer.step(loss)).loss);
    expect(losses.at(-1)).toBeLessThan(item(losses, 0) / 50);

    const x = Tensor.from(
      Float32Array.from({ length: 60 }, (_, i) => Math.sin(1.7 * i) + (i % 3)),
      [20, 3],
    );
    const y = Tensor.from(
      Float32Array.from({ length: 20 }, (_, i) =>
        Math.sin(5.1 * i) + 0.5 * Math.sin(2.3 * i) > 0 ? 1 : 0,
      ),
      [20, 1],
    );
    const w = { name: "w", tensor: Tensor.zeros([3, 1]) };
    // The classes can be separated, so the minimum is at infinity: no logarithm of a probability that rounds to 0.
    const logistic = () => {
      const z = matmul(x, w.tensor);
      return mean(sub(softplus(z), mul(y, z)));
    };
    using second = row.make([w], row.tuned);
    let last = Infinity;
    for (let i = 0; i < 200; ++i) last = (await second.step(logistic)).loss;
    expect(last).toBeLessThan(0.9 * Math.log(2));
  });

  test("a gradient that is not finite changes nothing and is named, or is skipped and counted", async () => {
    const { params, loss, values } = bowl(row, 2);
    const before = values();
    const bad = () => add(loss(0), sum(log(mul(item(params, 1).tensor, 0))));
    using strict = row.make(params, row.tuned);
    const empty = [...strict.stateDict().tensors.values()].map((tensor) => tensor.dataSync());
    await expect(strict.step(bad)).rejects.toMatchObject({ code: "NON_FINITE" });
    const broken = () => mul(loss(0), Infinity);
    await expect(strict.step(broken)).rejects.toMatchObject({
      code: "NON_FINITE",
      details: { parameter: "w0" },
    });
    expect(values()).toEqual(before);
    expect([...strict.stateDict().tensors.values()].map((tensor) => tensor.dataSync())).toEqual(
      empty,
    );
    using lenient = row.make(params, { ...row.tuned, nonFinite: "skip" });
    expect(await lenient.step(broken)).toMatchObject({ skipped: true });
    expect([lenient.steps, lenient.skippedSteps]).toEqual([0, 1]);
    expect(values()).toEqual(before);
    expect(await lenient.step(loss)).toMatchObject({ skipped: false });
  });

  test("nothing is leaked over 1,000 steps", async () => {
    const { params, loss } = bowl(row, 2);
    using optimizer = row.make(params, row.tuned);
    for (let i = 0; i < 3; ++i) await optimizer.step(loss, { accumulate: 2 });
    // Garbage of earlier tests may be collected meanwhile: that only lowers the numbers.
    const before = await settledMemory({ resetPeak: true });
    for (let i = 0; i < 1000; ++i) await optimizer.step(loss, { accumulate: (i % 2) + 1 });
    const after = memoryStats();
    expect(after.liveBlocks).toBeLessThanOrEqual(before.liveBlocks);
    expect(after.peakBytes - before.liveBytes).toBeLessThan(row.stepBytes ?? 32 << 10); // some steps' worth
  });

  test("an error of the loss, an abort and a second step at once change nothing", async () => {
    const { params, loss, values } = bowl(row, 1);
    using optimizer = row.make(params, row.tuned);
    const before = values();
    const live = (await settledMemory()).liveBlocks;
    const failing = (k: number) => {
      if (k === 1) throw new Error("from the loss");
      return loss(k);
    };
    await expect(optimizer.step(failing, { accumulate: 2 })).rejects.toThrow("from the loss");
    await expect(optimizer.step(loss, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: "ABORTED",
    });
    await expect(optimizer.step(() => item(params, 0).tensor)).rejects.toMatchObject({
      code: "SHAPE",
    });
    expect(memoryStats().liveBlocks).toBeLessThanOrEqual(live);
    expect(values()).toEqual(before);
    const running = optimizer.step(loss);
    await expect(optimizer.step(loss)).rejects.toThrow(/await/);
    await running;
    expect(optimizer.steps).toBe(1);
  });
});

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "osculate-optim-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});
