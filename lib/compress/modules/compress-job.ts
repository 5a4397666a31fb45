import { inputGram, type InputGram } from "../../curvature/index.js";
import {
  ArgumentError,
  NumericalError,
  OsculateError,
  abortError,
  expected,
} from "../../errors.js";
import type { QuantizedLinear } from "../../formats/index.js";
import { Linear, Module } from "../../nn/index.js";
import { copyInto } from "../../ops/copy.js";
import { keep, Tensor } from "../../tensor/index.js";
import { layerPasses, type PassReport, type PassResult } from "./layer-passes.js";
import {
  BlockInput,
  captureInput,
  captureLayerInputs,
  findUnits,
  type ForwardModel,
  type NamedLinear,
  type Unit,
} from "./module-blocks.js";
import {
  assignModuleLayers,
  type ModuleAssignment,
  type ModuleRecipe,
  parseModuleRecipe,
  type Preset,
} from "./module-recipe.js";

export interface CompressOptions<M extends Module = Module> {
  /** Batches that the model is run on; iterated several times. Needs at least one. */
  readonly calibration: Iterable<Tensor>;
  /** Runs the model on a batch. Default `model.forward(batch)`. */
  readonly forward?: ((model: M, batch: Tensor) => unknown) | undefined;
  /** How good the model is, in any unit: asked before and after. */
  readonly evaluate?: ((model: M) => number | Promise<number>) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A layer's row of the report. */
export interface ModuleLayerRow extends Omit<PassReport, "method"> {
  readonly name: string;
  /** `[out, in]` */
  readonly shape: readonly [number, number];
  /** "none": the recipe leaves it as it is. */
  readonly method: string;
  readonly bits: number | undefined;
  /** Share of weights that are zero. */
  readonly sparsity: number;
  /** Calibration tokens it saw. */
  readonly tokens: number;
}

export type CompressEvent =
  | { readonly type: "start"; readonly layers: readonly ModuleAssignment[] }
  | { readonly type: "evaluated"; readonly when: "before" | "after"; readonly value: number }
  | {
      readonly type: "layer";
      readonly row: ModuleLayerRow;
      readonly done: number;
      readonly total: number;
    }
  | { readonly type: "done"; readonly result: CompressResult };

export interface CompressTotals {
  /** In all layers. */
  readonly weights: number;
  /** Share that is zero. */
  readonly sparsity: number;
  /** Of codes, 32 for layers that are not quantized; scales not counted. */
  readonly averageBits: number;
  readonly milliseconds: number;
}

export interface CompressResult {
  readonly rows: readonly ModuleLayerRow[];
  readonly totals: CompressTotals;
  /** What `evaluate` said. */
  readonly before: number | undefined;
  readonly after: number | undefined;
  /** Codes by layer, with the bias, for writers. */
  readonly quantized: ReadonlyMap<string, QuantizedLinear>;
  /** bool, 1 where a weight was kept, by layer, for training on; `dispose` frees them. */
  readonly masks: ReadonlyMap<string, Tensor>;
  dispose(): void;
}

/**
 * Compresses the linear layers of a model in place, by a recipe, and says what happens as it happens; see `compress`. Leaving the
 * loop early, an error or an abort puts all weights back.
 *
 * @example
 * for await (const event of compressJob(model, "W4A16", { calibration }))
 *   if (event.type === "layer") console.log(event.row.name, event.row.relativeError);
 */
export async function* compressJob<M extends Module>(
  model: M,
  recipe: Preset | ModuleRecipe,
  options: CompressOptions<M>,
): AsyncGenerator<CompressEvent, void, undefined> {
  const fn = "compress";
  const checked = parseModuleRecipe(recipe);
  if (!((model as unknown) instanceof Module))
    throw new ArgumentError(expected(fn, "a Module", "model", model));
  const { evaluate, signal } = options;
  const stop = () => {
    if (signal?.aborted) throw abortError(fn, signal);
  };
  stop();
  const batches = [...options.calibration];
  const [first] = batches;
  if (first === undefined || !batches.every((batch) => (batch as unknown) instanceof Tensor))
    throw new ArgumentError(expected(fn, "one or more tensors", "calibration", batches));
  const linears = [...model.modules()].flatMap(({ name, module }) =>
    module instanceof Linear ? [{ name, layer: module }] : [],
  );
  const assignments = assignModuleLayers(checked, linears.map(factsOf));
  const assigned = new Map(assignments.map((one) => [one.name, one]));
  const run: ForwardModel = (batch) =>
    options.forward === undefined ? forwardOf(fn, model)(batch) : options.forward(model, batch);

  const flags = [...model.modules()].map(({ module }) => ({ module, training: module.training }));
  const originals = new Map<Linear, Tensor>();
  const masks = new Map<string, Tensor>();
  const quantized = new Map<string, QuantizedLinear>();
  const rows: ModuleLayerRow[] = [];
  let finished = false;
  const started = performance.now();
  try {
    model.train(false);
    const units = findUnits(model, () => run(first));
    checkAllRan(fn, units, assignments);
    yield { type: "start", layers: assignments };
    let before: number | undefined;
    if (evaluate) {
      before = await evaluate(model);
      yield { type: "evaluated", when: "before", value: before };
    }
    const total = assignments.filter(({ method }) => method !== undefined).length;
    const source = new UnitInputs(batches, run);
    try {
      for (const unit of units) {
        source.enter(unit);
        const wanted = unit.layers
          .map((group) => group.filter(({ name }) => assigned.get(name)?.method !== undefined))
          .filter((group) => group.length > 0);
        const passes = checked.trueSequential === false ? [wanted] : wanted.map((group) => [group]);
        for (const groups of passes) {
          const grams = new Map<NamedLinear, InputGram>();
          try {
            // Without trueSequential all statistics of the unit are taken before any of its layers changes.
            for (const group of groups) await gather(group, source, grams, signal);
            for (const one of groups.flat()) {
              stop();
              const gram = grams.get(one);
              const { method, options: layerOptions } = assigned.get(one.name) ?? {};
              if (gram === undefined || method === undefined || layerOptions === undefined)
                continue;
              const { weight } = one.layer;
              const pass = layerPasses[method];
              const name = one.name;
              const found = await pass.run({ weight, gram, options: layerOptions, name, signal });
              originals.set(one.layer, keep(weight.contiguous()));
              const row = await takeResult(fn, one, found, gram.count, { masks, quantized });
              rows.push(row);
              yield { type: "layer", row, done: rows.length, total };
            }
          } finally {
            for (const gram of new Set(grams.values())) gram.dispose();
          }
        }
        source.leave(unit);
      }
    } finally {
      source.dispose();
    }
    let after: number | undefined;
    if (evaluate) {
      stop();
      after = await evaluate(model);
      yield { type: "evaluated", when: "after", value: after };
    }
    finished = true;
    const all = [
      ...rows,
      ...assignments
        .filter(({ method }) => method === undefined)
        .map(({ name }) => untouched(name, linears)),
    ];
    const result: CompressResult = {
      rows: all,
      totals: { ...totalsOf(all), milliseconds: performance.now() - started },
      ...{ before, after, quantized, masks },
      dispose: () => {
        for (const mask of masks.values()) mask.dispose();
      },
    };
    yield { type: "done", result };
  } catch (error) {
    stop(); // methods and statistics reject with the signal's reason
    throw error;
  } finally {
    for (const { module, training } of flags) module.training = training;
    for (const [layer, original] of originals) {
      if (!finished) copyInto(fn, original, layer.weight);
      original.dispose();
    }
    if (!finished) for (const mask of masks.values()) mask.dispose();
  }
}

/**
 * Compresses the linear layers of a model in place, by a recipe: block by block, each on what the compressed part before it
 * produces, and within a block in the order in which layers run (`trueSequential`).
 *
 * A model with an array of modules, each of which takes what the one before returned (`TransformerLM.blocks`), is run one block at
 * a time, and only the inputs of the current block are kept; any other is run whole for each layer or group with the same input.
 *
 * @param model of `Linear` layers and others; the others stay. Batch norm and dropout are in use, not in training, meanwhile.
 * @param recipe a preset (`W4A16`, `W8`, `2:4`, `50%`) or options and rules, see `ModuleRecipe`.
 * @param options calibration data, and `evaluate`.
 * @returns the report, codes and masks; `dispose` frees the masks.
 * @throws RecipeError before any work; NumericalError `NO_TOKENS` for a layer that never runs; what the methods throw. After an
 *   error or an abort (`ABORTED`) the model is as it was.
 * Cost: the methods', and for each group of layers with the same input one run of its block on the calibration data. Memory: a
 * copy of the weights, the block inputs, one Gram matrix.
 *
 * @example
 * const { rows, after } = await compress(model, { bits: 4, rules: [{ match: "output", skip: true }] }, { calibration, evaluate });
 */
export async function compress<M extends Module>(
  model: M,
  recipe: Preset | ModuleRecipe,
  options: CompressOptions<M> & {
    readonly onProgress?: ((event: CompressEvent) => void) | undefined;
  },
): Promise<CompressResult> {
  for await (const event of compressJob(model, recipe, options)) {
    options.onProgress?.(event);
    if (event.type === "done") return event.result;
  }
  throw new OsculateError("INTERNAL", "compress: the job ended without a result");
}

const factsOf = ({ name, layer }: NamedLinear) => {
  const [outFeatures = 0, inFeatures = 0] = layer.weight.shape;
  return { name, inFeatures, outFeatures };
};

function forwardOf(fn: string, model: Module): ForwardModel {
  const { forward } = model as { forward?: unknown };
  if (typeof forward !== "function")
    throw new ArgumentError(
      expected(fn, "a model with forward, or options.forward", "model", model),
    );
  return (batch) => Reflect.apply(forward, model, [batch]) as unknown;
}

function checkAllRan(
  fn: string,
  units: readonly Unit[],
  assignments: readonly ModuleAssignment[],
): void {
  const ran = new Set(units.flatMap(({ layers }) => layers.flat().map(({ name }) => name)));
  const idle = assignments.find(({ name, method }) => method !== undefined && !ran.has(name));
  if (idle === undefined) return;
  throw new NumericalError(
    "NO_TOKENS",
    `${fn}: expected calibration tokens for ${idle.name} but the model does not run it: skip it with a rule`,
    { details: { name: idle.name } },
  );
}

/** What the current unit is run on: the batches, or for a block of the chain the results of the blocks before. */
class UnitInputs {
  #inputs: BlockInput[] = [];
  #unit: Unit | undefined;

