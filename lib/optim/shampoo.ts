import { ArgumentError, FormatError, NumericalError, expected } from "../errors.js";
import type { InverseRootMethod } from "../linalg/index.js";
import { binary } from "../ops/binary.js";
import { checkInteger } from "../ops/check.js";
import { flat, item } from "../ops/tensor-mean.js";
import { unary } from "../ops/unary.js";
import { vectorNorm } from "../ops/vector-reduce.js";
import { axpby } from "../ops/vector-update.js";
import { keep, scope, Tensor } from "../tensor/index.js";
import {
  blockGrids,
  countOf,
  readBlocks,
  sizeOfAxis,
  writeBlocks,
  type BlockGrid,
} from "./blocks.js";
import { mergeDimensions, modeProduct, updateFactor } from "./modes.js";
import {
  Optimizer,
  stateOf,
  type Evaluation,
  type Numbers,
  type OptimizerOptions,
  type Question,
  type Slot,
  type WithGroups,
} from "./optimizer.js";
import type { Parameter } from "./parameters.js";
import { computeRoots, type RootJob } from "./root-jobs.js";
import { belowOne, type Scheduled } from "./schedule.js";

export type ShampooGraft = "sgd" | "adagrad" | "rmsprop" | "adam" | "none";

export interface ShampooOptions extends OptimizerOptions {
  /** Default 1e-2. */
  readonly lr?: Scheduled | undefined;
  /** Of a heavy ball, in [0, 1). Default 0.9. */
  readonly momentum?: Scheduled | undefined;
  /** Default true. */
  readonly nesterov?: boolean | undefined;
  /** Decay of the statistics, in [0, 1]; 1 sums them up. Default 0.99. */
  readonly beta2?: Scheduled | undefined;
  /** Added to the diagonal of a statistic before its root, as a fraction of its largest eigenvalue. Default 1e-6. */
  readonly ridge?: Scheduled | undefined;
  /** Default 0; added to the preconditioned gradient (L2), after grafting. */
  readonly weightDecay?: Scheduled | undefined;
  /**
   * Whose update gives the step its norm, tensor by tensor. "adagrad" (default): `g / (sqrt(sum g^2) + graftEps)`. "rmsprop": with
   * an average that decays by `graftBeta`. "adam": the same without its bias. "sgd": g. "none": the norm stays as it comes out.
   */
  readonly graft?: ShampooGraft | undefined;
  /** Default 1e-6. */
  readonly graftEps?: Scheduled | undefined;
  /** In [0, 1). Default 0.99; 0.999 with "adam". */
  readonly graftBeta?: Scheduled | undefined;
  /** Longer axes are cut, and each block is a problem of its own. Default 128, on other devices than "cpu" 1024. */
  readonly blockSize?: number | undefined;
  /** Join neighbouring axes while their product is within `blockSize`. Default true. */
  readonly mergeDimensions?: boolean | undefined;
  /** p of the inverse roots, 1 to 8. Default twice the number of axes after joining. */
  readonly rootOrder?: number | undefined;
  /** Roots are computed every so many steps. Default 10. */
  readonly rootInterval?: number | undefined;
  /** The first step, counted from 1, that uses them; before it the grafted update is taken. Default 10. */
  readonly startStep?: number | undefined;
  /** Vectors too, with a full matrix and p = 2. Default false: they take the grafted update. */
  readonly precondition1d?: boolean | undefined;
  /** Default: that of `matrixInverseRoot`. */
  readonly rootMethod?: InverseRootMethod | undefined;
}

/** Options that hold for all parameters together. */
export interface ShampooLimits {
  /** A factor whose root fails keeps the previous one; after more failures in a row than this the next step is refused. Default 3. */
  readonly maxRootFailures?: number | undefined;
}

export interface ShampooStats {
  /** Roots that failed in this step. */
  readonly rootFailures: number;
}

type Name = "lr" | "momentum" | "beta2" | "ridge" | "weightDecay" | "graftEps" | "graftBeta";
type ShampooSlot = Slot<ShampooOptions, Name>;

