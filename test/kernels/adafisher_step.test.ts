import {
  type AdaFisherState,
  type AdaFisherStepOptions,
  adaFisherStep,
  adaFisherStepSync,
} from "../../lib/ops/adafisher-step.js";
import { Tensor } from "../../lib/tensor/index.js";
import { numbers } from "../helpers/flat-data.js";
import { eachDevice } from "../helpers/each-device.js";
import { type StepRule, bits, stepBattery, stepped, vectors } from "../helpers/step-battery.js";

type Options = AdaFisherStepOptions;
type Tensors = Record<string, Tensor>;
type Factors = (tensors: Tensors) => { rows: Tensor; columns: Tensor };

/** The battery's vector `h` is one diagonal; the other is one number. */
const one = (like: Tensor) => Tensor.from([0.75], [1], { device: like.device });
const vector = (like: Tensor) => like.reshape([like.size]);
const layouts: Readonly<Record<string, Factors>> = {
  "one row": ({ h }) => ({ rows: one(h!), columns: vector(h!) }),
  "one column": ({ h }) => ({ rows: vector(h!), columns: one(h!) }),
};

function stateOf(tensors: Tensors, factors: Factors): AdaFisherState {
  const { theta, grad, m } = tensors as Record<"theta" | "grad" | "m", Tensor>;
  return { theta, grad, m, factors: factors(tensors) };
}

const formula = (
  { theta = 0, grad = 0, m = 0 }: Record<string, number>,
  divisor: number,
  { lr, step, beta = 0.9, weightDecay = 0, l2 = false }: Options,
) => {
  const decay = l2 ? weightDecay * theta : 0;
  const first = beta * m + (1 - beta) * (grad + decay);
  const firstScale = Math.abs(beta * m) + (1 - beta) * (Math.abs(grad) + Math.abs(decay));
  const rate = lr / (1 - beta ** step) / divisor;
  return {
    m: { value: first, scale: firstScale },
    theta: {
      value: (l2 ? 1 : 1 - lr * weightDecay) * theta - rate * first,
      scale: Math.abs(theta) + rate * firstScale,
    },
  };
};

const rule = (factors: Factors, l2: boolean): StepRule<Options> => ({
  inputs: ["grad", "h"],
  state: ["m"],
  options: { lr: 1e-3, weightDecay: 0.1, step: 7, l2 },
  run: async (tensors, options) => {
    await adaFisherStep(stateOf(tensors, factors), options);
  },
  runSync: (tensors, options) => {
    adaFisherStepSync(stateOf(tensors, factors), options);
  },
  reference: (x, options) => formula(x, 0.75 * (x["h"] ?? 0) + 1e-3, options),
});

const plain: StepRule<Options> = {
  inputs: ["grad"],
  state: ["m"],
  options: { lr: 0.01, weightDecay: 0.1, step: 7 },
  run: (tensors, options) => adaFisherStep(tensors as unknown as AdaFisherState, options),
  runSync: (tensors, options) => {
    adaFisherStepSync(tensors as unknown as AdaFisherState, options);
  },
  reference: (x, options) => formula(x, 1, options),
};

eachDevice("adafisher_step", (device) => {
  describe("without factors", () => {
    stepBattery(device, plain);
  });

  describe.each(Object.keys(layouts))("%s", (layout) => {
    test.each([
      [1, true],
      [1000, false],
      [40_001, true],
    ])("%i elements against the formula in float64, l2 %s", async (size, l2) => {
      const mine = rule(layouts[layout]!, l2);
      const before = vectors(mine, size);
      const after = await stepped(mine, device, before, mine.options);
      expect(await stepped(mine, device, before, mine.options, true)).toEqual(after);
      for (let i = 0; i < size; ++i) {
        const x = Object.fromEntries(Object.entries(before).map(([name, v]) => [name, v[i]!]));
        for (const [name, { value, scale }] of Object.entries(mine.reference(x, mine.options)))
          expect(Math.abs(after[name]![i]! - value)).toBeLessThanOrEqual(16 * 2 ** -24 * scale);
      }
    });
  });

  test.each([
    [3, 7],
    [129, 300],
  ])(
    "a matrix of %i x %i: the divisors formed on the fly give the bits of formed ones",
    async (o, i) => {
      const draw = numbers(3);
      const positive = (n: number) => Float32Array.from({ length: n }, () => Math.abs(draw()));
      const [rows, columns] = [positive(o), positive(i)];
      const before = vectors(plain, o * i, 4);
      const on = (x: Float32Array) => Tensor.from(x, undefined, { device });
      const run = async (factors: AdaFisherState["factors"], damping: number) => {
        const tensors = Object.fromEntries(Object.entries(before).map(([k, x]) => [k, on(x)]));
        const state = { ...(tensors as unknown as AdaFisherState), factors };
        await adaFisherStep(state, { lr: 1e-3, step: 3, damping });
        return { theta: await tensors["theta"]!.data() };
      };
      const fused = await run({ rows: on(rows), columns: on(columns) }, 2 ** -10);
      const formed = Float32Array.from({ length: o * i }, (_, k) =>
        // A product of two float32 numbers and a power of two: rounded once, as fmaf does.
        Math.fround(rows[Math.floor(k / i)]! * columns[k % i]! + 2 ** -10),
      );
      // Divisors 1 * formed + damping, where the smallest damping adds nothing.
      const whole = await run({ rows: on(formed), columns: on(Float32Array.of(1)) }, 1e-30);
      expect(bits(fused)).toEqual(bits(whole));
    },
  );

  test("what it refuses", async () => {
    for (const bad of [{ step: 0 }, { beta: 1 }, { damping: 0 }]) {
      const options = { ...plain.options, ...bad };
      await expect(stepped(plain, device, vectors(plain, 3), options)).rejects.toMatchObject({
        code: "ARGUMENT",
      });
    }
    const on = (n: number) => Tensor.zeros([n], { device });
    const state = { theta: on(6), grad: on(6), m: on(6) };
    for (const [factors, code] of [
      [{ rows: on(2), columns: on(4) }, "SHAPE"],
      [{ rows: on(6).reshape([2, 3]), columns: on(1) }, "SHAPE"],
      [{ rows: Tensor.zeros([2], { device, dtype: "float64" }), columns: on(3) }, "DTYPE"],
      [{ rows: on(2) } as never, "ARGUMENT"],
    ] as const)
      await expect(adaFisherStep({ ...state, factors }, plain.options)).rejects.toMatchObject({
        code,
      });
  });
});
