import {
  type InnapropState,
  type InnapropStepOptions,
  innapropStep,
  innapropStepSync,
} from "../../lib/ops/innaprop-step.js";
import { eachDevice } from "../helpers/each-device.js";
import { type StepRule, stepBattery, stepped, vectors } from "../helpers/step-battery.js";

/** The published form, of one element: theta and psi in float64, psi = lag + (1 - alpha beta) theta. */
function published(theta: number, psi: number, u: number, options: InnapropStepOptions) {
  const { lr, alpha = 0.1, beta = 0.9, weightDecay = 0 } = options;
  const decayed = (1 - lr * weightDecay) * theta;
  const next = (1 - lr / beta) * psi + lr * (1 / beta - alpha) * decayed;
  const pull = lr / (beta - lr);
  return {
    psi: next,
    theta: (1 + pull * (1 - alpha * beta)) * decayed - pull * next - lr * beta * u,
  };
}

const rule: StepRule<InnapropStepOptions> = {
  inputs: ["grad"],
  state: ["lag", "v"],
  followers: ["lag"],
  options: { lr: 0.01, weightDecay: 0.1, step: 7 },
  run: (tensors, options) => innapropStep(tensors as unknown as InnapropState, options),
  runSync: (tensors, options) => {
    innapropStepSync(tensors as unknown as InnapropState, options);
  },
  reference: ({ theta = 0, grad = 0, lag = 0, v = 0 }, options) => {
    const { lr, step, alpha = 0.1, beta = 0.9, sigma = 0.999, eps = 1e-8 } = options;
    const second = sigma * v + (1 - sigma) * grad ** 2;
    const u = grad / (Math.sqrt(second / (1 - sigma ** step)) + eps);
    const offset = 1 - alpha * beta;
    const after = published(theta, lag + offset * theta, u, options);
    const move = (lr / beta) * (Math.abs(lag) + Math.abs(theta)) + lr * beta * Math.abs(u);
    return {
      v: { value: second, scale: second },
      theta: { value: after.theta, scale: Math.abs(theta) + move },
      lag: {
        value: after.psi - offset * after.theta,
        scale: Math.abs(lag) + Math.abs(theta) + move,
      },
    };
  },
};

eachDevice("innaprop_step", (device) => {
  stepBattery(device, rule);
  describe("alpha and beta 2", () => {
    stepBattery(device, { ...rule, options: { ...rule.options, alpha: 2, beta: 2, lr: 0.3 } });
  });

  test("alpha beta = 1: RMSprop with step lr beta, and no lag", async () => {
    const values = vectors(rule, 1000, 5);
    values["lag"]!.fill(0);
    const after = await stepped(rule, device, values, { lr: 0.1, step: 1, alpha: 2, beta: 0.5 });
    values["theta"]!.forEach((theta, i) => {
      const g = values["grad"]![i]!;
      const root = Math.sqrt((0.999 * values["v"]![i]! + 0.001 * g * g) / 0.001);
      const wanted = theta - (0.1 * 0.5 * g) / (root + 1e-8);
      expect(Math.abs(after["theta"]![i]! - wanted)).toBeLessThan(1e-6 * (1 + Math.abs(theta)));
    });
    expect(after["lag"]!.every((x) => x === 0)).toBe(true);
  });

  test("the options it refuses", async () => {
    for (const bad of [
      { step: 0 },
      { alpha: -1 },
      { beta: 0 },
      { beta: 0.01 },
      { sigma: 1 },
      { eps: -1 },
    ]) {
      const options = { ...rule.options, ...bad };
      await expect(stepped(rule, device, vectors(rule, 3), options)).rejects.toMatchObject({
        code: "ARGUMENT",
      });
    }
  });
});
