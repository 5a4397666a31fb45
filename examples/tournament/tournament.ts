/** Optimizers on one task with an equal tuning budget: each gets the same number of rates, and its best one other seeds. */
import type { Module } from "../../lib/nn/index.js";
import type { Parameter, StepResult } from "../../lib/optim/index.js";
import type { Tensor } from "../../lib/tensor/index.js";

interface Steps {
  step(loss: () => Tensor): Promise<StepResult>;
  dispose(): void;
}

export interface Contender<M extends Module = Module> {
  readonly name: string;
  /** Learning rates to choose from. */
  readonly rates: readonly number[];
  make(params: Iterable<Parameter>, lr: number, seed: number, model: M): Steps;
}

/** One batch: its loss as a function of the model, and what to do with it afterwards. */
export interface Batch<M extends Module> {
  loss(model: M): Tensor;
  dispose(): void;
}

export interface Task<M extends Module> {
  model(seed: number): M;
  /** Steps of a run that tunes, and of one that counts. */
  readonly tuningSteps: number;
  readonly steps: number;
  /** Runs that count, with seeds 1, 2, ... */
  readonly seeds: number;
  batches(seed: number): Iterable<Batch<M>>;
  /** Figures of a trained model, smaller `loss` is better: on data for choosing a rate, or on data kept for the end. */
  evaluate(model: M, data: "validation" | "test"): Promise<Figures>;
}

export type Figures = { readonly loss: number } & Readonly<Record<string, number>>;

export interface Point {
  readonly step: number;
  readonly seconds: number;
  /** Moving average of the training loss. */
  readonly loss: number;
}

export interface Row {
  readonly name: string;
  readonly lr: number;
  /** Test figures of each seed. */
  readonly figures: readonly Figures[];
  readonly millisecondsAStep: number;
  /** Rates whose validation loss is at most 10 % above the best one's. */
  readonly goodRates: number;
  readonly rates: number;
  /** Of the first seed. */
  readonly curve: readonly Point[];
}

const SMOOTHING = 0.95;

async function train<M extends Module>(
  task: Task<M>,
  contender: Contender<M>,
  lr: number,
  seed: number,
  steps: number,
): Promise<{ model: M; curve: Point[] }> {
  const model = task.model(seed);
  const optimizer = contender.make(model.parameters(), lr, seed, model);
  const curve: Point[] = [];
  let [step, seconds, average] = [0, 0, Number.NaN];
  try {
    for (const batch of task.batches(seed)) {
      model.setStep(step);
      const start = performance.now();
      const { loss } = await optimizer.step(() => batch.loss(model));
      seconds += (performance.now() - start) / 1000;
      batch.dispose();
      average = step === 0 ? loss : SMOOTHING * average + (1 - SMOOTHING) * loss;
      step += 1;
      curve.push({ step, seconds, loss: average });
      if (step === steps) break;
    }
  } catch (error) {
    // A rate that is too high ends in numbers that are not finite: that run has lost.
    if ((error as { code?: string }).code !== "NON_FINITE") throw error;
  } finally {
    optimizer.dispose();
  }
  return { model, curve };
}

export const median = (list: readonly number[]): number =>
  [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? Number.NaN;

async function compete<M extends Module>(task: Task<M>, contender: Contender<M>): Promise<Row> {
  const tuned: { lr: number; loss: number }[] = [];
  for (const lr of contender.rates) {
    const { model, curve } = await train(task, contender, lr, 0, task.tuningSteps);
    const whole = curve.length === task.tuningSteps;
    const { loss } = whole ? await task.evaluate(model, "validation") : { loss: Infinity };
    tuned.push({ lr, loss: Number.isFinite(loss) ? loss : Infinity });
    model.dispose();
  }
  const best = Math.min(...tuned.map(({ loss }) => loss));
  const lr = tuned.find(({ loss }) => loss === best)?.lr ?? Number.NaN;
  const figures: Figures[] = [];
  const curves: Point[][] = [];
  for (let seed = 1; seed <= task.seeds; ++seed) {
    const { model, curve } = await train(task, contender, lr, seed, task.steps);
    figures.push(await task.evaluate(model, "test"));
    curves.push(curve);
    model.dispose();
  }
  return {
    name: contender.name,
    lr,
    figures,
    millisecondsAStep: 1000 * median(curves.map((c) => (c.at(-1)?.seconds ?? 0) / c.length)),
    goodRates: tuned.filter(({ loss }) => loss <= 1.1 * best).length,
    rates: tuned.length,
    curve: curves[0] ?? [],
  };
}

/** A row for each contender; says on stderr how far it is. */
export async function tournament<M extends Module>(
  task: Task<M>,
  contenders: readonly Contender<M>[],
): Promise<Row[]> {
  const rows: Row[] = [];
  for (const contender of contenders) {
    const start = performance.now();
    rows.push(await compete(task, contender));
    const seconds = (performance.now() - start) / 1000;
    console.error(
      `${rows.length}/${contenders.length} ${contender.name}: ${seconds.toFixed(0)} s, ${task.seeds} seeds after ${contender.rates.length} rates`,
    );
  }
  return rows;
}

/** The first point from which on the curve is at or below a loss. */
export function reaches({ curve }: Row, loss: number): Point | undefined {
  return curve.find((point) => point.loss <= loss);
}
