import { gptqFactor } from "../../lib/ops/gptq-factor.js";
import { gptqQuantizeColumns } from "../../lib/ops/gptq-quantize-columns.js";
import type { Bits } from "../../lib/ops/quantization-grid.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { ar1Layer, conditionalLeastSquares, matrix } from "../helpers/gptq-oracle.js";
import { readVectors } from "../helpers/vectors.js";

interface VectorCase {
  bits: Bits;
  sym: boolean;
  group_size: number;
  act_order: boolean;
  static_groups: boolean;
  percdamp: number;
  codes: number[][];
  scales: number[][];
  zeros: number[][];
  g_idx: number[];
  loss: number;
  fragile: boolean;
  float32_replay_same_codes: boolean;
}
interface Vectors {
  W: number[][];
  H: number[][];
  cases: VectorCase[];
  dead_column_case: {
    dead_column: number;
    H: number[][];
    bits: Bits;
    sym: boolean;
    group_size: number;
    codes: number[][];
    loss: number;
  };
}

const vectors = readVectors<Vectors>("gptq.json");

interface Settings {
  bits?: Bits;
  sym?: boolean;
  groupSize?: number;
  descAct?: boolean;
  staticGroups?: boolean;
  dampPercent?: number;
  blockSize?: number;
  mse?: boolean;
}

async function run(W: Tensor, H: Tensor, settings: Settings) {
  const factor = await gptqFactor(H, {
    dampPercent: settings.dampPercent ?? 0.01,
    actOrder: settings.descAct ?? false,
    precision: "float64",
  });
  const codes = await gptqQuantizeColumns(W, factor, {
    bits: settings.bits ?? 4,
    sym: settings.sym ?? true,
    groupSize: settings.groupSize ?? -1,
    staticGroups: settings.staticGroups ?? false,
    blockSize: settings.blockSize ?? 128,
    mse: settings.mse ?? false,
    scaleDtype: "float32",
  });
  factor.factor.dispose();
  return { ...codes, order: factor.order, damping: factor.damping };
}

const nested = (flat: ArrayLike<number>, columns: number) =>
  Array.from({ length: flat.length / columns }, (_, r) =>
    Array.from({ length: columns }, (_, c) => flat[r * columns + c]!),
  );

