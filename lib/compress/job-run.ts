/** The work of a job between its checks and its output: calibrate, quantize, journal. */
import { ArgumentError } from "../errors.js";
import type { OnnxModel } from "../formats/onnx/index.js";
import { captureInputs } from "../graph/calibration.js";
import { type QuantizableLayer, readWeight } from "../graph/layers.js";
import { writeDenseWeight } from "../graph/rewrite.js";
import { SequentialRunner } from "../graph/sequential.js";
import { canonicalJson, throwIfAborted } from "../io/index.js";
import { LayerGrams } from "./job-grams.js";
import { type LayerJob, quantizeLayer } from "./job-layer.js";
import type { CalibrationFacts, WatchedSamples } from "./job-inputs.js";
import type { JobState } from "./job-state.js";
import type { JobEvent } from "./job-types.js";
import { quantizeFlops } from "./layer-cost.js";
import { denseWeight, layerFromPayload, layerPayload, type QuantizedLayer } from "./layer-parts.js";
import type { Assignment } from "./recipe.js";

export interface RunJob extends Pick<
  LayerJob,
  "strict" | "fallback" | "report" | "device" | "signal"
> {
  readonly model: OnnxModel;
  /** Layers to quantize, in the order of the graph. */
  readonly chosen: readonly Assignment<QuantizableLayer>[];
  readonly samples: WatchedSamples | undefined;
  readonly sequential: boolean;
  readonly state: JobState;
  readonly emit: (event: JobEvent) => void;
  /** Called for each layer when it is there. */
  readonly onLayer: (
    assignment: Assignment<QuantizableLayer>,
    done: QuantizedLayer,
    facts: { index: number; resumed: boolean; etaSeconds: number | undefined },
  ) => void;
}

/** All chosen layers, quantized by this run or an earlier one, by name. */
export async function runJob(job: RunJob): Promise<Map<string, QuantizedLayer>> {
  const finished = await finishedLayers(job);
  const progress = new Progress(job, finished);
  if (job.samples === undefined) {
    for (const assignment of job.chosen) await progress.quantize(assignment, undefined);
  } else if (job.sequential) {
    await runSequential(job, job.samples, progress);
  } else {
    await runOnePass(job, job.samples, progress);
  }
  return progress.done;
}

async function finishedLayers(job: RunJob): Promise<Map<string, QuantizedLayer>> {
  const finished = new Map<string, QuantizedLayer>();
  for (const { layer } of job.chosen) {
    const payload = await job.state.journal.get(layer.name);
    if (payload !== undefined) finished.set(layer.name, layerFromPayload(payload));
  }
  return finished;
}

/** Quantizes one layer after the other, unless an earlier run did, and knows how long the rest will take. */
class Progress {
  readonly done = new Map<string, QuantizedLayer>();
  readonly #job: RunJob;
  readonly #finished: ReadonlyMap<string, QuantizedLayer>;
  #costLeft: number;
  #costDone = 0;
  #seconds = 0;

  constructor(job: RunJob, finished: ReadonlyMap<string, QuantizedLayer>) {
    this.#job = job;
    this.#finished = finished;
    this.#costLeft = job.chosen
      .filter(({ layer }) => !finished.has(layer.name))
      .reduce((sum, assignment) => sum + this.#cost(assignment), 0);
  }

  /** Operations, with a constant for what every call costs. */
  #cost({ layer, options }: Assignment<QuantizableLayer>): number {
    return quantizeFlops(layer, options) + 2e7 * layer.groups;
  }

  isFinished({ name }: QuantizableLayer): boolean {
    return this.#finished.has(name);
  }

