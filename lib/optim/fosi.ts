import { ArgumentError, expected } from "../errors.js";
import { checkInteger } from "../ops/check.js";
import { copyInto } from "../ops/copy.js";
import { flat, item } from "../ops/tensor-mean.js";
import { vectorDot } from "../ops/vector-reduce.js";
import { axpby, combineRows } from "../ops/vector-update.js";
import type { NamedTensors } from "../formats/index.js";
import { Tensor } from "../tensor/index.js";
import { joinState, splitState } from "./base-state.js";
import { extremeEigenpairs, type Eigenpairs } from "./fosi-eigenpairs.js";
import {
  Optimizer,
  stateOf,
  type CommonOptions,
  type Evaluation,
  type LossFunction,
  type OptimizerOptions,
  type Question,
  type StepOptions,
} from "./optimizer.js";
import { SGD } from "./sgd.js";

/** How the gradient inside the eigenvectors' span is averaged: q <- a g1 + b q with (a, b) below. */
const averages = {
  /** For bases that average like Adam. */
  ema: [0.1, 0.9],
  heavyBall: [1, 0.9],
  nesterov: [1.9, 0.81],
  none: [1, 0],
} as const;

export interface FOSIOptions extends CommonOptions {
  /** Eigenvectors of the largest eigenvalues. Default 5. */
  readonly largest?: number | undefined;
  /** And of the smallest. Default 0. */
  readonly smallest?: number | undefined;
  /** The eigenvectors are computed anew every so many steps. Default 100. */
  readonly interval?: number | undefined;
  /** They are first computed at this step, counted from 1. Default `interval`. */
  readonly warmup?: number | undefined;
  /** Step size inside their span, > 0; 1 is a whole Newton step. Default 0.1. */
  readonly alpha?: number | undefined;
  /**
   * Default "none" for an SGD without momentum, "nesterov" and "heavyBall" for the others, "ema" for any other base.
   */
  readonly momentum?: keyof typeof averages | undefined;
  /** The base's step outside is scaled by lambda_max / lambda_k, but at most by this, >= 1. Default 3; 1 with "ema". */
  readonly maxScale?: number | undefined;
  /** Loss of a fixed batch whose Hessian is used. Default: the loss of the step. */
  readonly curvatureLoss?: LossFunction | undefined;
  /** Of Lanczos' start vectors. Default 0. */
  readonly seed?: number | undefined;
}

export interface FOSIStats {
  /** Whether the eigenvectors were computed anew. */
  readonly refreshed: boolean;
}

/** An optimizer of any options and numbers. */
type Base<Extra extends StepOptions> = Optimizer<OptimizerOptions, string, object, Extra>;

/**
 * FOSI over any optimizer: Newton steps in the span of the Hessian's extreme eigenvectors, which Lanczos' method finds every
 * `interval` steps, and the base optimizer's steps outside of it. Before the first eigenvectors it is the base optimizer to
 * the bit. Its own options `clipNorm` and `nonFinite` count; the base must not clip.
 *
 * Lanczos makes max(4 k, 2 ln n) products with the Hessian for k eigenvectors and holds as many vectors in float64; a step costs four passes over k vectors. State: k floats an element, and the base's.
 *
 * Source: Sivan, Gabel, Schuster, FOSI: hybrid first and second order optimization, ICLR 2024, and its code. Ours: pairs whose
 * residual is above a tenth of the eigenvalue are left out, no eigenvalue counts as less than 1e-4 of the largest, the
 * momentum is kept as coordinates in the span and carried over into a new one, and Lanczos ends at an invariant subspace.
 *
 * @example
 * const optimizer = new FOSI(new SGD(model.parameters(), { lr: 0.01 }), { largest: 10 });
 */
export class FOSI<Extra extends StepOptions = StepOptions> extends Optimizer<
  OptimizerOptions,
  never,
  FOSIStats,
  Extra
