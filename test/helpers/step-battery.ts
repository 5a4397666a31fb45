/** What holds for every fused optimizer step, whatever its formula; each kernel's test file adds its own oracles. */
import { Tensor } from "../../lib/tensor/index.js";
import type { Device } from "../../lib/binding/index.js";
import { numbers } from "./flat-data.js";

type Values = Record<string, number>;
type Tensors = Record<string, Tensor>;

export interface StepRule<Options> {
  /** Vectors read only: the gradient, and estimates of curvature. */
  readonly inputs: readonly string[];
  /** State vectors, all zero before the first step. theta comes on top. */
  readonly state: readonly string[];
  /** Those of them that follow theta: they stand still with lr 0. Default none. */
  readonly followers?: readonly string[];
  /** Of the tests that do not say otherwise; with weight decay, where there is one. */
  readonly options: Options & { lr: number; weightDecay?: number | undefined };
  /** The formula has a library function, which differs from device to device. Default false. */
  readonly inexact?: boolean;
  run(tensors: Tensors, options: Options): Promise<unknown>;
  runSync(tensors: Tensors, options: Options): unknown;
  /**
   * The step of one element in float64, from the published formula: the new value of theta and of each state, and the sum of
   * the absolute values its terms have, which is what a relative rounding error is relative to.
   */
  reference(x: Values, options: Options): Record<string, { value: number; scale: number }>;
}

/** Largest relative error of one element: some ten roundings of float32, and the roundings of the constants. */
const rounding = 16 * 2 ** -24;

export function vectors(
  rule: Pick<StepRule<never>, "inputs" | "state">,
  size: number,
  seed = 1,
): Record<string, Float32Array> {
  const draw = numbers(seed);
  const made: Record<string, Float32Array> = {};
  for (const name of ["theta", ...rule.inputs, ...rule.state]) {
    // v and h average squares: not negative.
    const sign = name === "v" || name === "h" ? Math.abs : (x: number) => x;
    made[name] = Float32Array.from({ length: size }, () => sign(draw()));
  }
  return made;
}

const floats = async (tensor: Tensor | undefined) => (await tensor!.data()) as Float32Array;

/** Puts the vectors on the device, runs the step, and gives all of them back. */
export async function stepped<Options>(
  rule: StepRule<Options>,
  device: Device,
  values: Readonly<Record<string, Float32Array>>,
  options: Options,
  sync = false,
): Promise<Record<string, Float32Array>> {
  const tensors: Tensors = {};
  for (const [name, array] of Object.entries(values))
    tensors[name] = Tensor.from(array, undefined, { device });
  if (sync) rule.runSync(tensors, options);
  else await rule.run(tensors, options);
  const after: Record<string, Float32Array> = {};
  for (const [name, tensor] of Object.entries(tensors)) {
    after[name] = await floats(tensor);
    tensor.dispose();
  }
  return after;
}

/** The bits of every vector; comparing strings is much faster than Jest's walk over arrays. */
export function bits(
  vectors: Readonly<Record<string, Float32Array | undefined>>,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(vectors).map(([name, x]) => [
      name,
      x ? Buffer.from(x.buffer, x.byteOffset, x.byteLength).toString("latin1") : "missing",
    ]),
  );
}
const pick = (values: Readonly<Record<string, Float32Array>>, names: readonly string[]) =>
  bits(Object.fromEntries(names.map((name) => [name, values[name]])));

