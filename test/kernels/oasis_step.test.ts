import {
  type OasisState,
  type OasisStepOptions,
  oasisStep,
  oasisStepSync,
} from "../../lib/ops/oasis-step.js";
import { eachDevice } from "../helpers/each-device.js";
import { type StepRule, stepBattery, stepped, vectors } from "../helpers/step-battery.js";

const rule = (state: readonly string[], beta1: number): StepRule<OasisStepOptions> => ({
  inputs: ["grad", "diagonal"],
  state,
  options: { lr: 0.01, weightDecay: 0.1, beta1, alpha: 0.3, step: 7 },
  run: (tensors, options) => oasisStep(tensors as unknown as OasisState, options),
  runSync: (tensors, options) => {
    oasisStepSync(tensors as unknown as OasisState, options);
  },
  reference: ({ theta = 0, grad = 0, diagonal = 0, m = 0, curvature = 0 }, options) => {
    const { lr, step, weightDecay = 0, beta2 = 0.99, alpha = 0.01 } = options;
    const second = beta2 * curvature + (1 - beta2) * diagonal;
    const secondScale = Math.abs(beta2 * curvature) + Math.abs((1 - beta2) * diagonal);
    const first = beta1 * m + (1 - beta1) * grad;
    const firstScale = Math.abs(beta1 * m) + Math.abs((1 - beta1) * grad);
    const below = Math.max(Math.abs(second), alpha);
    const rate = lr / (1 - beta1 ** step);
    return {
      ...(beta1 > 0 ? { m: { value: first, scale: firstScale } } : {}),
      curvature: { value: second, scale: secondScale },
      theta: {
        value: (1 - lr * weightDecay) * theta - (rate * first) / below,
        // A rounding of the curvature is one of the quotient, of that relative size.
        scale: Math.abs(theta) + (rate * firstScale * Math.max(1, secondScale / below)) / below,
      },
    };
  },
});

eachDevice("oasis_step", (device) => {
  const plain = rule(["curvature"], 0);
  describe("without momentum", () => {
    stepBattery(device, plain);
  });
  describe("with momentum", () => {
    stepBattery(device, rule(["curvature", "m"], 0.9));
  });

  test("1/2 (x^2 + 10 y^2) from (1, 1) with the exact curvature: (1 - lr, 1 - lr)", async () => {
    const values = {
      theta: new Float32Array([1, 1]),
      grad: new Float32Array([1, 10]),
      diagonal: new Float32Array([1, 10]),
      curvature: new Float32Array(2),
    };
    const after = await stepped(plain, device, values, { lr: 0.1, step: 1, beta2: 0 });
    for (const x of after["theta"]!) expect(x).toBeCloseTo(0.9, 7);
  });

  test("beta2 1 keeps the curvature; a negative one counts by its size; alpha is the smallest", async () => {
    const values = {
      theta: new Float32Array(3),
      grad: new Float32Array([1, 1, 1]),
      diagonal: new Float32Array([9, 9, 9]),
      curvature: new Float32Array([-2, 1e-3, 0]),
    };
    const after = await stepped(plain, device, values, { lr: 1, step: 1, beta2: 1, alpha: 0.25 });
    expect([...after["curvature"]!]).toEqual([...values.curvature]);
    expect([...after["theta"]!]).toEqual([-0.5, -4, -4]);
  });

  test("the options it refuses", async () => {
    for (const bad of [{ step: 0 }, { beta1: 1 }, { beta1: 0.5 }, { beta2: 1.1 }, { alpha: 0 }]) {
      const options = { ...plain.options, ...bad };
      await expect(stepped(plain, device, vectors(plain, 3), options)).rejects.toMatchObject({
        code: "ARGUMENT",
      });
    }
  });
});
