import {
  type SophiaState,
  type SophiaStepOptions,
  sophiaStep,
  sophiaStepSync,
} from "../../lib/ops/sophia-step.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { type StepRule, bits, stepBattery, stepped, vectors } from "../helpers/step-battery.js";

type Options = SophiaStepOptions;
type Values = Record<string, Float32Array>;

const denominator = (h: number, { rho = 0.04, curvature }: Options) =>
  curvature === "hutchinson" ? Math.max(rho * h, 1e-12) : rho * curvature.batch * h + 1e-15;

const rule = (more: Partial<Options>): StepRule<Options> => ({
  inputs: ["grad", "h"],
  state: ["m"],
  options: { lr: 0.01, weightDecay: 0.1, curvature: { batch: 20 }, ...more },
  run: (tensors, options) => sophiaStep(tensors as unknown as SophiaState, options),
  runSync: (tensors, options) => sophiaStepSync(tensors as unknown as SophiaState, options),
  reference: ({ theta = 0, grad = 0, m = 0, h = 0 }, options) => {
    const { lr, weightDecay = 0, beta1 = 0.965 } = options;
    const first = beta1 * m + (1 - beta1) * grad;
    const size = Math.abs(beta1 * m) + Math.abs((1 - beta1) * grad);
    const below = denominator(h, options);
    const ratio = Math.min(1, Math.abs(first) / below);
    return {
      m: { value: first, scale: size },
      theta: {
        value: (1 - lr * weightDecay) * theta - lr * Math.sign(first) * ratio,
        // A rounding of m is one of the ratio, which is 1 at most.
        scale: Math.abs(theta) + lr * Math.max(ratio, Math.min(1, size / below)),
      },
    };
  },
});

eachDevice("sophia_step", (device) => {
  describe("Gauss-Newton-Bartlett", () => {
    stepBattery(device, rule({}));
  });
  describe("Hutchinson", () => {
    stepBattery(device, rule({ curvature: "hutchinson", rho: 0.5, beta1: 0.9 }));
  });

  const run = (values: Values, options: Options) => stepped(rule({}), device, values, options);

  test("the worked first step, batch 1 and 491520", async () => {
    const values = {
      theta: new Float32Array(2),
      grad: new Float32Array([0.1, -2]),
      h: new Float32Array([2.5e-3, 1e-6]),
      m: new Float32Array(2),
    };
    const close = (got: number | undefined, wanted: number) => {
      expect(Math.abs(got! / wanted - 1)).toBeLessThan(1e-3); // three digits are printed
    };
    const small = await run(values, { lr: 1e-2, curvature: { batch: 1 } });
    close(small["m"]![0], 0.0035);
    close(small["m"]![1], -0.07);
    close(small["theta"]![0], -0.01);
    close(small["theta"]![1], 0.01);
    const large = await run(values, { lr: 1e-2, curvature: { batch: 491520 } });
    close(large["theta"]![0], -7.12e-7);
    close(large["theta"]![1], 0.01);
  });

  test("counts what was clipped, and moves nothing by more than lr", async () => {
    for (const curvature of ["hutchinson", { batch: 20 }] as const) {
      const size = 50_001;
      const values = vectors(rule({}), size, 3);
      if (curvature === "hutchinson") values["h"] = values["h"]!.map((x, i) => (i % 3 ? x : -x));
      const options = { lr: 0.25, rho: 0.3, beta1: 0.5, curvature };
      const tensors = Object.fromEntries(
        Object.entries(values).map(([name, x]) => [name, Tensor.from(x, undefined, { device })]),
      );
      const clipped = await sophiaStep(tensors as unknown as SophiaState, options);
      const m = await tensors["m"]!.data();
      const theta = await tensors["theta"]!.data();
      let wanted = 0;
      let near = 0;
      let furthest = 0;
      m.forEach((x, i) => {
        const ratio = Math.abs(x) / denominator(values["h"]![i]!, options);
        if (Math.abs(ratio - 1) < 1e-6) ++near;
        else if (ratio > 1) ++wanted;
        const moved = Math.abs(theta[i]! - values["theta"]![i]!) - 2 ** -23 * Math.abs(theta[i]!);
        furthest = Math.max(furthest, moved);
      });
      expect(furthest).toBeLessThanOrEqual(0.25);
      expect(clipped).toBeGreaterThanOrEqual(wanted);
      expect(clipped).toBeLessThanOrEqual(wanted + near);
      expect(wanted / size).toBeGreaterThan(0.1);
      expect(wanted / size).toBeLessThan(0.9);
      for (const tensor of Object.values(tensors)) tensor.dispose();
    }
  });

  test("scaling the loss: Hutchinson's clipped set stays, Gauss-Newton's ratio is divided by it", async () => {
    const values: Values = { ...vectors(rule({}), 4000, 9), m: new Float32Array(4000) };
    const scaled = (power: number) => ({
      ...values,
      grad: values["grad"]!.map((x) => x * 16),
      h: values["h"]!.map((x) => x * 16 ** power),
    });
    const hutchinson = { lr: 1, rho: 0.5, curvature: "hutchinson" } as const;
    const same = await run(scaled(1), hutchinson);
    expect(bits(same)["theta"]).toBe(bits(await run(values, hutchinson))["theta"]);
    const step = async (x: Values) => {
      const zero = { ...x, theta: new Float32Array(4000) };
      return (await run(zero, { lr: 1, rho: 0.5, curvature: { batch: 10_000 } }))["theta"]!;
    };
    const [plain, divided] = [await step(values), await step(scaled(2))];
    plain.forEach((x, i) => {
      if (Math.abs(x) < 1)
        expect(Math.abs(divided[i]! * 16 - x)).toBeLessThanOrEqual(1e-6 * Math.abs(x));
    });
  });

  test("h = 0 and m = 0 is no step; no curvature yet is a step of lr", async () => {
    const values = {
      theta: new Float32Array(2),
      grad: new Float32Array([0, 1]),
      h: new Float32Array(2),
      m: new Float32Array(2),
    };
    const after = await run(values, { lr: 0.5, curvature: { batch: 1 } });
    expect([...after["theta"]!]).toEqual([0, -0.5]);
  });

  test("the options it refuses", async () => {
    for (const bad of [
      { rho: 0 },
      { beta1: 1 },
      { curvature: { batch: 0 } },
      { curvature: undefined },
    ]) {
      const options = { ...rule({}).options, ...bad } as Options;
      await expect(run({}, options)).rejects.toMatchObject({ code: "ARGUMENT" });
    }
  });
});
