import {
  type AdamwState,
  type AdamwStepOptions,
  adamwStep,
  adamwStepSync,
} from "../../lib/ops/adamw-step.js";
import { eachDevice } from "../helpers/each-device.js";
import { type StepRule, stepBattery, stepped } from "../helpers/step-battery.js";

const rule: StepRule<AdamwStepOptions> = {
  inputs: ["grad"],
  state: ["m", "v"],
  options: { lr: 0.01, weightDecay: 0.1, step: 7 },
  run: (tensors, options) => adamwStep(tensors as unknown as AdamwState, options),
  runSync: (tensors, options) => {
    adamwStepSync(tensors as unknown as AdamwState, options);
  },
  reference: ({ theta = 0, grad = 0, m = 0, v = 0 }, options) => {
    const { lr, step, weightDecay = 0, eps = 1e-8, betas: [b1, b2] = [0.9, 0.999] } = options;
    const second = b2 * v + (1 - b2) * grad ** 2;
    const first = b1 * m + (1 - b1) * grad;
    const size = Math.abs(b1 * m) + Math.abs((1 - b1) * grad);
    const denominator = Math.sqrt(second / (1 - b2 ** step)) + eps;
    const direction = first / (1 - b1 ** step) / denominator;
    const scale = size / (1 - b1 ** step) / denominator;
    return {
      m: { value: first, scale: size },
      v: { value: second, scale: second },
      theta: {
        value: theta - lr * (direction + weightDecay * theta),
        scale: Math.abs(theta) + lr * scale,
      },
    };
  },
};

eachDevice("adamw_step", (device) => {
  stepBattery(device, rule);

  test("1/2 (x^2 + 10 y^2) from (1, 1): the first step is (-lr, -lr)", async () => {
    const zeros = new Float32Array(2);
    const values = { theta: new Float32Array([1, 1]), grad: new Float32Array([1, 10]) };
    const after = await stepped(
      rule,
      device,
      { ...values, m: zeros, v: zeros },
      { lr: 0.1, step: 1 },
    );
    for (const x of after["theta"]!) expect(x).toBeCloseTo(0.9, 7);
  });

  test("eps 0 where there is no gradient: no step, not NaN", async () => {
    const zeros = new Float32Array(3);
    const values = { theta: new Float32Array([1, -2, 3]), grad: zeros, m: zeros, v: zeros };
    const after = await stepped(rule, device, values, { lr: 0.1, step: 1, eps: 0 });
    expect(after["theta"]).toEqual(values.theta);
  });

  test("the options it refuses", async () => {
    for (const bad of [
      { step: 0 },
      { step: 1.5 },
      { betas: [1, 0.9] },
      { betas: [0, -0.1] },
      { eps: -1 },
    ]) {
      const options = { ...rule.options, ...bad } as AdamwStepOptions;
      await expect(stepped(rule, device, {}, options)).rejects.toMatchObject({ code: "ARGUMENT" });
    }
  });
});
