import {
  type AdaHessianState,
  type AdaHessianStepOptions,
  adaHessianStep,
  adaHessianStepSync,
} from "../../lib/ops/adahessian-step.js";
import { eachDevice } from "../helpers/each-device.js";
import { type StepRule, bits, stepBattery, stepped, vectors } from "../helpers/step-battery.js";

type Values = Record<string, Float32Array>;

const rule = (more: Partial<AdaHessianStepOptions>): StepRule<AdaHessianStepOptions> => ({
  inputs: ["grad", "diagonal"],
  state: ["m", "v"],
  options: { lr: 0.15, weightDecay: 0.01, step: 3, ...more },
  run: (tensors, options) => adaHessianStep(tensors as unknown as AdaHessianState, options),
  runSync: (tensors, options) => {
    adaHessianStepSync(tensors as unknown as AdaHessianState, options);
  },
  reference: ({ theta = 0, grad = 0, diagonal = 0, m = 0, v = 0 }, options) => {
    const { lr, step, weightDecay = 0, eps = 1e-4, betas: [b1, b2] = [0.9, 0.999] } = options;
    const { hessianPower = 1, minDenominator = 0 } = options;
    const second = b2 * v + (1 - b2) * diagonal ** 2;
    const first = b1 * m + (1 - b1) * grad;
    const size = Math.abs(b1 * m) + Math.abs((1 - b1) * grad);
    const root = Math.sqrt(second) / Math.sqrt(1 - b2 ** step);
    const denominator = Math.max(root ** hessianPower + eps, minDenominator);
    const scale = size / (1 - b1 ** step) / denominator;
    return {
      m: { value: first, scale: size },
      v: { value: second, scale: second },
      theta: {
        value: theta - lr * (first / (1 - b1 ** step) / denominator + weightDecay * theta),
        scale: Math.abs(theta) + lr * scale,
      },
    };
  },
});