const numbers: Numbers<ShampooOptions, Name> = {
  lr: { of: ({ lr }) => lr, otherwise: 1e-2, range: [0, Infinity] },
  momentum: { of: ({ momentum }) => momentum, otherwise: 0.9, range: belowOne },
  beta2: { of: ({ beta2 }) => beta2, otherwise: 0.99, range: [0, 1] },
  ridge: { of: ({ ridge }) => ridge, otherwise: 1e-6, range: [0, Infinity] },
  weightDecay: { of: ({ weightDecay }) => weightDecay, otherwise: 0, range: [0, Infinity] },
  graftEps: { of: ({ graftEps }) => graftEps, otherwise: 1e-6, range: [1e-30, Infinity] },
  graftBeta: {
    of: ({ graft, graftBeta }) => graftBeta ?? (graft === "adam" ? 0.999 : undefined),
    otherwise: 0.99,
    range: belowOne,
  },
};

const grafts: readonly ShampooGraft[] = ["sgd", "adagrad", "rmsprop", "adam", "none"];

/** How a parameter is seen. */
interface View {
  readonly dims: readonly number[];
  /** None: the grafted update alone. */
  readonly grids: readonly BlockGrid[];
  readonly p: number;
  readonly interval: number;
  readonly start: number;
  readonly graft: ShampooGraft;
}

function viewOf({ name, tensor, options }: ShampooSlot): View {
  const fn = "Shampoo";
  const { blockSize = tensor.device === "cpu" ? 128 : 1024, rootInterval = 10 } = options;
  const { startStep = 10, graft = "adagrad", mergeDimensions: merge = true } = options;
  const most = Number.MAX_SAFE_INTEGER;
  checkInteger(fn, `blockSize of ${name}`, blockSize, 1, most);
  checkInteger(fn, `rootInterval of ${name}`, rootInterval, 1, most);
  checkInteger(fn, `startStep of ${name}`, startStep, 1, most);
  if (!grafts.includes(graft))
    throw new ArgumentError(expected(fn, `one of ${grafts.join(", ")}`, `graft of ${name}`, graft));
  const dims = merge ? mergeDimensions(tensor.shape, blockSize) : tensor.shape;
  const wanted = tensor.size > 0 && (tensor.rank > 1 || options.precondition1d === true);
  const p = options.rootOrder ?? 2 * dims.length;
  if (wanted) checkInteger(fn, `rootOrder of ${name}`, p, 1, 8);
  const grids = wanted ? blockGrids(dims, blockSize) : [];
  return { dims, grids, p, interval: rootInterval, start: startStep, graft };
}

const factorKey = (grid: number, axis: number) => `factor${grid}.${axis}`;
const rootKey = (grid: number, axis: number) => `root${grid}.${axis}`;

/** Shampoo's state of one axis of the blocks of a grid. */
interface Side {
  readonly grid: number;
  readonly axis: number;
  readonly count: number;
  readonly length: number;
}

function sidesOf({ grids }: View): Side[] {
  return grids.flatMap((blocks, grid) =>
    blocks.map((_, axis) => ({
      grid,
      axis,
      count: countOf(blocks),
      length: sizeOfAxis(blocks, axis),
    })),
  );
}

function identities(count: number, n: number, like: Tensor): Tensor {
  const values = new Float32Array(count * n * n);
  for (let at = 0; at < values.length; at += n * n)
    for (let i = 0; i < n; ++i) values[at + i * (n + 1)] = 1;
  return Tensor.from(values, [count, n, n], { device: like.device });
}