  async quantize(
    assignment: Assignment<QuantizableLayer>,
    grams: LayerGrams | undefined,
  ): Promise<void> {
    const { layer, options } = assignment;
    const { emit, onLayer, state, strict, fallback, report, device, signal } = this.#job;
    const index = this.done.size + 1;
    const old = this.#finished.get(layer.name);
    if (old !== undefined) {
      this.done.set(layer.name, old);
      onLayer(assignment, old, { index, resumed: true, etaSeconds: this.#eta() });
      return;
    }
    throwIfAborted("quantizeOnnx", signal);
    state.check();
    emit({ type: "layer-start", index, total: this.#job.chosen.length, name: layer.name });
    const start = performance.now();
    const done = await quantizeLayer({
      layer,
      options,
      weight: readWeight(this.#job.model, layer),
      grams: grams?.of(layer),
      strict,
      fallback,
      report,
      device,
      signal,
    });
    await state.journal.add(layer.name, layerPayload(done));
    this.done.set(layer.name, done);
    this.#seconds += (performance.now() - start) / 1000;
    const cost = this.#cost(assignment);
    this.#costDone += cost;
    this.#costLeft -= cost;
    onLayer(assignment, done, { index, resumed: false, etaSeconds: this.#eta() });
  }

  #eta(): number | undefined {
    if (this.#costLeft < 1) return 0; // less than an operation: rounding of the sums
    if (this.#costDone === 0) return undefined;
    return (this.#costLeft / this.#costDone) * this.#seconds;
  }
}

/** The data must be those that the finished layers saw. */
async function rememberCalibration(job: RunJob, samples: WatchedSamples): Promise<void> {
  const { journal } = job.state;
  const facts = samples.facts;
  const before = journal.note("calibration") as CalibrationFacts | undefined;
  if (before === undefined) {
    await journal.setNote("calibration", facts);
  } else if (canonicalJson(before) !== canonicalJson(facts)) {
    throw new ArgumentError(
      `quantizeOnnx: the calibration data are not those of the interrupted run (${before.batches} batches, SHA-256 ${before.sha256.slice(0, 12)}...; ` +
        `now ${facts?.batches ?? 0}, ${facts?.sha256.slice(0, 12) ?? ""}...); give the same data, or pass overwrite (--overwrite) to start over`,
    );
  }
}

async function runOnePass(job: RunJob, samples: WatchedSamples, progress: Progress): Promise<void> {
  const { chosen, emit, model, signal, state, device } = job;
  const pending = chosen.map(({ layer }) => layer).filter((layer) => !progress.isFinished(layer));
  const grams = new LayerGrams(pending, { device });
  try {
    if (pending.length === 0) {
      await samples.drain();
    } else {
      await captureInputs(
        model,
        pending,
        samples,
        (_names, inputName, activation, batch) => grams.add(inputName, activation, batch, signal),
        {
          signal,
          threads: state.threads,
          onProgress: ({ done }) => {
            emit({ type: "calibration", batches: done, done: false });
          },
        },
      );
    }
    await rememberCalibration(job, samples);
    emit({ type: "calibration", batches: samples.facts?.batches ?? 0, done: true });
    for (const assignment of chosen) {
      await progress.quantize(assignment, grams);
      grams.release(assignment.layer);
    }
  } finally {
    grams.dispose();
  }
}

async function runSequential(
  job: RunJob,
  samples: WatchedSamples,
  progress: Progress,
): Promise<void> {
  const { chosen, emit, signal, state, device } = job;
  const byName = new Map(chosen.map((assignment) => [assignment.layer.name, assignment]));
  const working = job.model.fork();
  const layers = chosen.map(({ layer }) => layer);
  const runner = await SequentialRunner.open(working, layers, samples, {
    signal,
    threads: state.threads,
  });
  try {
    await rememberCalibration(job, samples);
    emit({ type: "calibration", batches: samples.facts?.batches ?? 0, done: true });
    for (const group of runner.groups) {
      const pending = group.layers.filter((layer) => !progress.isFinished(layer));
      const grams = new LayerGrams(pending, { device });
      try {
        await runner.advance(
          pending.length === 0
            ? undefined
            : (_names, inputName, activation, batch) =>
                grams.add(inputName, activation, batch, signal),
        );
        for (const layer of group.layers) {
          const assignment = byName.get(layer.name);
          if (assignment === undefined) continue;
          await progress.quantize(assignment, grams);
          const done = progress.done.get(layer.name);
          if (done !== undefined) writeDenseWeight(working, layer, await denseWeight(done.parts));
        }
      } finally {
        grams.dispose();
      }
    }
  } finally {
    const closing = runner.close();
    if (signal?.aborted !== true) await closing;
    else closing.catch(() => undefined);
  }
}