  constructor(
    readonly batches: readonly Tensor[],
    readonly run: ForwardModel,
  ) {}

  enter(unit: Unit): void {
    this.#unit = unit;
    const { block } = unit;
    if (block === undefined) this.dispose();
    else if (this.#inputs.length === 0)
      for (const batch of this.batches)
        this.#inputs.push(captureInput(block, () => this.run(batch)));
  }

  /** One function for each batch: runs the unit on it. */
  runs(): (() => void)[] {
    const block = this.#unit?.block;
    return block === undefined
      ? this.batches.map((batch) => () => void this.run(batch))
      : this.#inputs.map((input) => () => {
          input.run(block);
        });
  }

  leave({ block }: Unit): void {
    if (block !== undefined) for (const input of this.#inputs) input.advance(block);
  }

  dispose(): void {
    for (const input of this.#inputs) input.dispose();
    this.#inputs = [];
  }
}

/** The Gram matrix of the inputs that the layers of a group share. */
async function gather(
  group: readonly NamedLinear[],
  source: UnitInputs,
  grams: Map<NamedLinear, InputGram>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const [first] = group;
  if (first === undefined) return;
  const { weight } = first.layer;
  const gram = inputGram(weight.shape[1] ?? 0, { device: weight.device });
  for (const one of group) grams.set(one, gram);
  for (const [batch, run] of source.runs().entries()) {
    const inputs = captureLayerInputs(first.layer, run);
    try {
      for (const input of inputs)
        await gram.add(input, { signal, label: `${first.name}, batch ${batch}` });
    } finally {
      for (const input of inputs) input.dispose();
    }
  }
}

/** Puts new weights into a layer and keeps codes and mask. */
async function takeResult(
  fn: string,
  { name, layer }: NamedLinear,
  { weight, mask, quantized, report }: PassResult,
  tokens: number,
  kept: { masks: Map<string, Tensor>; quantized: Map<string, QuantizedLinear> },
): Promise<ModuleLayerRow> {
  try {
    copyInto(fn, weight, layer.weight);
    if (mask !== undefined) kept.masks.set(name, keep(mask));
    if (quantized !== undefined) {
      const bias =
        layer.bias === undefined ? {} : { bias: (await layer.bias.data()) as Float32Array };
      kept.quantized.set(name, { ...quantized, ...bias });
    }
    const values = await weight.data();
    const [out = 0, inputs = 0] = layer.weight.shape;
    const zeros = values.reduce((count: number, value) => count + Number(value === 0), 0);
    return {
      ...report,
      name,
      shape: [out, inputs],
      bits: quantized?.bits,
      sparsity: values.length === 0 ? 0 : zeros / values.length,
      tokens,
    };
  } finally {
    weight.dispose();
  }
}

function untouched(name: string, linears: readonly NamedLinear[]): ModuleLayerRow {
  const [out = 0, inputs = 0] = linears.find((one) => one.name === name)?.layer.weight.shape ?? [];
  return {
    ...{
      name,
      shape: [out, inputs] as const,
      method: "none",
      bits: undefined,
      sparsity: 0,
      tokens: 0,
    },
    ...{ relativeError: undefined, baselineRelativeError: undefined, damping: 0, attempts: [] },
    ...{ milliseconds: 0, peakBytes: 0, warnings: [] },
  };
}

function totalsOf(rows: readonly ModuleLayerRow[]): Omit<CompressTotals, "milliseconds"> {
  const sum = (of: (row: ModuleLayerRow) => number) =>
    rows.reduce((total, row) => total + row.shape[0] * row.shape[1] * of(row), 0);
  const weights = sum(() => 1);
  return {
    weights,
    sparsity: weights === 0 ? 0 : sum(({ sparsity }) => sparsity) / weights,
    averageBits: weights === 0 ? 0 : sum(({ bits }) => bits ?? 32) / weights,
  };
}