/**
 * Shampoo: one statistic a tensor axis, `S = beta2 S + (1 - beta2) G G^T`, and the gradient multiplied on every side by
 * `(S + ridge largest I)^(-1/p)`; its norm is that of another method's update (grafting), and goes into a heavy ball. State of an
 * [o, i] matrix in blocks of b: 3 o i + 4 b o i / b floats. A step costs 4 o i b flops, and the roots when they are due about 4 b^3 a
 * factor.
 *
 * Sources: Gupta et al., Shampoo, 2018; Anil et al., Scalable second order optimization for deep learning, 2020, and its code.
 * Differences: the graft's momentum takes its update, not the gradient; Nesterov's combination is not written back; the
 * ridge is not added to the statistic; statistics begin at zero.
 */
export class Shampoo extends Optimizer<ShampooOptions, Name, ShampooStats> {
  readonly #views: readonly View[];
  readonly #limit: number;
  /** Failures in a row, by factor. */
  #failures = new Map<string, number>();

  constructor(
    params: Iterable<Parameter>,
    options: WithGroups<ShampooOptions> & ShampooLimits = {},
  ) {
    super("Shampoo", params, options, numbers);
    this.#limit = options.maxRootFailures ?? 3;
    checkInteger("Shampoo", "maxRootFailures", this.#limit, 0, Number.MAX_SAFE_INTEGER);
    this.#views = this.slots.map(viewOf);
    for (const slot of this.slots) {
      const view = item(this.#views, slot.index);
      for (const key of ["momentum", "graftMomentum"]) this.addState(slot, key);
      if (!["sgd", "none"].includes(view.graft)) this.addState(slot, "squares");
      for (const { grid, axis, count, length } of sidesOf(view)) {
        this.addState(slot, factorKey(grid, axis), [count, length, length]);
        slot.state.set(rootKey(grid, axis), keep(identities(count, length, slot.tensor)));
      }
    }
  }

  protected override evaluate(question: Question): Evaluation {
    for (const [factor, failures] of this.#failures) {
      if (failures > this.#limit) {
        throw new NumericalError(
          "NOT_CONVERGED",
          `Shampoo.step: the inverse root of ${factor} failed ${failures} times in a row; nothing was changed. A larger ridge helps`,
          { details: { factor, failures } },
        );
      }
    }
    return super.evaluate(question);
  }

  protected async update({ gradients }: Evaluation, step: number): Promise<ShampooStats> {
    for (const slot of this.slots) this.#gather(slot, item(gradients, slot.index), step);
    const rootFailures = await this.#roots(step);
    await Promise.all(
      this.slots.map((slot) => this.#move(slot, item(gradients, slot.index), step)),
    );
    return { rootFailures };
  }

  #gather(slot: ShampooSlot, gradient: Tensor, step: number): void {
    const { dims, grids } = item(this.#views, slot.index);
    const { beta2 } = this.at(slot, step);
    const weight = beta2 === 1 ? 1 : 1 - beta2;
    scope(() => {
      const grad = flat(gradient).reshape(dims);
      for (const [grid, pieces] of grids.entries()) {
        const blocks = readBlocks(grad, pieces);
        for (const axis of pieces.keys())
          updateFactor(stateOf(slot, factorKey(grid, axis)), blocks, axis, { beta: beta2, weight });
      }
    });
  }

  async #roots(step: number): Promise<number> {
    let failed = 0;
    const jobs = this.slots.flatMap((slot) => {
      const view = item(this.#views, slot.index);
      if ((step + 1) % view.interval !== 0) return [];
      return sidesOf(view).map(({ grid, axis }): RootJob => {
        const key = factorKey(grid, axis);
        return {
          factors: stateOf(slot, key),
          roots: stateOf(slot, rootKey(grid, axis)),
          p: view.p,
          ridge: this.at(slot, step).ridge,
          method: slot.options.rootMethod,
          done: (index, { converged }) => {
            const name = `${slot.name}.${key}[${index}]`;
            if (converged) this.#failures.delete(name);
            else this.#failures.set(name, (this.#failures.get(name) ?? 0) + 1);
            failed += Number(!converged);
          },
        };
      });
    });
    await computeRoots(jobs);
    return failed;
  }

  async #move(slot: ShampooSlot, gradient: Tensor, step: number): Promise<void> {
    const { lr, momentum, weightDecay } = this.at(slot, step);
    const { grids, graft, start } = item(this.#views, slot.index);
    const started = step + 1 >= start;
    using grad = flat(gradient);
    using grafted = this.#graftUpdate(slot, grad, step);
    using direction =
      grids.length === 0
        ? grafted.contiguous()
        : started
          ? this.#preconditioned(slot, grad)
          : grad.contiguous();
    const factor = graft === "none" ? 1 : await ratioOfNorms(grafted, direction);
    using theta = flat(slot.tensor);
    using m = flat(stateOf(slot, "momentum"));
    using graftMomentum = flat(stateOf(slot, "graftMomentum"));
    axpby(weightDecay, theta, factor, direction);
    axpby(weightDecay, theta, 1, grafted);
    axpby(1, direction, momentum, m);
    axpby(1, grafted, momentum, graftMomentum);
    const [ball, fresh] = started ? [m, direction] : [graftMomentum, grafted];
    const { nesterov = true } = slot.options;
    axpby(nesterov ? -lr * momentum : -lr, ball, 1, theta);
    if (nesterov) axpby(-lr, fresh, 1, theta);
  }

  /** The gradient with the roots on every side. */
  #preconditioned(slot: ShampooSlot, grad: Tensor): Tensor {
    const { dims, grids } = item(this.#views, slot.index);
    return scope(() => {
      const whole = Tensor.empty(dims, { device: grad.device });
      for (const [grid, pieces] of grids.entries()) {
        const blocks = readBlocks(grad.reshape(dims), pieces);
        const sides = Array.from(pieces.keys());
        const turned = sides.reduce(
          (x, axis) => modeProduct(x, stateOf(slot, rootKey(grid, axis)), axis),
          blocks,
        );
        writeBlocks(turned, pieces, whole);
      }
      return flat(whole);
    });
  }

  /** What the grafted method would do, a new tensor. */
  #graftUpdate(slot: ShampooSlot, grad: Tensor, step: number): Tensor {
    const { graft } = item(this.#views, slot.index);
    if (graft === "sgd" || graft === "none") return grad.contiguous();
    const { graftBeta, graftEps } = this.at(slot, step);
    const sums = graft === "adagrad";
    return scope(() => {
      const squares = flat(stateOf(slot, "squares"));
      axpby(
        sums ? 1 : 1 - graftBeta,
        unary("Shampoo", "square", grad),
        sums ? 1 : graftBeta,
        squares,
      );
      const bias = graft === "adam" ? Math.sqrt(1 - graftBeta ** (step + 1)) : 1;
      const root = unary("Shampoo", "sqrt", squares);
      const denominator = unary("Shampoo", "affine", root, { alpha: 1 / bias, beta: graftEps });
      return binary("Shampoo", "divide", grad, denominator);
    });
  }

  protected override stateNumbers(): Readonly<Record<string, string>> {
    return { rootFailures: JSON.stringify([...this.#failures]) };
  }

  protected override loadNumbers(loaded: ReadonlyMap<string, string>): void {
    let list: unknown;
    try {
      list = JSON.parse(loaded.get("rootFailures") ?? "");
    } catch {
      list = undefined;
    }
    const isEntry = (entry: unknown): entry is [string, number] =>
      Array.isArray(entry) && typeof entry[0] === "string" && Number.isSafeInteger(entry[1]);
    if (!Array.isArray(list) || !list.every(isEntry)) {
      const reason = `its rootFailures are ${loaded.get("rootFailures") ?? "not given"}`;
      throw new FormatError(`Shampoo.loadStateDict: the state does not fit: ${reason}`, {
        details: { reason },
      });
    }
    this.#failures = new Map(list);
  }
}

async function ratioOfNorms(above: Tensor, below: Tensor): Promise<number> {
  using x = vectorNorm(above);
  using y = vectorNorm(below);
  const [[a], [b]] = await Promise.all([x.data(), y.data()]);
  return Number(a) / (Number(b) + 1e-16);
}
