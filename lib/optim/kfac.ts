import { scale, valueAndGrad, type ValueAndGrad } from "../autodiff/index.js";
import { FactorSums, type Sharing } from "../curvature/factor-sums.js";
import { CurvatureStore, type LayerFactors } from "../curvature/index.js";
import { biasOf, matrixLayers, type MatrixLayer } from "../curvature/layer-rows.js";
import { observeLayers } from "../curvature/observe.js";
import { ArgumentError, FormatError, NumericalError, expected } from "../errors.js";
import { Conv2d, Embedding, type Module } from "../nn/index.js";
import { checkInteger, checkNumber } from "../ops/check.js";
import { sgdMomentumStep } from "../ops/sgd-momentum-step.js";
import { flat, item } from "../ops/tensor-mean.js";
import { vectorDot, vectorNorm } from "../ops/vector-reduce.js";
import { keep, scope, Tensor } from "../tensor/index.js";
import {
  average,
  gradientMatrix,
  gradientParts,
  precondition,
  preconditioner,
  preconditionerKeys,
  type DampingMode,
} from "./kfac-layer.js";
import {
  meanOver,
  Optimizer,
  stateOf,
  type Evaluation,
  type LossFunction,
  type Numbers,
  type OptimizerOptions,
  type Question,
  type Slot,
  type StepOptions,
  type WithGroups,
} from "./optimizer.js";
import type { Parameter } from "./parameters.js";
import { belowOne, scheduled, type Scheduled, type ScheduleFunction } from "./schedule.js";

export interface KFACOptions extends OptimizerOptions {
  /** Default 0.01. */
  readonly lr?: Scheduled | undefined;
  /** In [0, 1). Default 0.9. */
  readonly momentum?: Scheduled | undefined;
  /** Default 5e-4; added to the preconditioned gradient (L2), not decoupled. */
  readonly weightDecay?: Scheduled | undefined;
  /** Of a layer by the group of its weight, > 0. Default 1e-3. */
  readonly damping?: Scheduled | undefined;
  /** Decay of the averages of the factors, in [0, 1). Default 0.95. */
  readonly factorDecay?: Scheduled | undefined;
}

/** Options that hold for all parameters together. */
export interface KFACCurvature {
  /** Where the parameters come from: its Linear, Conv2d and Embedding layers are preconditioned. */
  readonly model: Module;
  /** Default "factored". */
  readonly dampingMode?: DampingMode | undefined;
  /** The update is scaled down to `lr^2 <update, gradient> <= klClip`, > 0; Infinity: not. Default 1e-3. */
  readonly klClip?: Scheduled | undefined;
  /** The factors are averaged at step 0 and then every so many steps. Default 1. */
  readonly factorInterval?: number | undefined;
  /** They are inverted at step 0 and then every so many steps. Default 10. */
  readonly inverseInterval?: number | undefined;
  /** "empirical" (default): of the loss itself. "sampled": of `sampledLoss` of `step`, the true Fisher matrix. */
  readonly fisher?: "empirical" | "sampled" | undefined;
  /** For weights used at several places of an example. Default "expand". */
  readonly sharing?: Sharing | undefined;
  /** Terms that the loss is the mean of. Default: the first dimension of each layer's input. */
  readonly terms?: number | undefined;
}

export interface KFACStepOptions extends StepOptions {
  /** The mean loss against labels drawn from the model (`sampleLabels`). Needed with "sampled" whenever `factorsDue`. */
  readonly sampledLoss?: LossFunction | undefined;
}

export interface KFACStats {
  /** What the KL clip multiplied the update of the layers with, at most 1. */
  readonly klScale: number;
}

type Name = "lr" | "momentum" | "weightDecay" | "damping" | "factorDecay";

const numbers: Numbers<KFACOptions, Name> = {
  lr: { of: ({ lr }) => lr, otherwise: 0.01, range: [0, Infinity] },
  momentum: { of: ({ momentum }) => momentum, otherwise: 0.9, range: belowOne },
  weightDecay: { of: ({ weightDecay }) => weightDecay, otherwise: 5e-4, range: [0, Infinity] },
  damping: { of: ({ damping }) => damping, otherwise: 1e-3, range: [Number.MIN_VALUE, Infinity] },
  factorDecay: { of: ({ factorDecay }) => factorDecay, otherwise: 0.95, range: belowOne },
};

