/** A battery over the table of methods: each compresses models as a plain loop over whole models does. */
import { memoryStats } from "../../../lib/binding/index.js";
import { compress, compressJob, type ModuleRecipe, presets } from "../../../lib/compress/index.js";
import {
  layerPasses,
  type LayerPassOptions,
  type LayerMethod,
} from "../../../lib/compress/modules/layer-passes.js";
import { inputGram } from "../../../lib/curvature/index.js";
import { mlp, transformerLM } from "../../../lib/models/index.js";
import { type Linear, type Module } from "../../../lib/nn/index.js";
import { copyInto } from "../../../lib/ops/copy.js";
import { keep, scope, Tensor } from "../../../lib/tensor/index.js";

const gridOptions = { bits: 3, groupSize: 16 } as const;
/** Every method with options, and what its weights must look like. */
const methods: Readonly<
  Record<
    LayerMethod,
    { options: LayerPassOptions; check: (weights: Float32Array, columns: number) => void }
  >
> = {
  rtn: { options: gridOptions, check: fewValues },
  gptq: { options: { ...gridOptions, descAct: true, staticGroups: true }, check: fewValues },
  magnitude: { options: { sparsity: 0.5 }, check: zerosAre(0.5) },
  wanda: { options: { pattern: "2:4" }, check: twoOfFour },
  sparsegpt: { options: { pattern: "2:4", bits: 4, groupSize: 16 }, check: twoOfFour },
};
const names = Object.keys(methods) as LayerMethod[];

/** At most 2^3 values in each group of 16 weights. */
function fewValues(weights: Float32Array): void {
  for (let at = 0; at < weights.length; at += 16)
    expect(new Set(weights.subarray(at, at + 16)).size).toBeLessThanOrEqual(8);
}
function zerosAre(share: number) {
  return (weights: Float32Array): void => {
    expect(weights.filter((w) => w === 0)).toHaveLength(weights.length * share);
  };
}
function twoOfFour(weights: Float32Array): void {
  for (let at = 0; at < weights.length; at += 4)
    expect(weights.subarray(at, at + 4).filter((w) => w === 0).length).toBeGreaterThanOrEqual(2);
}

interface Case {
  readonly model: Module & { forward(x: Tensor): Tensor };
  readonly batches: readonly Tensor[];
  /** Blocks, and in each the layers with the same input, in the order in which they run. */
  readonly order: readonly (readonly (readonly string[])[])[];
}

const cases = {
  transformer: () => ({
    model: transformerLM({ vocabulary: 20, context: 8, width: 32, layers: 2, heads: 2 }),
    batches: [0, 1, 2].map((b) => {
      const tokens = Int32Array.from(
        { length: 64 },
        (_, i) => (7 * i + 3 * b + ((i * i) % 5)) % 20,
      );
      return Tensor.from(tokens, [8, 8]);
    }),
    order: [0, 1].map((i) =>
      [
        ["attention.query", "attention.key", "attention.value"],
        ["attention.output"],
        ["feedForward.up"],
        ["feedForward.down"],
      ].map((group) => group.map((name) => `blocks.${i}.${name}`)),
    ),
  }),
  mlp: () => ({
    model: mlp([32, 48, 16], { activation: "tanh" }),
    batches: [0, 1].map((b) =>
      Tensor.from(
        Float32Array.from({ length: 40 * 32 }, (_, i) => Math.sin(i * 1.7 + b) + (i % 32) / 40),
        [40, 32],
      ),
    ),
    order: [[["layers.0"], ["layers.1"]]],
  }),
} satisfies Readonly<Record<string, () => Case>>;

const layerOf = (model: Module, path: string): Linear =>
  [...model.modules()].find(({ name }) => name === path)?.module as Linear;
const weightOf = (model: Module, path: string): Float32Array =>
  layerOf(model, path).weight.dataSync() as Float32Array;

/** Runs the whole model and keeps every input of a layer. */
function inputsOf({ model, batches }: Case, path: string): Tensor[] {
  const layer = layerOf(model, path);
  const inputs: Tensor[] = [];
  layer.hook = (input, output) => {
    inputs.push(keep(input.contiguous().reshape([-1, input.shape.at(-1) ?? 0])));
    return output;
  };
  for (const batch of batches) scope(() => void model.forward(batch));
  layer.hook = undefined;
  return inputs;
}

/** What `compress` must do, the plain way: for each layer the whole model on all data. */
async function plainly(
  one: Case,
  method: LayerMethod,
  options: LayerPassOptions,
  trueSequential: boolean,
): Promise<void> {
  for (const block of one.order) {
    const stages = trueSequential ? block.map((group) => [group]) : [block];
    for (const stage of stages) {
      const grams = new Map<string, ReturnType<typeof inputGram>>();
      for (const name of stage.flat()) {
        const gram = inputGram(layerOf(one.model, name).weight.shape[1] ?? 0);
        for (const input of inputsOf(one, name)) await gram.add(input);
        grams.set(name, gram);
      }
      for (const [name, gram] of grams) {
        const { weight } = layerOf(one.model, name);
        const found = await layerPasses[method].run({
          weight,
          gram,
          options,
          name,
          signal: undefined,
        });
        copyInto("test", found.weight, weight);
      }
    }
  }
}