eachDevice("adahessian_step", (device) => {
  describe("published defaults", () => {
    stepBattery(device, rule({}));
  });
  describe("power 1/2, a least denominator", () => {
    stepBattery(device, rule({ hessianPower: 0.5, minDenominator: 0.5, betas: [0.5, 0.9] }));
  });
  describe("power 0.3", () => {
    stepBattery(device, { ...rule({ hessianPower: 0.3 }), inexact: true });
  });
  describe("power 0: averaged gradient with lr / (1 + eps)", () => {
    stepBattery(device, rule({ hessianPower: 0 }));
  });

  const run = (values: Values, options: AdaHessianStepOptions) =>
    stepped(rule({}), device, values, options);
  const zeros = (size: number) => new Float32Array(size);

  test("1/2 (x^2 + 10 y^2) from (1, 1), defaults: both coordinates contract alike", async () => {
    let state: Values = {
      theta: new Float32Array([1, 1]),
      m: zeros(2),
      v: zeros(2),
    };
    const wanted = [
      [0.850015, 0.8500015],
      [0.71186973, 0.71184487],
      [0.58530214, 0.58526793],
    ];
    for (let step = 1; step <= 3; ++step) {
      const [x = 0, y = 0] = state["theta"]!;
      const grad = new Float32Array([x, 10 * y]);
      state = await run(
        { ...state, grad, diagonal: new Float32Array([-1, 10]) },
        { lr: 0.15, step },
      );
      // The printed digits, and what three float32 steps can lose.
      wanted[step - 1]!.forEach((value, i) => {
        expect(Math.abs(state["theta"]![i]! - value)).toBeLessThan(1.5e-7);
      });
    }
  });

  test("a diagonal H: the first step is lr H theta / (|H| + eps), without randomness", async () => {
    const h = [4, 0.5, -2, 30];
    const theta = new Float32Array([1, -2, 3, 0.25]);
    const grad = Float32Array.from(h, (d, i) => d * theta[i]!);
    const values = { theta, grad, diagonal: new Float32Array(h), m: zeros(4), v: zeros(4) };
    const after = await run(values, { lr: 0.1, step: 1 });
    h.forEach((d, i) => {
      expect(after["theta"]![i]).toBeCloseTo(
        theta[i]! - (0.1 * d * theta[i]!) / (Math.abs(d) + 1e-4),
        6,
      );
    });
  });

  test("scaling the loss changes nothing but the part of eps", async () => {
    const values: Values = { ...vectors(rule({}), 500), m: zeros(500), v: zeros(500) };
    const scaled = {
      ...values,
      grad: values["grad"]!.map((x) => x * 1024),
      diagonal: values["diagonal"]!.map((x) => x * 1024),
    };
    const a = await run(values, { lr: 0.1, step: 1, eps: 0 });
    const b = await run(scaled, { lr: 0.1, step: 1, eps: 0 });
    expect(bits({ x: b["theta"] })).toEqual(bits({ x: a["theta"] }));
  });

  // Rows of a matrix, the kernels of a convolution, a bias, and a run longer than a tile of the kernel.
  const segments = [
    { size: 6 * 40, block: 40 },
    { size: 13, block: 1 },
    { size: 16 * 9, block: 9 },
    { size: 0, block: 5 },
    { size: 2 * 20_003, block: 20_003 },
    { size: 3 * 4096, block: 4096 },
  ];
  const total = segments.reduce((sum, { size }) => sum + size, 0);

  test("averages |diagonal| over blocks, and never across tensors", async () => {
    const values = vectors(rule({}), total, 5);
    const mean = new Float32Array(total);
    let start = 0;
    for (const { size, block } of segments) {
      for (const end = start + size; start < end; start += block) {
        let sum = 0;
        for (let i = start; i < start + block; ++i) sum += Math.abs(values["diagonal"]![i]!);
        mean.fill(sum / block, start, start + block);
      }
    }
    const options = { lr: 0.1, step: 2 };
    const averaged = await run(values, { ...options, segments });
    const given = await run({ ...values, diagonal: mean }, options);
    for (const name of ["theta", "m", "v"]) {
      let worst = 0;
      averaged[name]!.forEach((x, i) => {
        worst = Math.max(worst, Math.abs(x - given[name]![i]!) / (0.1 + Math.abs(x)));
      });
      // The means may differ by a rounding of float32, which every step of the formula passes on.
      expect(worst).toBeLessThanOrEqual(4 * 2 ** -23);
    }
    const plain = bits(await run(values, options));
    expect(bits(averaged)["v"] === plain["v"]).toBe(false);
  });

  test("each tensor by itself gives the same bits", async () => {
    const values = vectors(rule({}), total, 6);
    const whole = await run(values, { lr: 0.1, step: 2, segments });
    let start = 0;
    for (const segment of segments) {
      const part = Object.fromEntries(
        Object.entries(values).map(([name, x]) => [name, x.slice(start, start + segment.size)]),
      );
      const after = await run(part, { lr: 0.1, step: 2, segments: [segment] });
      const wanted = whole["theta"]!.slice(start, start + segment.size);
      expect(bits({ x: after["theta"] })).toEqual(bits({ x: wanted }));
      start += segment.size;
    }
  });

  test("segments that do not fit", async () => {
    for (const [bad, message] of [
      [[{ size: 5, block: 2 }], "a divisor of 5 for segments[0].block"],
      [[{ size: 4, block: 2 }], "sizes with the sum 6 for segments"],
      [[{ size: 6, block: 0 }], "for segments[0].block"],
      [[{ size: 6.5, block: 2 }], "for segments[0].size"],
    ] as const) {
      const values = vectors(rule({}), 6);
      await expect(run(values, { lr: 0.1, step: 1, segments: bad })).rejects.toThrow(message);
    }
    await expect(run({}, { lr: 0.1, step: 1, hessianPower: 1.5 })).rejects.toThrow(
      "for hessianPower",
    );
    await expect(run({}, { lr: 0.1, step: 1, minDenominator: -1 })).rejects.toThrow(
      "for minDenominator",
    );
  });
});