type KFACSlot = Slot<KFACOptions, Name>;

/** A layer that is preconditioned, with the slots of its parameters. */
interface LayerSlots {
  readonly name: string;
  readonly layer: MatrixLayer;
  readonly weight: KFACSlot;
  readonly bias: KFACSlot | undefined;
  /** Rows that the factors are averages of so far; 0: there are none yet. */
  rows: number;
}

interface KFACEvaluation extends Evaluation {
  /** Of each layer both factors of this batch, when they are due; empty where the loss did not depend on it. */
  readonly factors?: readonly Tensor[];
}

/**
 * K-FAC: momentum on gradients that are multiplied by the inverse of each layer's Fisher block, taken as a Kronecker product:
 * `G^-1 grad A^-1` with A of what goes into the layer and G of the derivatives by what comes out. Other parameters, and
 * weights that several layers share, get momentum alone: see `layers`.
 *
 * State of an out x in layer: 2 (in^2 + out^2) floats and the momentum. A step costs `rows (in^2 + out^2)` multiplications
 * for the factors, `in out (in + out)` to apply the inverses, and `in^3 + out^3` where they are made anew.
 *
 * Source: Martens, Grosse, Optimizing neural networks with Kronecker-factored approximate curvature, 2015; Grosse, Martens,
 * 2016 (convolutions); the KL clip from Ba, Grosse, Martens, 2017. Ours: the factors begin with the first batch instead of zero.
 *
 * @example
 * const optimizer = new KFAC(model.parameters(), { model, lr: 0.02 });
 * const { loss } = await optimizer.step(() => crossEntropy(model.forward(x), y));
 * using store = optimizer.curvature(); // e.g. for gptq
 */
export class KFAC extends Optimizer<KFACOptions, Name, KFACStats, KFACStepOptions> {
  readonly #layers: readonly LayerSlots[];
  readonly #mode: DampingMode;
  readonly #klClip: ScheduleFunction;
  readonly #factorInterval: number;
  readonly #inverseInterval: number;
  readonly #sampled: boolean;
  readonly #sharing: Sharing;
  readonly #terms: number | undefined;

  constructor(params: Iterable<Parameter>, options: WithGroups<KFACOptions> & KFACCurvature) {
    const fn = "KFAC";
    super(fn, params, options, numbers);
    const { dampingMode = "factored", klClip = 1e-3, fisher = "empirical" } = options;
    const { factorInterval = 1, inverseInterval = 10, sharing = "expand", terms } = options;
    for (const [name, value, choices] of [
      ["dampingMode", dampingMode, ["factored", "exact"]],
      ["fisher", fisher, ["empirical", "sampled"]],
      ["sharing", sharing, ["expand", "reduce"]],
    ] as const) {
      if (!(choices as readonly string[]).includes(value))
        throw new ArgumentError(
          expected(fn, choices.map((c) => `"${c}"`).join(" or "), name, value),
        );
    }
    checkInteger(fn, "factorInterval", factorInterval, 1, Number.MAX_SAFE_INTEGER);
    checkInteger(fn, "inverseInterval", inverseInterval, 1, Number.MAX_SAFE_INTEGER);
    if (terms !== undefined) checkNumber(fn, "terms", terms, "> 0", (value) => value > 0);
    this.#klClip = scheduled(fn, "klClip", klClip, [Number.MIN_VALUE, Infinity]);
    this.#mode = dampingMode;
    this.#factorInterval = factorInterval;
    this.#inverseInterval = inverseInterval;
    this.#sampled = fisher === "sampled";
    this.#sharing = sharing;
    this.#terms = terms;
    this.#layers = layerSlots(fn, options.model, this.slots);
    for (const slot of this.slots) this.addState(slot, "buffer");
    for (const { layer, weight, bias } of this.#layers) {
      const [inputs, outputs] = factorShapes(layer, bias !== undefined);
      this.addState(weight, "inputs", inputs);
      this.addState(weight, "outputs", outputs);
      const shapes = [inputs, outputs, weightsShape(inputs, outputs)];
      preconditionerKeys[dampingMode].forEach((key, i) => {
        this.addState(weight, key, shapes[i]);
      });
    }
  }