> {
  readonly #base: Base<Extra>;
  readonly #largest: number;
  readonly #smallest: number;
  readonly #interval: number;
  readonly #warmup: number;
  readonly #alpha: number;
  readonly #average: readonly [take: number, keep: number];
  readonly #maxScale: number;
  readonly #curvatureLoss: LossFunction | undefined;
  readonly #seed: number;
  /** Of the span: 1 / |eigenvalue| and the momentum's coordinate for each vector, 0 for those left out. */
  #inverse: readonly number[];
  #momentum: readonly number[];
  #scale = 1;
  /** The loss of the step that runs. */
  #question: Question<Extra> | undefined;

  /** @param base the optimizer whose parameters are trained; its steps, state and options go on as they would alone. */
  constructor(base: Base<Extra>, options: FOSIOptions = {}) {
    const fn = "FOSI";
    if (!(base instanceof Optimizer))
      throw new ArgumentError(expected(fn, "an optimizer", "base", base));
    super(fn, base.parameters, options, {});
    if (base.clips)
      throw new ArgumentError(
        `${fn}: expected a base without clipNorm: give clipNorm to ${fn} itself`,
      );
    const { largest = 5, smallest = 0, interval = 100, alpha = 0.1, seed = 0 } = options;
    const { warmup = interval, momentum = momentumOf(base) } = options;
    checkInteger(fn, "largest", largest, 0, 2 ** 16);
    checkInteger(fn, "smallest", smallest, 0, 2 ** 16);
    checkInteger(fn, "interval", interval, 1, Number.MAX_SAFE_INTEGER);
    checkInteger(fn, "warmup", warmup, 1, Number.MAX_SAFE_INTEGER);
    checkInteger(fn, "seed", seed, 0, Number.MAX_SAFE_INTEGER);
    if (!Object.hasOwn(averages, momentum))
      throw new ArgumentError(
        expected(fn, `one of ${Object.keys(averages).join(", ")}`, "momentum", momentum),
      );
    const { maxScale = momentum === "ema" ? 1 : 3, curvatureLoss } = options;
    for (const [name, value, low] of [
      ["alpha", alpha, Number.MIN_VALUE],
      ["maxScale", maxScale, 1],
    ] as const)
      if (!(typeof value === "number" && value >= low && value < Infinity))
        throw new ArgumentError(expected(fn, `a number from ${low}`, name, value));
    if (curvatureLoss !== undefined && typeof curvatureLoss !== "function")
      throw new ArgumentError(expected(fn, "a function", "curvatureLoss", curvatureLoss));
    const n = this.slots.reduce((sum, { tensor }) => sum + tensor.size, 0);
    this.#base = base;
    this.#largest = Math.min(largest, n);
    this.#smallest = Math.min(smallest, n - this.#largest);
    this.#interval = interval;
    this.#warmup = warmup;
    this.#alpha = alpha;
    this.#average = averages[momentum];
    this.#maxScale = maxScale;
    this.#curvatureLoss = curvatureLoss;
    this.#seed = seed;
    const count = this.#largest + this.#smallest;
    this.#inverse = Array.from({ length: count }, () => 0);
    this.#momentum = this.#inverse;
    for (const slot of this.slots) this.addState(slot, "vectors", [count, slot.tensor.size]);
  }

  /** Whether the next step computes the eigenvectors anew. */
  get eigenvectorsDue(): boolean {
    const past = this.steps + 1 - this.#warmup;
    return this.#inverse.length > 0 && past >= 0 && past % this.#interval === 0;
  }

  protected override evaluate(question: Question<Extra>): Evaluation {
    this.#question = question;
    return this.#base.ask(question);
  }

  protected async update(evaluation: Evaluation): Promise<FOSIStats> {
    const question = this.#question;
    this.#question = undefined;
    const refreshed = this.eigenvectorsDue && question !== undefined;
    if (refreshed) {
      const pairs = await extremeEigenpairs(this.#curvatureLoss ?? question.fn, this.parameters, {
        largest: this.#largest,
        smallest: this.#smallest,
        batches: this.#curvatureLoss ? 1 : question.microBatches,
        seed: this.#seed,
      });
      await this.#span(pairs).finally(() => {
        pairs.vectors.dispose();
      });
    }
    if (this.#inverse.every((one) => one === 0)) await this.#base.advance(evaluation);
    else await this.#through(evaluation);
    return { refreshed };
  }

  /** Takes over new eigenvectors, and the momentum into their span. */
  async #span({ vectors, inverse, scale }: Eigenpairs): Promise<void> {
    const momentum = this.slots.map((slot) => {
      const row = Tensor.zeros([1, slot.tensor.size], { device: slot.tensor.device });
      combine(this.#momentum, stateOf(slot, "vectors"), row, 0);
      return row;
    });
    let at = 0;
    for (const slot of this.slots) {
      const { size } = slot.tensor;
      using part = vectors.slice(1, at, at + size);
      using rounded = part.toDType("float32");
      using target = stateOf(slot, "vectors").slice(0, 0, inverse.length);
      copyInto("FOSI.step", rounded, target);
      at += size;
    }
    this.#inverse = this.#inverse.map((_, i) => inverse[i] ?? 0);
    this.#scale = Math.min(Math.max(scale, 1), this.#maxScale);
    this.#momentum = await this.#coordinates(momentum);
    for (const row of momentum) row.dispose();
  }

  /** A step of the base outside the span, and a Newton step inside. */
  async #through(evaluation: Evaluation): Promise<void> {
    const inside = await this.#coordinates(evaluation.gradients);
    const gradients = this.slots.map((slot) =>
      this.#without(slot, item(evaluation.gradients, slot.index), inside),
    );
    const before = this.slots.map(({ tensor }) => tensor.contiguous());
    const steps: Tensor[] = [];
    try {
      await this.#base.advance({ ...evaluation, gradients });
      for (const { index, tensor } of this.slots) {
        const step = tensor.contiguous();
        steps.push(step);
        using one = flat(step);
        using old = flat(item(before, index));
        axpby(-1, old, 1, one);
      }
      const strayed = await this.#coordinates(steps);
      const [take, keepShare] = this.#average;
      this.#momentum = this.#momentum.map((q, i) => take * (inside[i] ?? 0) + keepShare * q);
      const newton = this.#momentum.map((q, i) => this.#alpha * (this.#inverse[i] ?? 0) * q);
      const back = newton.map((d, i) => -(d + this.#scale * (strayed[i] ?? 0)));
      for (const slot of this.slots) {
        using theta = flat(slot.tensor);
        using old = flat(item(before, slot.index));
        using step = flat(item(steps, slot.index));
        axpby(1, old, 0, theta);
        axpby(this.#scale, step, 1, theta);
        using row = theta.reshape([1, theta.size]);
        combine(back, stateOf(slot, "vectors"), row, 1);
      }
    } finally {
      for (const tensor of [...gradients, ...before, ...steps]) tensor.dispose();
    }
  }

  /** `V x` over all parameters. */
  async #coordinates(tensors: readonly Tensor[]): Promise<number[]> {
    const parts = await Promise.all(
      this.slots.map(async (slot) => {
        using x = flat(item(tensors, slot.index));
        using products = vectorDot(stateOf(slot, "vectors"), x);
        return await products.data();
      }),
    );
    return this.#inverse.map((used, i) =>
      used === 0 ? 0 : parts.reduce((sum, part) => sum + Number(part[i]), 0),
    );
  }

  /** x less its part in the span, new. */
  #without(slot: (typeof this.slots)[number], x: Tensor, coordinates: readonly number[]): Tensor {
    const rest = x.contiguous();
    using row = rest.reshape([1, rest.size]);
    combine(
      coordinates.map((one) => -one),
      stateOf(slot, "vectors"),
      row,
      1,
    );
    return rest;
  }

  override get stateBytes(): number {
    return super.stateBytes + this.#base.stateBytes;
  }

  protected override stateNumbers(): Readonly<Record<string, string>> {
    const span = { inverse: this.#inverse, momentum: this.#momentum, scale: this.#scale };
    return { span: JSON.stringify(span) };
  }

  protected override loadNumbers(numbers: ReadonlyMap<string, string>): void {
    const span = JSON.parse(numbers.get("span") ?? "{}") as {
      inverse: number[];
      momentum: number[];
      scale: number;
    };
    this.#inverse = span.inverse;
    this.#momentum = span.momentum;
    this.#scale = span.scale;
  }

  /** Its own state, and the base's with `base.` before every name. */
  override stateDict(): NamedTensors {
    return joinState(super.stateDict(), this.#base.stateDict());
  }

  override loadStateDict(state: NamedTensors): void {
    const { own, base } = splitState(state);
    this.#base.loadStateDict(base);
    super.loadStateDict(own);
  }

  /** Frees the state, the base's too. */
  override dispose(): void {
    super.dispose();
    this.#base.dispose();
  }
}

function momentumOf(base: object): keyof typeof averages {
  if (!(base instanceof SGD)) return "ema";
  return base.averaging;
}

/** `y = sum_i coefficients_i rows_i + beta y`, y `[1, n]`. */
function combine(coefficients: readonly number[], rows: Tensor, y: Tensor, beta: 0 | 1): void {
  using factors = Tensor.from(Float64Array.from(coefficients), [1, coefficients.length], {
    dtype: "float64",
    device: y.device,
  });
  combineRows(factors, rows, y, { beta });
}
