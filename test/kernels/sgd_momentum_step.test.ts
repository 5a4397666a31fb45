import {
  type SgdState,
  type SgdStepOptions,
  sgdMomentumStep,
  sgdMomentumStepSync,
} from "../../lib/ops/sgd-momentum-step.js";
import { eachDevice } from "../helpers/each-device.js";
import { type StepRule, stepBattery, stepped } from "../helpers/step-battery.js";

const rule = (more: Partial<SgdStepOptions>): StepRule<SgdStepOptions> => ({
  inputs: ["grad"],
  state: ["buffer"],
  options: { lr: 0.1, weightDecay: 0.01, ...more },
  run: (tensors, options) => sgdMomentumStep(tensors as unknown as SgdState, options),
  runSync: (tensors, options) => {
    sgdMomentumStepSync(tensors as unknown as SgdState, options);
  },
  reference: ({ theta = 0, grad = 0, buffer = 0 }, options) => {
    const { lr, momentum = 0.9, weightDecay = 0, nesterov = false } = options;
    const step = (t: number, g: number, b: number, sign: 1 | -1) => {
      const full = g + weightDecay * t;
      const next = momentum * b + full;
      return { buffer: next, theta: t + sign * lr * (nesterov ? full + momentum * next : next) };
    };
    const value = step(theta, grad, buffer, -1);
    const scale = step(Math.abs(theta), Math.abs(grad), Math.abs(buffer), 1);
    return {
      theta: { value: value.theta, scale: scale.theta },
      buffer: { value: value.buffer, scale: scale.buffer },
    };
  },
});

eachDevice("sgd_momentum_step", (device) => {
  describe("heavy ball", () => {
    stepBattery(device, rule({}));
  });
  describe("nesterov", () => {
    stepBattery(device, rule({ nesterov: true, momentum: 0.5 }));
  });

  test("1/2 (x^2 + 10 y^2) from (1, 1), lr 0.1: (0.9, 0), (0.72, -0.9)", async () => {
    let values: Record<string, Float32Array> = {
      theta: new Float32Array([1, 1]),
      buffer: new Float32Array(2),
    };
    for (const expected of [
      [0.9, 0],
      [0.72, -0.9],
    ]) {
      const [x = 0, y = 0] = values["theta"]!;
      values = await stepped(
        rule({}),
        device,
        { ...values, grad: new Float32Array([x, 10 * y]) },
        { lr: 0.1 },
      );
      expected.forEach((value, i) => {
        expect(values["theta"]![i]).toBeCloseTo(value, 6);
      });
    }
  });
});