export function stepBattery<Options>(device: Device, rule: StepRule<Options>): void {
  const { options } = rule;
  const names = ["theta", ...rule.inputs, ...rule.state];

  test.each([0, 1, 15, 1000, 40_001])(
    "%i elements against the formula in float64",
    async (size) => {
      const before = vectors(rule, size);
      const after = await stepped(rule, device, before, options);
      expect(await stepped(rule, device, before, options, true)).toEqual(after);
      for (const name of rule.inputs) expect(after[name]).toEqual(before[name]);
      for (let i = 0; i < size; ++i) {
        const x = Object.fromEntries(names.map((name) => [name, before[name]![i]!]));
        for (const [name, { value, scale }] of Object.entries(rule.reference(x, options))) {
          const difference = Math.abs(after[name]![i]! - value);
          if (!(difference <= rounding * scale)) {
            throw new Error(
              `${name}[${i}]: ${after[name]![i]!} instead of ${value}, scale ${scale}`,
            );
          }
        }
      }
    },
  );

  if (device !== "cpu" && !rule.inexact) {
    test("the same bits as on the CPU", async () => {
      const before = vectors(rule, 20_011);
      const there = await stepped(rule, device, before, options);
      expect(bits(there)).toEqual(bits(await stepped(rule, "cpu", before, options)));
    });
  }

  test("no gradient, no state, no decay: theta keeps its bits, -0 and all", async () => {
    const before = vectors(rule, 1001);
    before["theta"]!.set([0, -0, 1e-42, -1e-42, 3.4e38]);
    for (const name of [...rule.inputs, ...rule.state]) before[name]!.fill(0);
    const after = await stepped(rule, device, before, { ...options, weightDecay: 0 });
    expect(bits(after)).toEqual(bits(before));
  });

  test("lr = 0: theta keeps its bits, the state advances as with any lr", async () => {
    const before = vectors(rule, 1001);
    before["theta"]!.set([0, -0, 1e-42, -1e-42, 3.4e38]);
    const still = await stepped(rule, device, before, { ...options, lr: 0, weightDecay: 0 });
    const moved = await stepped(rule, device, before, { ...options, weightDecay: 0 });
    expect(pick(still, ["theta"])).toEqual(pick(before, ["theta"]));
    const advancing = rule.state.filter((name) => !rule.followers?.includes(name));
    expect(pick(still, advancing)).toEqual(pick(moved, advancing));
    for (const name of advancing) expect(still[name]).not.toEqual(before[name]);
  });

  test("splitting the vector changes nothing", async () => {
    const before = vectors(rule, 20_011);
    const whole = await stepped(rule, device, before, options);
    const joined = Object.fromEntries(names.map((name) => [name, new Float32Array(20_011)]));
    for (const [from, to] of [
      [0, 1],
      [1, 333],
      [333, 20_011],
    ] as const) {
      const part = Object.fromEntries(names.map((name) => [name, before[name]!.slice(from, to)]));
      const after = await stepped(rule, device, part, options);
      for (const name of names) joined[name]!.set(after[name]!, from);
    }
    expect(bits(joined)).toEqual(bits(whole));
  });

  test("an input that is not finite changes nothing, and is found; unless it is not looked for", async () => {
    for (const name of rule.inputs) {
      if (name === "h") continue; // Sophia's state, read only
      const before = vectors(rule, 20_011);
      const tensors: Tensors = {};
      before[name]![17_003] = NaN;
      before[name]![19_000] = Infinity;
      for (const [key, array] of Object.entries(before))
        tensors[key] = Tensor.from(array, undefined, { device });
      const found = { code: "NON_FINITE", details: { index: 17_003 } };
      await expect(rule.run(tensors, options)).rejects.toMatchObject(found);
      expect(() => rule.runSync(tensors, options)).toThrow(
        `${name} is not finite at position 17003`,
      );
      for (const key of names)
        expect(bits({ x: await floats(tensors[key]) })).toEqual(bits({ x: before[key] }));
      await rule.run(tensors, { ...options, checkFinite: false });
      const written = ["theta", ...rule.state];
      const after = await Promise.all(written.map((key) => floats(tensors[key])));
      expect(after.some((x) => Number.isNaN(x[17_003]))).toBe(true);
      expect(after.every((x) => Number.isFinite(x[17_002]))).toBe(true);
      for (const tensor of Object.values(tensors)) tensor.dispose();
    }
  });

  test("bad tensors and options are refused before any work", async () => {
    const good = () => {
      const tensors: Tensors = {};
      for (const name of names) tensors[name] = Tensor.zeros([6], { device });
      return tensors;
    };
    for (const name of names) {
      const disposed = Tensor.zeros([6], { device });
      disposed.dispose();
      for (const [bad, code] of [
        [Tensor.zeros([5], { device }), "SHAPE"],
        [Tensor.zeros([6], { device, dtype: "float64" }), "DTYPE"],
        [Tensor.zeros([6, 2], { device }).slice(1, 0, 1), "ARGUMENT"],
        [disposed, "DISPOSED"],
        [undefined as unknown as Tensor, "ARGUMENT"],
      ] as const) {
        // theta gives the size: with another theta it is the next vector that does not fit.
        await expect(rule.run({ ...good(), [name]: bad }, options)).rejects.toMatchObject({ code });
      }
    }
    const shared = good();
    shared["grad"] = shared["theta"]!.reshape([2, 3]);
    await expect(rule.run(shared, options)).rejects.toThrow("theta and grad share memory");
    for (const change of [{ lr: -1 }, { lr: NaN }, { weightDecay: Infinity }]) {
      await expect(rule.run(good(), { ...options, ...change })).rejects.toMatchObject({
        code: "ARGUMENT",
      });
    }
  });
}