describe.each(Object.entries(cases))("%s", (kind, made: () => Case) => {
  test.each(names)("%s: the weights of a plain loop, bit for bit", async (method) => {
    const { options, check } = methods[method];
    for (const trueSequential of [true, false]) {
      const [ours, theirs] = [made(), made()];
      theirs.model.loadStateDict(ours.model.stateDict());
      await plainly(theirs, method, options, trueSequential);
      const recipe = { ...options, method, trueSequential };
      const result = await compress(ours.model, recipe, { calibration: ours.batches });
      const paths = ours.order.flat(2);
      expect(result.rows.map(({ name }) => name)).toEqual(paths);
      for (const row of result.rows) {
        const weights = weightOf(ours.model, row.name);
        expect(weights).toEqual(weightOf(theirs.model, row.name));
        check(weights, row.shape[1]);
        const tokens = kind === "mlp" ? 80 : 192;
        expect(row).toMatchObject({ method, bits: options.bits, tokens });
        const zeros = weights.filter((w) => w === 0).length;
        expect(row.sparsity).toBeCloseTo(zeros / weights.length, 12);
        const mask = result.masks.get(row.name);
        expect(mask === undefined).toBe(method === "rtn" || method === "gptq");
        mask?.dataSync().forEach((kept, i) => {
          if (kept === 0) expect(weights[i]).toBe(0);
        });
        expect(result.quantized.has(row.name)).toBe(options.bits !== undefined);
      }
      result.dispose();
    }
  });

  test("errors of rows are those of the layer's outputs; gptq and sparsegpt beat their baselines", async () => {
    for (const method of ["gptq", "sparsegpt", "wanda", "rtn"] as const) {
      const one = made();
      const path = one.order[0]?.[0]?.[0] ?? "";
      const before = weightOf(one.model, path);
      const inputs = inputsOf(one, path).map((x) => x.dataSync() as Float32Array);
      const { rows } = await compress(
        one.model,
        { ...methods[method].options, method },
        { calibration: one.batches },
      );
      const after = weightOf(one.model, path);
      const columns = rows[0]?.shape[1] ?? 0;
      const energy = (weights: Float64Array): number => {
        let sum = 0;
        for (const x of inputs)
          for (let t = 0; t < x.length; t += columns)
            for (let r = 0; r < weights.length; r += columns) {
              let y = 0;
              for (let i = 0; i < columns; ++i) y += (x[t + i] ?? 0) * (weights[r + i] ?? 0);
              sum += y * y;
            }
        return sum;
      };
      const lost = energy(Float64Array.from(before, (w, i) => w - (after[i] ?? 0)));
      const row = rows[0];
      // The statistic is made of float32 products.
      expect((row?.relativeError ?? NaN) / (lost / energy(Float64Array.from(before)))).toBeCloseTo(
        1,
        4,
      );
      if (method !== "rtn" && method !== "wanda")
        expect(row?.relativeError).toBeLessThan(row?.baselineRelativeError ?? 0);
    }
  });

  test("an abort, an error and leaving the loop put everything back, and nothing leaks", async () => {
    const one = made();
    const calibration = one.batches;
    const paths = one.order.flat(2);
    const state = () => paths.map((path) => weightOf(one.model, path));
    const before = state();
    one.model.train(true);
    const blocks = memoryStats().liveBlocks;
    for await (const event of compressJob(one.model, "50%", { calibration }))
      if (event.type === "layer") break;
    expect(state()).toEqual(before);
    const controller = new AbortController();
    const onProgress = () => {
      controller.abort();
    };
    await expect(
      compress(one.model, "50%", { calibration, signal: controller.signal, onProgress }),
    ).rejects.toMatchObject({ code: "ABORTED" });
    expect(state()).toEqual(before);
    const evaluate = (): number => {
      if (weightOf(one.model, paths[0] ?? "").includes(0)) throw new Error("no after");
      return 1;
    };
    await expect(compress(one.model, "50%", { calibration, evaluate })).rejects.toThrow("no after");
    expect(state()).toEqual(before);
    expect([...one.model.modules()].every(({ module }) => module.training)).toBe(true);
    // What was aborted ends in the background and frees its tensors then.
    for (let i = 0; i < 100 && memoryStats().liveBlocks > blocks; ++i)
      await new Promise((resolve) => setTimeout(resolve, 20));
    expect(memoryStats().liveBlocks).toBeLessThanOrEqual(blocks);
  });
});

