import { scale, valueAndGrad, type ValueAndGrad } from "../autodiff/index.js";
import {
  ArgumentError,
  NumericalError,
  FormatError,
  ShapeError,
  abortError,
  expected,
} from "../errors.js";
import type { NamedTensors } from "../formats/index.js";
import { item, TensorMean } from "../ops/tensor-mean.js";
import { vectorNorm } from "../ops/vector-reduce.js";
import { keep, sameShape, Tensor } from "../tensor/index.js";
import { HeldMasks } from "./masks.js";
import { checkParameters, type Group, type Parameter, resolveGroups } from "./parameters.js";
import { scheduled, type Scheduled, type ScheduleFunction } from "./schedule.js";

/** Computes the loss of a batch from the parameters: one element. Called again it must give the same value. */
export type LossFunction = (microBatch: number) => Tensor;

/** Options that every optimizer takes. Every number may be a schedule. */
export interface OptimizerOptions {
  /** Learning rate, >= 0. */
  readonly lr?: Scheduled | undefined;
  /** Default 0; decoupled unless the optimizer says otherwise. */
  readonly weightDecay?: Scheduled | undefined;
}

/** Options that hold for all parameters together. */
export interface CommonOptions {
  /** The gradient of all parameters together is scaled down to this 2-norm. Default: not. */
  readonly clipNorm?: Scheduled | undefined;
  /**
   * A gradient with NaN or Inf: "error" (default) rejects with `NON_FINITE` and the parameter's name, "skip" leaves
   * everything as it is, counts it in `skippedSteps` and reports `skipped`.
   */
  readonly nonFinite?: "error" | "skip" | undefined;
}

export interface StepOptions {
  /** The mean over so many micro-batches: the loss function is called with 0, 1, ... Default 1. */
  readonly accumulate?: number | undefined;
  /** Checked before work begins and before anything is changed; a step is done whole or not at all. */
  readonly signal?: AbortSignal | undefined;
}

export interface StepResult {
  readonly loss: number;
  /** 2-norm of the gradient over all parameters, before clipping. */
  readonly gradientNorm: number;
  /** Whether the step was skipped for a gradient that is not finite. */
  readonly skipped: boolean;
}

/** What a step asks an optimizer to evaluate. */
export interface Question<Extra = StepOptions> {
  readonly fn: LossFunction;
  /** The loss is the mean of `fn(0)` to `fn(microBatches - 1)`. */
  readonly microBatches: number;
  readonly options: Extra;
}

/** What the optimizer asked of the loss. The tensors belong to the step, which frees them. */
export interface Evaluation {
  readonly loss: Tensor;
  readonly gradients: readonly Tensor[];
}

/** An option of an optimizer that is a number: where it is found, what it is if absent, and its range. */
export interface NumericOption<Options> {
  readonly of: (options: Options) => Scheduled | undefined;
  readonly otherwise: Scheduled;
  readonly range: readonly [low: number, high: number];
}

export type Numbers<Options, Name extends string> = Readonly<Record<Name, NumericOption<Options>>>;

/** A parameter with its options and state. */
export interface Slot<Options, Name extends string = string> {
  readonly index: number;
  readonly name: string;
  readonly tensor: Tensor;
  readonly options: Options;
  /** Numeric options as functions of the step. */
  readonly numbers: Readonly<Record<Name, ScheduleFunction>>;
  /** By key; part of the state of the optimizer. */
  readonly state: Map<string, Tensor>;
}

/** The options of an optimizer with those for all parameters together and for groups of them. */
export type WithGroups<Options> = Options &
  CommonOptions & { readonly groups?: readonly Group<Options>[] | undefined };

const VERSION = "1";

/**
 * What all optimizers share: parameters and groups, the evaluation of the loss, clipping, the refusal of gradients that are
 * not finite, and the state.
 *
 * A subclass says which numbers it takes and what it keeps of a parameter, and does the update.
 */
export abstract class Optimizer<
  Options extends OptimizerOptions,
  Name extends string,
  Stats extends object = object,
  Extra extends StepOptions = StepOptions,
