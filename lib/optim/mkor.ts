import { ArgumentError, expected } from "../errors.js";
import type { NamedTensors } from "../formats/index.js";
import {
  LayerMoments,
  momentLayers,
  type MomentLayer,
  type Moments,
} from "../curvature/layer-moments.js";
import { Module } from "../nn/index.js";
import { checkInteger } from "../ops/check.js";
import { copyInto } from "../ops/copy.js";
import { matmul } from "../ops/matmul.js";
import { item } from "../ops/tensor-mean.js";
import { vectorNorm } from "../ops/vector-reduce.js";
import { axpby } from "../ops/vector-update.js";
import { keep, Tensor } from "../tensor/index.js";
import { joinState, splitState } from "./base-state.js";
import { MkorSwitch, type SwitchState } from "./mkor-switch.js";
import {
  Optimizer,
  stateOf,
  type CommonOptions,
  type Evaluation,
  type OptimizerOptions,
  type Question,
  type Slot,
  type StepOptions,
} from "./optimizer.js";
import { identity, isLarge, stabilize, updateInverse } from "./rank-one-inverse.js";

export interface MKOROptions extends CommonOptions {
  /** The factors take a new vector every so many steps. Default 10. */
  readonly interval?: number | undefined;
  /** For so many steps at first they do at every one. Default 0. */
  readonly warmup?: number | undefined;
  /** Share of the old statistic, in (0, 1). Default 0.95. */
  readonly decay?: number | undefined;
  /** "ema" (default): the exact inverse of an exponential average. "official": the rule of the authors' code. */
  readonly mode?: "ema" | "official" | undefined;
  /** For "ema": share of the identity mixed into an inverse with an element above 2, in [0, 1]. Default 0.1. */
  readonly stabilization?: number | undefined;
  /** Elements of the vectors are cut off at this. Default 100. */
  readonly clip?: number | undefined;
  /** Names of layers that keep their plain gradient. Default none. */
  readonly exclude?: readonly string[] | undefined;
  /**
   * MKOR-H: the factors are given up once they stop helping, for good. `steps` is the length of the training; losses are
   * compared over windows of `window` steps, default 50. Default: never.
   */
  readonly hybrid?: { readonly steps: number; readonly window?: number | undefined } | undefined;
}

export interface MKORStats {
  /** Whether the base was given preconditioned gradients. */
  readonly preconditioned: boolean;
}

type Base<Extra extends StepOptions> = Optimizer<OptimizerOptions, string, object, Extra>;
type MkorSlot = Slot<OptimizerOptions, never>;

/** What was seen of the layers in the step that runs. */
interface Observed {
  readonly sums: LayerMoments;
  readonly microBatches: number;
}

/** A layer with the slots of its parameters; the weight's holds the inverse factors. */
interface Factored {
  readonly layer: MomentLayer;
  readonly weight: MkorSlot;
  readonly bias: MkorSlot | undefined;
}

/**
 * MKOR over any optimizer: the gradient of each linear layer and ungrouped convolution is multiplied from both sides by the
 * inverses of Kronecker factors and brought back to its length, then given to the base as the gradient. A factor averages
 * outer products of one vector an update, the mean input or the mean output gradient, so its inverse takes O(n^2) by the
 * Sherman-Morrison formula, and nothing is ever inverted. State: (inputs + 1)^2 + outputs^2 floats a layer, and the base's; a
 * step costs two matrix products a layer. Other parameters keep their gradients.
 *
 * Source: Mozaffari et al., MKOR: momentum-enabled Kronecker-factor-based optimizer using rank-1 updates, NeurIPS 2023, and its
 * code. Ours: the exact inverse of an exponential average is the default ("official" is what the code does), factors are
 * float32, not float16, and the rule of MKOR-H (see `hybrid`), which the code does not have.
 *
 * @example
 * const optimizer = new MKOR(model, new SGD(model.parameters(), { lr: 0.05 }));
 */
export class MKOR<Extra extends StepOptions = StepOptions> extends Optimizer<
  OptimizerOptions,
  never,
  MKORStats,
  Extra