  /** Paths of the layers that are preconditioned. */
  get layers(): readonly string[] {
    return this.#layers.map(({ name }) => name);
  }

  /** Whether the next step gathers factors. */
  get factorsDue(): boolean {
    return this.steps % this.#factorInterval === 0;
  }

  /** A copy of the factors as they are now; the caller disposes it. Layers that no loss depended on yet are not in it. */
  curvature(): CurvatureStore {
    const layers = new Map<string, LayerFactors>();
    for (const { name, weight, bias, rows } of this.#layers) {
      if (rows === 0) continue;
      const inputs = stateOf(weight, "inputs").contiguous();
      const outputs = stateOf(weight, "outputs").contiguous();
      layers.set(name, { inputs, outputs, bias: bias !== undefined, rows });
    }
    return new CurvatureStore(layers);
  }

  protected override evaluate(question: Question<KFACStepOptions>): KFACEvaluation {
    if (!this.factorsDue || this.#layers.length === 0) return super.evaluate(question);
    const { fn, microBatches, options } = question;
    const { sampledLoss } = options;
    if (this.#sampled && typeof sampledLoss !== "function")
      throw new ArgumentError(
        expected("KFAC.step", "a function, since factors are due", "sampledLoss", sampledLoss),
      );
    const sums = this.#layers.map(({ layer }) => new FactorSums(layer, this.#sharing, this.#terms));
    const watch = (body: () => ValueAndGrad): ValueAndGrad => {
      const result = observeLayers(
        this.#layers,
        (index, input, cotangent) => {
          sums[index]?.add(input, cotangent);
        },
        body,
      );
      for (const one of sums) one.endBatch();
      return result;
    };
    let evaluation: Evaluation | undefined;
    try {
      if (this.#sampled && sampledLoss !== undefined) {
        evaluation = super.evaluate(question);
        const sampled = meanOver(microBatches, (k) =>
          watch(() => valueAndGrad(() => sampledLoss(k), this.tensors())),
        );
        for (const tensor of [sampled.loss, ...sampled.gradients]) tensor.dispose();
      } else {
        evaluation = meanOver(microBatches, (k) =>
          watch(() => valueAndGrad(() => fn(k), this.tensors())),
        );
      }
      const factors = sums.flatMap((one) => {
        const found = one.finish();
        return found === undefined
          ? [Tensor.zeros([0]), Tensor.zeros([0])]
          : [found.inputs, found.outputs];
      });
      this.#rows = sums.map(({ rows }) => rows);
      return { ...evaluation, factors };
    } catch (error) {
      for (const one of sums) one.dispose();
      if (evaluation !== undefined)
        for (const tensor of [evaluation.loss, ...evaluation.gradients]) tensor.dispose();
      throw error;
    }
  }

  /** Of the evaluation that waits for its update. */
  #rows: readonly number[] = [];

  protected async update(evaluation: KFACEvaluation, step: number): Promise<KFACStats> {
    const gradients = [...evaluation.gradients];
    const fresh: { slot: KFACSlot; key: string; tensor: Tensor }[] = [];
    const made: Tensor[] = [];
    try {
      await this.#refuseNonFinite(evaluation.factors ?? []);
      for (const [i, one] of this.#layers.entries()) {
        const factors = evaluation.factors?.slice(2 * i, 2 * i + 2) ?? [];
        await this.#refresh(one, factors, step, fresh);
      }
      // Nothing was changed so far; from here on nothing fails.
      const find = (slot: KFACSlot, key: string) =>
        fresh.find((entry) => entry.slot === slot && entry.key === key)?.tensor ??
        stateOf(slot, key);
      const updates = this.#layers.map(({ layer, weight, bias, rows }, i) =>
        scope(() => {
          const gradient = item(gradients, weight.index);
          const used = rows > 0 || (evaluation.factors?.[2 * i]?.size ?? 0) > 0;
          if (!used) return { weight: gradient, bias: bias && item(gradients, bias.index) };
          const matrix = gradientMatrix(layer, gradient, bias && item(gradients, bias.index));
          const keys = preconditionerKeys[this.#mode].map((key) => find(weight, key));
          return gradientParts(layer, precondition(matrix, keys));
        }),
      );
      for (const update of updates)
        for (const tensor of [update.weight, update.bias])
          if (tensor !== undefined && !gradients.includes(tensor)) made.push(tensor);
      const klScale = await this.#klScale(updates, gradients, step);
      this.#layers.forEach(({ weight, bias }, i) => {
        const update = item(updates, i);
        for (const [slot, tensor] of [
          [weight, update.weight],
          [bias, update.bias],
        ] as const) {
          if (slot === undefined || tensor === undefined) continue;
          const scaled = klScale === 1 ? tensor : scale(tensor, klScale);
          if (scaled !== tensor) made.push(scaled);
          gradients[slot.index] = scaled;
        }
        const rows = this.#rows[i] ?? 0;
        if (evaluation.factors !== undefined) item(this.#layers, i).rows += rows;
      });
      for (const { slot, key, tensor } of fresh.splice(0)) {
        slot.state.get(key)?.dispose();
        slot.state.set(key, keep(tensor));
      }
      await Promise.all(this.slots.map((slot) => this.#descend(slot, gradients, step)));
      return { klScale };
    } finally {
      for (const { tensor } of fresh) tensor.dispose();
      for (const tensor of made) tensor.dispose();
    }
  }

  /** The gradient was checked; labels that were drawn may give others, and squares overflow sooner. */
  async #refuseNonFinite(factors: readonly Tensor[]): Promise<void> {
    const norms = await Promise.all(
      factors.map(async (factor) => {
        using norm = vectorNorm(factor);
        return (await norm.data())[0] ?? 0;
      }),
    );
    const bad = norms.findIndex((norm) => !Number.isFinite(norm));
    if (bad < 0) return;
    const { name } = item(this.#layers, Math.floor(bad / 2));
    throw new NumericalError(
      "NON_FINITE",
      `KFAC.step: a factor of layer ${name} has NaN or Inf; nothing was changed`,
      { details: { layer: name } },
    );
  }

  /** New averages of a layer's factors, and what is made of them, when they are due. */
  async #refresh(
    { weight, rows }: LayerSlots,
    [inputs, outputs]: readonly Tensor[],
    step: number,
    fresh: { slot: KFACSlot; key: string; tensor: Tensor }[],
  ): Promise<void> {
    const { damping, factorDecay } = this.at(weight, step);
    const put = (key: string, tensor: Tensor) => {
      fresh.push({ slot: weight, key, tensor });
      return tensor;
    };
    const old = (key: string) => stateOf(weight, key);
    let now = { inputs: old("inputs"), outputs: old("outputs") };
    const gathered = inputs !== undefined && outputs !== undefined && inputs.size > 0;
    if (gathered) {
      const first = rows === 0;
      now = {
        inputs: put("inputs", average(first ? undefined : now.inputs, inputs, factorDecay)),
        outputs: put("outputs", average(first ? undefined : now.outputs, outputs, factorDecay)),
      };
    }
    // A layer that is seen for the first time between two refreshes does not wait for the next.
    const due = step % this.#inverseInterval === 0 ? gathered || rows > 0 : gathered && rows === 0;
    if (!due) return;
    const parts = await preconditioner("KFAC.step", now, damping, this.#mode);
    preconditionerKeys[this.#mode].forEach((key, i) => put(key, item(parts, i)));
  }

  /** `min(1, sqrt(klClip / sum lr^2 <update, gradient>))` over the layers. */
  async #klScale(
    updates: readonly { readonly weight: Tensor; readonly bias: Tensor | undefined }[],
    gradients: readonly Tensor[],
    step: number,
  ): Promise<number> {
    const products = this.#layers.flatMap(({ weight, bias }, i) =>
      (
        [
          [weight, updates[i]?.weight],
          [bias, updates[i]?.bias],
        ] as const
      ).map(async ([slot, update]) => {
        if (slot === undefined || update === undefined) return 0;
        using left = flat(update);
        using right = flat(item(gradients, slot.index));
        using dot = vectorDot(left, right);
        return this.at(slot, step).lr ** 2 * ((await dot.data())[0] ?? 0);
      }),
    );
    const total = Math.abs((await Promise.all(products)).reduce((sum, value) => sum + value, 0));
    return total === 0 ? 1 : Math.min(1, Math.sqrt(this.#klClip(step) / total));
  }

  async #descend(slot: KFACSlot, gradients: readonly Tensor[], step: number): Promise<void> {
    const { lr, momentum, weightDecay } = this.at(slot, step);
    using theta = flat(slot.tensor);
    using grad = flat(item(gradients, slot.index));
    using buffer = flat(stateOf(slot, "buffer"));
    await sgdMomentumStep(
      { theta, grad, buffer },
      { lr, momentum, weightDecay, checkFinite: false },
    );
  }

  protected override stateNumbers(): Readonly<Record<string, string>> {
    return { rows: JSON.stringify(this.#layers.map(({ rows }) => rows)) };
  }

  protected override loadNumbers(values: ReadonlyMap<string, string>): void {
    const text = values.get("rows") ?? "not given";
    const refuse = (): never => {
      const reason = `its rows are ${text}, not ${this.#layers.length} numbers`;
      throw new FormatError(`KFAC.loadStateDict: the state does not fit: ${reason}`, {
        details: { reason },
      });
    };
    let rows: unknown;
    try {
      rows = JSON.parse(text);
    } catch {
      refuse();
    }
    if (!Array.isArray(rows) || rows.length !== this.#layers.length) return refuse();
    if (!rows.every((value) => Number.isSafeInteger(value) && value >= 0)) return refuse();
    this.#layers.forEach((one, i) => (one.rows = Number(rows[i])));
  }
}

/** Layers whose parameters are all here and belong to no other layer. */
function layerSlots(fn: string, model: Module, slots: readonly KFACSlot[]): LayerSlots[] {
  if (typeof (model as Partial<Module> | undefined)?.modules !== "function")
    throw new ArgumentError(expected(fn, "a Module", "model", model));
  const layers = matrixLayers(model);
  const uses = (tensor: Tensor) =>
    layers.filter(({ layer }) => layer.weight === tensor || biasOf(layer) === tensor).length;
  return layers.flatMap(({ name, layer }) => {
    const bias = biasOf(layer);
    const find = (tensor: Tensor | undefined) => slots.find((slot) => slot.tensor === tensor);
    const [weight, shift] = [find(layer.weight), bias && find(bias)];
    if (weight === undefined && shift === undefined) return [];
    if (weight === undefined || (bias !== undefined && shift === undefined))
      throw new ArgumentError(
        `${fn}: expected weight and bias of ${name} among params, or neither, but received one of them`,
      );
    if (uses(layer.weight) > 1 || (bias !== undefined && uses(bias) > 1)) return [];
    return [{ name, layer, weight, bias: shift, rows: 0 }];
  });
}

function factorShapes(layer: MatrixLayer, bias: boolean): [number[], number[]] {
  const [outputs = 0, ...rest] = layer.weight.shape;
  if (layer instanceof Conv2d) {
    const groups = layer.geometry.groups ?? 1;
    const several = groups === 1 ? [] : [groups];
    const inputs = rest.reduce((product, length) => product * length, 1) + Number(bias);
    return [
      [...several, inputs, inputs],
      [...several, outputs / groups, outputs / groups],
    ];
  }
  const width = rest[0] ?? 0;
  if (layer instanceof Embedding) return [[outputs], [width, width]];
  const inputs = width + Number(bias);
  return [
    [inputs, inputs],
    [outputs, outputs],
  ];
}

/** Of `[..., outputs, inputs]` in eigenvectors. */
function weightsShape(inputs: readonly number[], outputs: readonly number[]): number[] {
  return [...outputs.slice(0, -2), outputs.at(-1) ?? 0, inputs.at(-1) ?? 0];
}