> {
  /** Steps done; schedules see this number, 0 at the first. */
  #steps = 0;
  #skipped = 0;
  #running = false;
  readonly #clipNorm: ScheduleFunction | undefined;
  readonly #skips: boolean;
  readonly #masks = new HeldMasks();
  protected readonly slots: readonly Slot<Options, Name>[];

  /** @param numbers the numeric options of a parameter. */
  protected constructor(
    readonly name: string,
    params: Iterable<Parameter>,
    protected readonly options: WithGroups<Options>,
    numbers: Numbers<Options, Name>,
  ) {
    const list = checkParameters(name, params);
    const resolved = resolveGroups<Options>(name, list, options);
    this.slots = list.map(({ name: path, tensor }, index) => {
      const own = item(resolved, index);
      const entries = Object.entries(numbers) as [Name, NumericOption<Options>][];
      const functions = entries.map(([key, { of, otherwise, range }]) => [
        key,
        scheduled(name, `${key} of ${path}`, of(own) ?? otherwise, range),
      ]);
      return {
        index,
        name: path,
        tensor,
        options: own,
        numbers: Object.fromEntries(functions) as Record<Name, ScheduleFunction>,
        state: new Map<string, Tensor>(),
      };
    });
    const { clipNorm, nonFinite = "error" } = options;
    this.#clipNorm =
      clipNorm === undefined ? undefined : scheduled(name, "clipNorm", clipNorm, [0, Infinity]);
    if (!["error", "skip"].includes(nonFinite))
      throw new ArgumentError(expected(name, '"error" or "skip"', "nonFinite", nonFinite));
    this.#skips = nonFinite === "skip";
  }

  /** Steps done, the skipped ones not counted. */
  get steps(): number {
    return this.#steps;
  }

  /** Steps that were skipped for a gradient that is not finite. */
  get skippedSteps(): number {
    return this.#skipped;
  }

  /** Bytes of state kept for the parameters. */
  get stateBytes(): number {
    let bytes = 0;
    for (const { state } of this.slots)
      for (const { byteLength } of state.values()) bytes += byteLength;
    return bytes;
  }

  /** A zero state tensor of a parameter, part of `stateDict`. */
  protected addState(
    slot: Slot<Options, Name>,
    key: string,
    shape: readonly number[] = slot.tensor.shape,
  ): void {
    slot.state.set(key, keep(Tensor.zeros(shape, { device: slot.tensor.device })));
  }

  /** Loss and gradient; a subclass that needs more overrides it. `fn` is the mean over micro-batches. */
  protected evaluate({ fn, microBatches }: Question<Extra>): Evaluation {
    return meanOver(microBatches, (k) => valueAndGrad(() => fn(k), this.tensors()));
  }

  /** Changes parameters and state; returns what `step` reports beside the loss. `step` counts from 0. */
  protected abstract update(evaluation: Evaluation, step: number): Promise<Stats>;

  /** The numeric options of a parameter at a step. */
  protected at({ numbers }: Slot<Options, Name>, step: number): Record<Name, number> {
    const entries = Object.entries(numbers) as [Name, ScheduleFunction][];
    return Object.fromEntries(entries.map(([key, value]) => [key, value(step)])) as Record<
      Name,
      number
    >;
  }

  protected tensors(): Tensor[] {
    return this.slots.map(({ tensor }) => tensor);
  }

  /**
   * One step: evaluates the loss and its derivatives, then changes the parameters in place.
   *
   * @param lossFn returns one element; what it makes is freed. Synchronous, and the same value each time it is called.
   * @throws NumericalError `NON_FINITE` with `details.parameter`; ArgumentError while another step runs; what `lossFn` throws;
   *   `ABORTED`. Then nothing was changed.
   */
  async step(lossFn: LossFunction, options?: Extra): Promise<StepResult & Partial<Stats>> {
    const fn = `${this.name}.step`;
    const { accumulate = 1, signal } = options ?? {};
    if (typeof lossFn !== "function")
      throw new ArgumentError(expected(fn, "a function that returns the loss", "lossFn", lossFn));
    if (!Number.isInteger(accumulate) || accumulate < 1)
      throw new ArgumentError(expected(fn, "a whole number from 1", "accumulate", accumulate));
    if (this.#running) throw new ArgumentError(`${fn}: the step before has not ended: await it`);
    if (signal?.aborted) throw abortError(fn, signal);
    this.#running = true;
    try {
      const evaluation = this.evaluate({
        fn: lossFn,
        microBatches: accumulate,
        options: options ?? ({} as Extra),
      });
      const made: Tensor[] = [];
      try {
        const masked = this.#masks.apply(fn, evaluation.gradients);
        made.push(...masked.made);
        return await this.#apply(fn, { ...evaluation, gradients: masked.gradients }, signal);
      } finally {
        dispose(evaluation);
        for (const tensor of made) tensor.dispose();
      }
    } finally {
      this.#running = false;
    }
  }

  async #apply(
    fn: string,
    evaluation: Evaluation,
    signal: AbortSignal | undefined,
  ): Promise<StepResult & Partial<Stats>> {
    const [loss, norms] = await Promise.all([
      numberOf(evaluation.loss),
      normsOf(evaluation.gradients),
    ]);
    const gradientNorm = Math.hypot(...norms);
    if (signal?.aborted) throw abortError(fn, signal);
    const bad = norms.findIndex((norm) => !Number.isFinite(norm));
    if (bad >= 0 || !Number.isFinite(loss)) {
      if (this.#skips) {
        this.#skipped += 1;
        return { loss, gradientNorm, skipped: true } as StepResult & Partial<Stats>;
      }
      throw this.#nonFinite(fn, loss, bad);
    }
    const limit = this.#clipNorm?.(this.#steps) ?? Infinity;
    const factor = gradientNorm > limit ? limit / gradientNorm : 1;
    const gradients =
      factor === 1 ? evaluation.gradients : evaluation.gradients.map((g) => scale(g, factor));
    const stats = await this.update({ ...evaluation, gradients }, this.#steps).finally(() => {
      if (factor !== 1) for (const gradient of gradients) gradient.dispose();
    });
    this.#masks.hold(fn, this.slots);
    this.#steps += 1;
    return { loss, gradientNorm, skipped: false, ...stats };
  }

  /**
   * Holds weights at zero from now on, those where a mask is 0: they become zero, with what is remembered of them element by
   * element, get no gradient, and no momentum or decay revives them. Not part of `stateDict`: set them again after loading.
   *
   * @param masks by parameter name: bool, of its shape, 1 where a weight is trained; parameters without one are free. Copied.
   *   They take the place of all masks before; an empty map frees every weight.
   * @throws ArgumentError for a name that is no parameter, or while a step runs; ShapeError, DTypeError, DeviceError. Then nothing
   *   was changed.
   */
  setMasks(masks: ReadonlyMap<string, Tensor>): void {
    const fn = `${this.name}.setMasks`;
    if (this.#running) throw new ArgumentError(`${fn}: a step has not ended: await it`);
    this.#masks.set(fn, this.slots, masks);
  }

  #nonFinite(fn: string, loss: number, bad: number): NumericalError {
    const parameter = this.slots[bad]?.name;
    const what = parameter === undefined ? `the loss, ${loss}` : `the gradient of ${parameter}`;
    return new NumericalError(
      "NON_FINITE",
      `${fn}: expected finite numbers but found NaN or Inf in ${what}; nothing was changed`,
      { details: { parameter, loss, step: this.#steps } },
    );
  }

  /** @internal For an optimizer that works through this one: what it needs of the loss. */
  ask(question: Question<Extra>): Evaluation {
    return this.evaluate(question);
  }

  /** @internal For an optimizer that works through this one: a step with an evaluation that was checked. */
  async advance(evaluation: Evaluation): Promise<void> {
    await this.update(evaluation, this.#steps);
    this.#steps += 1;
  }

  /** @internal Whether it scales gradients down itself. */
  get clips(): boolean {
    return this.#clipNorm !== undefined;
  }

  /** @internal The parameters, in their order. */
  get parameters(): readonly Parameter[] {
    return this.slots.map(({ name, tensor }) => ({ name, tensor }));
  }

  /** Numbers a subclass keeps beside its tensors. */
  protected stateNumbers(): Readonly<Record<string, string>> {
    return {};
  }

  /** Takes back what `stateNumbers` gave. */
  protected loadNumbers?(numbers: ReadonlyMap<string, string>): void;

  /**
   * A copy of the state: tensors `PARAMETER.KEY`, and the step count. The caller disposes it. Write it with `saveTensors`.
   *
   * @example
   * const { tensors, metadata } = optimizer.stateDict();
   * await saveTensors("optimizer.safetensors", tensors, Object.fromEntries(metadata));
   */
  stateDict(): NamedTensors {
    const tensors = new Map<string, Tensor>();
    for (const { name, state } of this.slots)
      for (const [key, tensor] of state) tensors.set(`${name}.${key}`, tensor.contiguous());
    const metadata = {
      optimizer: this.name,
      version: VERSION,
      step: String(this.#steps),
      skipped: String(this.#skipped),
      ...this.stateNumbers(),
    };
    return { tensors, metadata: new Map(Object.entries(metadata)) };
  }

  /**
   * Goes on from a state, to the same bits as if it had never stopped.
   *
   * @param state what `stateDict` gave, or `loadTensors` read. Tensors are copied.
   * @throws FormatError when it is of another optimizer or model, ShapeError when a shape differs; then nothing was changed.
   */
  loadStateDict(state: NamedTensors): void {
    const fn = `${this.name}.loadStateDict`;
    const { tensors, metadata } = state;
    const refuse = (reason: string): never => {
      throw new FormatError(`${fn}: the state does not fit: ${reason}`, { details: { reason } });
    };
    for (const [key, value] of [
      ["optimizer", this.name],
      ["version", VERSION],
    ] as const) {
      if (metadata.get(key) !== value)
        refuse(`its ${key} is ${metadata.get(key) ?? "not given"}, not ${value}`);
    }
    const count = (key: string): number => {
      const value = Number(metadata.get(key) ?? "none");
      return Number.isSafeInteger(value) && value >= 0
        ? value
        : refuse(`its ${key} is ${metadata.get(key) ?? "not given"}`);
    };
    const [steps, skipped] = [count("step"), count("skipped")];
    const wanted = new Map<string, { slot: Slot<Options, Name>; key: string; tensor: Tensor }>(
      this.slots.flatMap((slot) =>
        Array.from(
          slot.state,
          ([key, tensor]) => [`${slot.name}.${key}`, { slot, key, tensor }] as const,
        ),
      ),
    );
    for (const [name, { tensor }] of wanted) {
      const found = tensors.get(name) ?? refuse(`${name} is missing`);
      if (found.dtype !== tensor.dtype) refuse(`${name} is ${found.dtype}, not ${tensor.dtype}`);
      if (!sameShape(found.shape, tensor.shape))
        throw new ShapeError(expected(fn, `shape [${tensor.shape.join(", ")}]`, name, found.shape));
    }
    for (const name of tensors.keys())
      if (!wanted.has(name)) refuse(`${name} belongs to no parameter here`);
    this.loadNumbers?.(metadata);
    for (const [name, { slot, key, tensor }] of wanted) {
      slot.state.set(key, keep((tensors.get(name) ?? tensor).to(tensor.device)));
      tensor.dispose();
    }
    this.#steps = steps;
    this.#skipped = skipped;
  }

  /** Frees the state. The parameters stay. */
  dispose(): void {
    for (const { state } of this.slots) {
      for (const tensor of state.values()) tensor.dispose();
      state.clear();
    }
    this.#masks.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** @internal A state tensor of a slot. */
export function stateOf<Options>({ name, state }: Slot<Options>, key: string): Tensor {
  const tensor = state.get(key);
  if (tensor === undefined)
    throw new ArgumentError(`the optimizer's state of ${name} was disposed`);
  return tensor;
}

/** @internal Puts another tensor in its place, and takes it over. */
export function replaceState<Options>(slot: Slot<Options>, key: string, tensor: Tensor): void {
  stateOf(slot, key).dispose();
  slot.state.set(key, keep(tensor));
}

/** @internal Mean of the loss and the gradients over micro-batches. */
export function meanOver(microBatches: number, evaluate: (k: number) => ValueAndGrad): Evaluation {
  const sum = new TensorMean();
  try {
    for (let k = 0; k < microBatches; ++k) {
      const { value, gradients } = evaluate(k);
      sum.add([value, ...gradients]);
    }
    const [loss, ...gradients] = sum.mean() as [Tensor, ...Tensor[]];
    return { loss, gradients };
  } catch (error) {
    sum.dispose();
    throw error;
  }
}

function dispose({ loss, gradients, ...more }: Evaluation): void {
  loss.dispose();
  for (const gradient of gradients) gradient.dispose();
  for (const list of Object.values(more) as readonly (readonly Tensor[])[])
    for (const tensor of list) tensor.dispose();
}

async function numberOf(scalar: Tensor): Promise<number> {
  return Number((await scalar.data())[0]);
}

async function normsOf(tensors: readonly Tensor[]): Promise<number[]> {
  const norms = tensors.map((tensor) => vectorNorm(tensor));
  try {
    return await Promise.all(norms.map(numberOf));
  } finally {
    for (const norm of norms) norm.dispose();
  }
}
