/** One pass over the calibration samples, handing over what the layers of a model are fed. */
import { dirname, resolve } from "node:path";
import { ArgumentError, expected } from "../errors.js";
import type { OnnxModel } from "../formats/onnx/index.js";
import { throwIfAborted } from "../io/fs-errors.js";
import { untilAborted } from "./abort.js";
import { Dataflow } from "./dataflow.js";
import type { Feeds, TypedHostTensor } from "./element-types.js";
import { groupLayers, type CalibratedLayer } from "./layer-groups.js";
import { modelInputs } from "./model-inputs.js";
import { prefetched } from "./prefetch.js";
import { segmentModel, type TensorType } from "./segments.js";
import { GraphSession, type SessionOptions } from "./session.js";

/**
 * Takes one activation: the layers it feeds, its name, its values, and which batch it belongs to (from 0).
 * The array may be read until the returned promise resolves.
 */
export type OnActivation = (
  layerNames: string[],
  inputName: string,
  activation: TypedHostTensor,
  batchIndex: number,
) => Promise<void> | void;

/** What a caller may watch and stop. */
export interface Capturing {
  signal?: AbortSignal | undefined;
  /** Called after each batch. The number of batches is not known before the end. */
  onProgress?: ((progress: { done: number }) => void) | undefined;
}

export interface CaptureOptions extends Capturing {
  /** Default: the number of CPUs. */
  threads?: number;
  /**
   * Default "disabled": every node is computed as it is written, so that an activation does not depend
   * on which others are asked for, nor on how the graph is cut.
   */
  optimization?: NonNullable<SessionOptions["optimization"]>;
}

/**
 * Runs the model on each batch and hands over the input of every layer, each distinct tensor once per
 * batch. Nothing is kept: memory holds the activations of one batch, and of the next one that is
 * computed meanwhile. Nodes that no layer's input depends on do not run.
 *
 * `layers`: what `findLayers` gives, or a part of it. `samples`: see `readSamples`.
 * Returns the number of batches.
 * Errors: ArgumentError without layers, or when onnxruntime fails (naming the batch); what `samples` and
 * `onActivation` throw; BindingError, FormatError of `GraphSession.open`; code ABORTED.
 */
export async function captureInputs(
  model: OnnxModel,
  layers: readonly CalibratedLayer[],
  samples: AsyncIterable<Feeds>,
  onActivation: OnActivation,
  options: CaptureOptions = {},
): Promise<number> {
  const fn = "captureInputs";
  const { signal, onProgress } = options;
  throwIfAborted(fn, signal);
  const groups = groupLayers(layers);
  if (groups.length === 0) throw new ArgumentError(expected(fn, "at least one", "layers", layers));
  const inputs = new Map(modelInputs(model).map((input) => [input.name, input]));
  // What is fed needs no session, and a graph may not hand out its own inputs.
  const outputs = groups.map((group) => group.inputName).filter((name) => !inputs.has(name));
  const session = outputs.length === 0 ? undefined : await openFor(model, outputs, options);

  const capture = async (feeds: Feeds): Promise<Map<string, TypedHostTensor>> => {
    const made = (await session?.run(feeds, { outputs, signal })) ?? {};
    const tensors = new Map(Object.entries(made));
    for (const { inputName } of groups) {
      const [given, type] = [feeds[inputName], inputs.get(inputName)?.type];
      // A copy: the next sample may be made in the same array meanwhile.
      if (given && type)
        tensors.set(inputName, { type, dims: given.dims, data: given.data.slice() });
    }
    return tensors;
  };

  const iterator = samples[Symbol.asyncIterator]();
  try {
    return await prefetched(
      async (batch) => {
        const step = await untilAborted(fn, iterator.next(), signal);
        if (step.done === true) return undefined;
        return inBatch(fn, batch, () => capture(step.value));
      },
      async (tensors, batch) => {
        for (const { inputName, layers: fedLayers } of groups) {
          throwIfAborted(fn, signal);
          const activation = tensors.get(inputName);
          tensors.delete(inputName);
          if (activation === undefined) continue;
          const names = fedLayers.map((layer) => layer.name);
          await onActivation(names, inputName, activation, batch);
        }
        onProgress?.({ done: batch + 1 });
      },
    );
  } finally {
    void iterator.return?.().catch(() => undefined);
    await session?.close();
  }
}

/** A session of the part of the model that makes these tensors. */
function openFor(
  model: OnnxModel,
  outputs: readonly string[],
  options: CaptureOptions,
): Promise<GraphSession> {
  const flow = new Dataflow(model.graph);
  const nodes = flow.nodesFor(outputs, new Set());
  const read = new Set(nodes.flatMap((index) => flow.uses(index)));
  const types = modelInputs(model).flatMap(({ name, type, dims }): [string, TensorType][] =>
    read.has(name) && type ? [[name, { type, rank: dims?.length }]] : [],
  );
  return GraphSession.open(segmentModel(model, flow, { nodes, outputs }, new Map(types)), {
    ...sessionOptions(model, options),
    signal: options.signal,
  });
}

/** Session options that calibration needs for any part of `model`. */
export function sessionOptions(
  model: OnnxModel,
  options: Pick<CaptureOptions, "threads" | "optimization">,
): SessionOptions {
  return {
    optimization: options.optimization ?? "disabled",
    ...(options.threads === undefined ? {} : { threads: options.threads }),
    ...(model.path === "" ? {} : { externalDataFolder: dirname(resolve(model.path)) }),
  };
}

/** Runs one batch; an error of onnxruntime says which one it was. */
export async function inBatch<T>(fn: string, batch: number, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof ArgumentError)) throw error;
    throw new ArgumentError(`${fn}: batch ${batch}: ${error.message}`, {
      cause: error,
      details: { ...error.details, batch },
    });
  }
}