> {
  readonly #base: Base<Extra>;
  readonly #layers: readonly Factored[];
  readonly #interval: number;
  readonly #warmup: number;
  readonly #rule: { readonly decay: number; readonly mode: "ema" | "official" };
  readonly #stabilization: number;
  readonly #clip: number;
  readonly #switch: MkorSwitch | undefined;
  #flagged: readonly boolean[];
  #moments: Observed | undefined;

  /** @param model whose layers are looked at. @param base an optimizer of the model's parameters, which does the steps. */
  constructor(model: Module, base: Base<Extra>, options: MKOROptions = {}) {
    const fn = "MKOR";
    if (!(model instanceof Module))
      throw new ArgumentError(expected(fn, "a Module", "model", model));
    if (!((base as unknown) instanceof Optimizer))
      throw new ArgumentError(expected(fn, "an optimizer", "base", base));
    super(fn, base.parameters, options, {});
    if (base.clips)
      throw new ArgumentError(
        `${fn}: expected a base without clipNorm: give clipNorm to ${fn} itself`,
      );
    const { interval = 10, warmup = 0, decay = 0.95, mode = "ema", hybrid } = options;
    const { stabilization = 0.1, clip = 100, exclude = [] } = options;
    checkInteger(fn, "interval", interval, 1, Number.MAX_SAFE_INTEGER);
    checkInteger(fn, "warmup", warmup, 0, Number.MAX_SAFE_INTEGER);
    checkRange(fn, "decay", decay, decay > 0 && decay < 1, "a number between 0 and 1");
    const share = stabilization >= 0 && stabilization <= 1;
    checkRange(fn, "stabilization", stabilization, share, "a number from 0 to 1");
    checkRange(fn, "clip", clip, clip > 0, "a number above 0");
    if (!["ema", "official"].includes(mode))
      throw new ArgumentError(expected(fn, '"ema" or "official"', "mode", mode));
    if (hybrid) {
      checkInteger(fn, "hybrid.steps", hybrid.steps, 1, Number.MAX_SAFE_INTEGER);
      checkInteger(fn, "hybrid.window", hybrid.window ?? 50, 1, Number.MAX_SAFE_INTEGER);
    }
    this.#base = base;
    this.#interval = interval;
    this.#warmup = warmup;
    this.#rule = { decay, mode };
    this.#stabilization = stabilization;
    this.#clip = clip;
    this.#switch = hybrid && new MkorSwitch(hybrid.window ?? 50, hybrid.steps);
    this.#layers = this.#factored(fn, model, exclude);
    this.#flagged = this.#layers.map(() => true);
    for (const { weight, bias } of this.#layers) {
      const [outputs = 1, ...rest] = weight.tensor.shape;
      const columns = rest.reduce((product, length) => product * length, 1) + (bias ? 1 : 0);
      const { device } = weight.tensor;
      weight.state.set("inputInverse", keep(identity(columns, device)));
      weight.state.set("outputInverse", keep(identity(outputs, device)));
    }
  }

  #factored(fn: string, model: Module, exclude: readonly string[]): readonly Factored[] {
    const layers = momentLayers(model);
    for (const name of exclude)
      if (!layers.some((layer) => layer.name === name))
        throw new ArgumentError(expected(fn, "names of layers", "exclude", name));
    const byTensor = new Map(this.slots.map((slot) => [slot.tensor, slot]));
    return layers.flatMap((layer) => {
      const { weight, bias } = layer.module;
      const found = byTensor.get(weight);
      if (found === undefined || exclude.includes(layer.name)) return [];
      byTensor.delete(weight); // a weight that two layers share has the factors of the first
      return [{ layer, weight: found, bias: bias && byTensor.get(bias) }];
    });
  }

  /** Whether the next step takes new vectors into the factors. */
  get factorsDue(): boolean {
    if (this.#switch?.state.dropped) return false;
    return this.steps < this.#warmup || this.steps % this.#interval === 0;
  }

  protected override evaluate(question: Question<Extra>): Evaluation {
    this.#forget();
    if (!this.factorsDue) return this.#base.ask(question);
    const sums = new LayerMoments(
      this.#layers.map(({ layer }) => layer),
      1,
    );
    try {
      const evaluation = sums.during(() => this.#base.ask(question));
      this.#moments = { sums, microBatches: question.microBatches };
      return evaluation;
    } catch (error) {
      sums.dispose();
      throw error;
    }
  }

  #forget(): void {
    this.#moments?.sums.dispose();
    this.#moments = undefined;
  }

  protected async update(evaluation: Evaluation): Promise<MKORStats> {
    const loss = Number((await evaluation.loss.data())[0]);
    if (this.#switch?.add(loss)) {
      this.#forget();
      this.#dropFactors();
      await this.#base.advance(evaluation);
      return { preconditioned: false };
    }
    if (this.#moments) await this.#refresh(this.#moments);
    const gradients = [...evaluation.gradients];
    const made: Tensor[] = [];
    try {
      for (const layer of this.#layers) {
        for (const { index, tensor } of await this.#preconditioned(layer, evaluation.gradients)) {
          gradients[index] = tensor;
          made.push(tensor);
        }
      }
      await this.#base.advance({ ...evaluation, gradients });
    } finally {
      for (const tensor of made) tensor.dispose();
    }
    return { preconditioned: true };
  }

  async #refresh({ sums, microBatches }: Observed): Promise<void> {
    const all = await sums.read().finally(() => {
      this.#forget();
    });
    const flagged = [...this.#flagged];
    for (const [i, factored] of this.#layers.entries()) {
      const moments = all[i];
      if (moments)
        flagged[i] = await this.#take(factored, moments, microBatches, flagged[i] ?? false);
    }
    this.#flagged = flagged;
  }

  /** Takes the vectors of a layer into its factors; whether they are to be reset at the next update ("official"). */
  async #take(
    { weight, bias }: Factored,
    { inputs, outputs, examples }: Moments,
    microBatches: number,
    flagged: boolean,
  ): Promise<boolean> {
    const clipped = (x: number) => Math.min(Math.max(x, -this.#clip), this.#clip);
    // Gradients are of the mean loss of a micro-batch: that of an example is `examples` times as large.
    const perExample = examples / microBatches;
    const vectors = {
      inputInverse: Float64Array.from([...inputs, ...(bias ? [1] : [])], clipped),
      outputInverse: outputs.map((x) => clipped(x * perExample)),
    };
    const wasFlagged = flagged;
    for (const [key, vector] of Object.entries(vectors)) {
      const inverse = stateOf(weight, key);
      if (this.#rule.mode === "official" && flagged) {
        using eye = identity(vector.length, inverse.device);
        axpby(1, eye, 0, inverse);
        continue;
      }
      await updateInverse(inverse, vector, this.#rule);
      if (this.#rule.mode === "ema") await stabilize(inverse, this.#stabilization);
      else flagged ||= await isLarge(inverse);
    }
    return flagged && !wasFlagged;
  }

  /** `G^-1 [grad W, grad b] A^-1`, scaled to the length of the gradient: the sum of the norms of its parts. */
  async #preconditioned(
    { weight, bias }: Factored,
    gradients: readonly Tensor[],
  ): Promise<readonly { readonly index: number; readonly tensor: Tensor }[]> {
    const gradW = item(gradients, weight.index);
    const gradB = bias && item(gradients, bias.index);
    const [outputs = 1] = weight.tensor.shape;
    const own = weight.tensor.size / outputs;
    const { device } = weight.tensor;
    using whole = Tensor.empty([outputs, own + (bias ? 1 : 0)], { device });
    for (const [part, at, width] of [[gradW, 0, own] as const, [gradB, own, 1] as const]) {
      if (part === undefined) continue;
      using flat = part.contiguous();
      using matrix = flat.reshape([outputs, width]);
      using target = whole.slice(1, at, at + width);
      copyInto("MKOR.step", matrix, target);
    }
    using left = matmul(stateOf(weight, "outputInverse"), whole);
    using both = matmul(left, stateOf(weight, "inputInverse"));
    const parts = [{ slot: weight, at: 0, width: own }];
    if (bias) parts.push({ slot: bias, at: own, width: 1 });
    const made = parts.map(({ slot, at, width }) => {
      using columns = both.slice(1, at, at + width);
      using packed = columns.contiguous();
      return { index: slot.index, tensor: packed.reshape(slot.tensor.shape) };
    });
    const before = await lengthOf(gradB ? [gradW, gradB] : [gradW]);
    const after = await lengthOf(made.map(({ tensor }) => tensor));
    const ratio = before / after;
    if (!Number.isFinite(ratio)) {
      for (const { tensor } of made) tensor.dispose();
      return [];
    }
    for (const { tensor } of made) axpby(0, undefined, ratio, tensor);
    return made;
  }

  #dropFactors(): void {
    for (const { weight } of this.#layers) {
      for (const key of ["inputInverse", "outputInverse"]) {
        weight.state.get(key)?.dispose();
        weight.state.delete(key);
      }
    }
  }

  override get stateBytes(): number {
    return super.stateBytes + this.#base.stateBytes;
  }

  protected override stateNumbers(): Readonly<Record<string, string>> {
    const flagged = this.#flagged.map(Number).join("");
    return this.#switch ? { flagged, switch: JSON.stringify(this.#switch.state) } : { flagged };
  }

  protected override loadNumbers(numbers: ReadonlyMap<string, string>): void {
    this.#flagged = Array.from(numbers.get("flagged") ?? "", (one) => one === "1");
    const state = numbers.get("switch");
    if (this.#switch && state !== undefined) this.#switch.state = JSON.parse(state) as SwitchState;
  }

  /** Its own state, and the base's with `base.` before every name. */
  override stateDict(): NamedTensors {
    return joinState(super.stateDict(), this.#base.stateDict());
  }

  override loadStateDict(state: NamedTensors): void {
    const { own, base } = splitState(state);
    const saved = own.metadata.get("switch");
    if (saved !== undefined && (JSON.parse(saved) as SwitchState).dropped) this.#dropFactors();
    this.#base.loadStateDict(base);
    super.loadStateDict(own);
  }

  /** Frees the state, the base's too. */
  override dispose(): void {
    super.dispose();
    this.#forget();
    this.#base.dispose();
  }
}

async function lengthOf(tensors: readonly Tensor[]): Promise<number> {
  const norms = tensors.map((tensor) => vectorNorm(tensor));
  try {
    const values = await Promise.all(norms.map(async (norm) => Number((await norm.data())[0])));
    return values.reduce((sum, value) => sum + value, 0);
  } finally {
    for (const norm of norms) norm.dispose();
  }
}

function checkRange(fn: string, name: string, value: unknown, good: boolean, what: string): void {
  if (typeof value !== "number" || !good) throw new ArgumentError(expected(fn, what, name, value));
}