test("events come in order, with the evaluation before and after, and totals", async () => {
  const { model, batches } = cases.mlp();
  const types: string[] = [];
  let calls = 0;
  const recipe: ModuleRecipe = { bits: 4, rules: [{ match: "layers.1", skip: true }] };
  const result = await compress(model, recipe, {
    calibration: batches,
    evaluate: () => (calls += 1),
    onProgress: (event) => types.push(event.type),
  });
  expect(types).toEqual(["start", "evaluated", "layer", "evaluated", "done"]);
  expect([result.before, result.after]).toEqual([1, 2]);
  const [first, second] = [32 * 48, 48 * 16];
  expect(result.rows.map(({ method }) => method)).toEqual(["gptq", "none"]);
  expect(result.totals.weights).toBe(first + second);
  expect(result.totals.averageBits).toBeCloseTo((4 * first + 32 * second) / (first + second), 12);
  const bias = result.quantized.get("layers.0")?.bias;
  expect(bias).toEqual(model.stateDict().get("layers.0.bias")!.dataSync());
});

test("NaN in the calibration data is an error that names the layer", async () => {
  const { model } = cases.mlp();
  const bad = Tensor.from(new Float32Array(32).fill(NaN), [1, 32]);
  await expect(compress(model, "W8", { calibration: [bad] })).rejects.toThrow("layers.0");
});

test("a layer that never runs is an error, unless it is skipped", async () => {
  const { model, batches } = cases.mlp();
  const calibration = batches;
  const forward = (m: Module, x: Tensor) => layerOf(m, "layers.0").forward(x);
  await expect(compress(model, "W8", { calibration, forward })).rejects.toMatchObject({
    code: "NO_TOKENS",
  });
  const recipe: ModuleRecipe = { ...presets.W8, rules: [{ match: "layers.1", skip: true }] };
  expect((await compress(model, recipe, { calibration, forward })).rows[0]?.bits).toBe(8);
  await expect(compress(model, "W8", { calibration: [] })).rejects.toThrow("one or more tensors");
});

test.each<[string, unknown, string]>([
  ["an unknown preset", "W4A17", "did you mean W4A16?"],
  ["an unknown key", { bit: 4 }, 'did you mean "bits"?'],
  [
    "an unknown key in a rule",
    { rules: [{ match: "*", sparsty: 0.5 }] },
    'did you mean "sparsity"?',
  ],
  ["a value", { bits: 5 }, "2, 3, 4 or 8 for bits"],
  ["a method", { method: "gptx" }, '"gptq"'],
  [
    "no target",
    { method: "wanda" },
    "sparsity or pattern for wanda (layer layers.0) but received neither",
  ],
  ["two targets", { method: "wanda", sparsity: 0.5, pattern: "2:4" }, "but received both"],
  [
    "an option of another method",
    { method: "magnitude", sparsity: 0.5, bits: 4 },
    "bits is no option of magnitude",
  ],
  [
    "a rule that matches nothing",
    { bits: 4, rules: [{ match: "head", skip: true }] },
    "rules[0] matches no layer",
  ],
  [
    "a rule that is never reached",
    {
      bits: 4,
      rules: [
        { match: "layers.*", bits: 8 },
        { match: "layers.0", bits: 2 },
      ],
    },
    'rules[1] ("layers.0") is never used',
  ],
  [
    "a rule that skips and sets",
    { bits: 4, rules: [{ match: "*", skip: true, bits: 4 }] },
    "skips its layers",
  ],
  [
    "a pattern that does not divide",
    { pattern: "2:5" },
    "2:5 does not divide the 32 inputs of layer layers.0",
  ],
  ["sparsity of 2", { sparsity: 2 }, "a number from 0 to 1 for sparsity"],
])("a recipe with %s is refused before any work", async (_, recipe, message) => {
  const { model, batches } = cases.mlp();
  const before = weightOf(model, "layers.0");
  await expect(compress(model, recipe as ModuleRecipe, { calibration: batches })).rejects.toThrow(
    message,
  );
  expect(weightOf(model, "layers.0")).toEqual(before);
});

test("rules and other spellings: the first match decides, its target replaces the recipe's", async () => {
  const { model, batches } = cases.mlp();
  const recipe = {
    wbits: 4,
    group_size: 16,
    rules: [{ match: "layers.1", method: "wanda", sparsity: 0.25 }],
  };
  const { rows } = await compress(model, recipe as ModuleRecipe, { calibration: batches });
  expect(rows.map(({ method, bits }) => [method, bits])).toEqual([
    ["gptq", 4],
    ["wanda", undefined],
  ]);
  expect(rows[1]?.sparsity).toBeCloseTo(0.25, 6);
});

test.each([0, 1])("sparsity %d", async (sparsity) => {
  const { model, batches } = cases.mlp();
  const { rows } = await compress(
    model,
    { method: "magnitude", sparsity },
    { calibration: batches },
  );
  expect(rows.map((row) => row.sparsity)).toEqual([sparsity, sparsity]);
});