eachDevice("gptq_quantize_columns", (device) => {
  const W = () => matrix(vectors.W, "float32", device);
  const H = () => matrix(vectors.H, "float64", device);

  test.each(vectors.cases.map((one, i) => [i, one] as const))("vector case %i", async (_, one) => {
    const settings: Settings = {
      bits: one.bits,
      sym: one.sym,
      groupSize: one.group_size,
      descAct: one.act_order,
      staticGroups: one.static_groups,
      dampPercent: one.percdamp,
    };
    const results = await Promise.all(
      [1, 2, 3, 4, 5, 8, 128].map((blockSize) => run(W(), H(), { ...settings, blockSize })),
    );
    for (const q of results) {
      expect(Array.from(q.groupIndex)).toEqual(one.g_idx);
      expect(Math.max(...q.codes)).toBeLessThan(2 ** one.bits);
      if (one.fragile || !one.float32_replay_same_codes) continue;
      expect(nested(q.codes, 8)).toEqual(one.codes);
      expect(nested(q.zeros, 6)).toEqual(one.zeros);
      expect(Math.abs(q.loss - one.loss) / one.loss).toBeLessThan(1e-4);
      one.scales.flat().forEach((scale, i) => {
        expect(Math.abs((q.scales[i] ?? 0) - scale)).toBeLessThan(1e-6 * scale);
      });
    }
  });

  test("most vector cases are asserted, not skipped as fragile", () => {
    expect(
      vectors.cases.filter((one) => !one.fragile && one.float32_replay_same_codes).length,
    ).toBeGreaterThan(20);
  });

  test("a dead column changes nothing of the others and is quantized as 0", async () => {
    const one = vectors.dead_column_case;
    const q = await run(W(), matrix(one.H, "float64", device), {
      bits: one.bits,
      sym: one.sym,
      groupSize: one.group_size,
    });
    expect(nested(q.codes, 8)).toEqual(one.codes);
    for (let row = 0; row < 6; ++row) expect(q.codes[row * 8 + one.dead_column]).toBe(q.zeros[row]);
  });

  // The oracle forms no factor at all: after each column, the free weights are set to their conditional optimum.
  test.each([
    { out: 1, in: 1, name: "one element" },
    { out: 3, in: 37, name: "odd sizes" },
    { out: 5, in: 70, name: "more than one panel", groupSize: 16 },
    { out: 67, in: 33, name: "more than one strip", groupSize: 7, descAct: true },
    {
      out: 4,
      in: 48,
      name: "static groups, reordered",
      groupSize: 8,
      descAct: true,
      staticGroups: true,
    },
    { out: 4, in: 150, name: "groups wider than the block", groupSize: 60, blockSize: 32 },
    { out: 4, in: 40, name: "range search", groupSize: 10, mse: true, sym: false },
  ])("equals the conditional least-squares oracle: $name", async (one) => {
    const layer = ar1Layer(one.out, one.in, 0.8, one.in * 31 + one.out);
    const settings: Settings = { bits: 3, sym: false, ...one };
    const q = await run(
      matrix(layer.W, "float32", device),
      matrix(layer.H, "float64", device),
      settings,
    );
    const oracle = conditionalLeastSquares(layer.W, layer.H, q.order, {
      bits: 3,
      sym: settings.sym ?? false,
      groupSize: settings.groupSize ?? -1,
      staticGroups: settings.staticGroups ?? false,
      mse: settings.mse ?? false,
      dampPercent: 0.01,
    });
    const same = oracle.codes.flat().filter((code, i) => code === q.codes[i]).length;
    // float32 against float64: only codes within 1e-5 of a tie may differ.
    const ties = oracle.margins.flat().filter((margin) => margin < 1e-4).length;
    expect(oracle.codes.flat().length - same).toBeLessThanOrEqual(ties * 4);
    if (ties === 0) expect(Math.abs(q.loss - oracle.loss)).toBeLessThan(1e-3 * oracle.loss + 1e-12);
  });

  test("a block wider than the layer is the layer", async () => {
    const layer = ar1Layer(3, 20, 0.8, 4);
    const [W20, H20] = [matrix(layer.W, "float32", device), matrix(layer.H, "float64", device)];
    const wide = await run(W20, H20, { blockSize: Number.MAX_SAFE_INTEGER });
    expect(wide.codes).toEqual((await run(W20, H20, { blockSize: 20 })).codes);
  });

  test("an empty layer gives empty codes", async () => {
    const q = await run(
      Tensor.empty([0, 3], { device }),
      matrix(
        [
          [1, 0, 0],
          [0, 1, 0],
          [0, 0, 1],
        ],
        "float64",
        device,
      ),
      {},
    );
    expect(q.codes.length).toBe(0);
    expect(q.loss).toBe(0);
  });

  test("a diagonal H gives round-to-nearest, any positive scale of H the same codes, rows are independent", async () => {
    const layer = ar1Layer(6, 20, 0.9, 5);
    const diagonal = layer.H.map((row, i) => row.map((value, j) => (i === j ? value : 0)));
    const scaled = layer.H.map((row) => row.map((value) => value * 1e6));
    const W6 = matrix(layer.W, "float32", device);
    const plain = await run(W6, matrix(layer.H, "float64", device), {});
    const flat = await run(W6, matrix(diagonal, "float64", device), { sym: false });
    expect((await run(W6, matrix(scaled, "float64", device), {})).codes).toEqual(plain.codes);
    expect(flat.codes).not.toEqual(plain.codes);
    // Asymmetric: on a symmetric grid the largest weight is an exact tie.
    const rounded = layer.W.flatMap((row, r) =>
      row.map((w) => Math.min(15, Math.max(0, roundEven(w / flat.scales[r]!) + flat.zeros[r]!))),
    );
    expect(Array.from(flat.codes)).toEqual(rounded);
    const alone = await run(
      matrix([layer.W[4]!], "float32", device),
      matrix(layer.H, "float64", device),
      {},
    );
    expect(alone.codes).toEqual(plain.codes.slice(4 * 20, 5 * 20));
  });

  test("a strided view of W is read as the view it is", async () => {
    const layer = ar1Layer(8, 12, 0.8, 9);
    const transposed = matrix(
      layer.W[0]!.map((_, c) => layer.W.map((row) => row[c]!)),
      "float32",
      device,
    );
    const a = await run(transposed.transpose(), matrix(layer.H, "float64", device), {});
    const b = await run(matrix(layer.W, "float32", device), matrix(layer.H, "float64", device), {});
    expect(a.codes).toEqual(b.codes);
  });
});

function roundEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}
