/** Calibration in which each layer sees what the layers before it make with their new weights. */
import { ArgumentError, DisposedError, FormatError, expected } from "../errors.js";
import type { OnnxModel } from "../formats/onnx/index.js";
import { throwIfAborted } from "../io/fs-errors.js";
import { untilAborted } from "./abort.js";
import {
  inBatch,
  sessionOptions,
  type CaptureOptions,
  type Capturing,
  type OnActivation,
} from "./calibration.js";
import { Dataflow } from "./dataflow.js";
import type { Feeds, TypedHostTensor } from "./element-types.js";
import { groupLayers, type CalibratedLayer, type LayerGroup } from "./layer-groups.js";
import { modelInputs } from "./model-inputs.js";
import { prefetched } from "./prefetch.js";
import { planSegment, segmentModel, type Segment, type TensorType } from "./segments.js";
import { SessionHost } from "./session-host.js";
import { GraphSession } from "./session.js";

/** The tensors of one batch that are still needed. */
type Batch = Map<string, TypedHostTensor>;

/**
 * Walks a model from one group of layers to the next with all batches at once, running only the nodes
 * between two groups.
 *
 * ```ts
 * const runner = await SequentialRunner.open(model, layers, samples);
 * for (const group of runner.groups) {
 *   await runner.advance(addToGrams);         // the group's input, batch by batch
 *   for (const layer of group.layers) writeDenseWeight(model, layer, newWeight);
 * }
 * await runner.close();
 * ```
 *
 * The weights in `model` count when the nodes that read them run, and a layer runs only after its group
 * was handed over: so between two `advance` the new weights of the last group go into `model`. Kept per
 * batch are the tensors that a later group depends on, and nothing else (`keptBytes`).
 */
export class SequentialRunner<L extends CalibratedLayer = CalibratedLayer> {
  /** In the order in which `advance` hands them over. */
  readonly groups: readonly LayerGroup<L>[];
  readonly #model: OnnxModel;
  readonly #options: CaptureOptions;
  readonly #host: SessionHost;
  readonly #batches: Batch[];
  #position = 0;
  #state: "ready" | "busy" | "closed" = "ready";

  /**
   * Reads all samples (the runner keeps copies of the inputs that matter) and starts onnxruntime.
   * `layers` in the order of `findLayers`.
   * Errors: ArgumentError without layers or samples; what `samples` throws; BindingError; code ABORTED.
   */
  static async open<L extends CalibratedLayer>(
    model: OnnxModel,
    layers: readonly L[],
    samples: AsyncIterable<Feeds>,
    options: CaptureOptions = {},
  ): Promise<SequentialRunner<L>> {
    const fn = "SequentialRunner.open";
    const groups = groupLayers(layers);
    if (groups.length === 0)
      throw new ArgumentError(expected(fn, "at least one", "layers", layers));
    const host = SessionHost.start({ fn }); // first, so that a missing package is known at once
    try {
      const { signal } = options;
      const batches = await readBatches(fn, model, groups, { samples, signal });
      return new SequentialRunner(model, groups, { host, batches, options });
    } catch (error) {
      void host.close();
      throw error;
    }
  }

  private constructor(
    model: OnnxModel,
    groups: readonly LayerGroup<L>[],
    rest: { host: SessionHost; batches: Batch[]; options: CaptureOptions },
  ) {
    this.#model = model;
    this.groups = groups;
    this.#host = rest.host;
    this.#batches = rest.batches;
    this.#options = rest.options;
  }

  /** How many groups were handed over. */
  get position(): number {
    return this.#position;
  }

  /** Bytes of all tensors kept between two `advance`. */
  get keptBytes(): number {
    let bytes = 0;
    for (const batch of this.#batches)
      for (const { data } of batch.values()) bytes += data.byteLength;
    return bytes;
  }

  /** Names of the tensors kept for each batch. */
  get live(): string[] {
    return [...(this.#batches[0]?.keys() ?? [])];
  }

  /**
   * Computes the input of the next group for every batch and hands it over, as `captureInputs` does.
   * Without `onActivation` it is only computed: a resumed job walks past groups it has quantized before
   * and gets the same bits as an uninterrupted one.
   *
   * Returns the group; undefined when all were handed over.
   * Errors: as `captureInputs`; ArgumentError also when a tensor that crosses from one piece of the graph
   * to the next cannot be kept (strings, sequences). A runner that failed is closed.
   */
  async advance(
    onActivation?: OnActivation,
    options: Capturing = {},
  ): Promise<LayerGroup<L> | undefined> {
    const fn = "SequentialRunner.advance";
    if (this.#state !== "ready")
      throw new DisposedError(expected(fn, "a ready runner", "this", this.#state));
    const group = this.groups[this.#position];
    if (group === undefined) return undefined;
    const { signal = this.#options.signal, onProgress = this.#options.onProgress } = options;
    this.#state = "busy";
    try {
      throwIfAborted(fn, signal);
      await this.#walkTo(group, onActivation, { signal, onProgress });
      this.#position++;
      this.#state = "ready";
      return group;
    } finally {
      if (this.#state === "busy") await this.close();
    }
  }

  /** Drops all tensors and ends onnxruntime. */
  async close(): Promise<void> {
    this.#state = "closed";
    this.#batches.length = 0;
    await this.#host.close();
  }

  async #walkTo(
    group: LayerGroup<L>,
    onActivation: OnActivation | undefined,
    { signal, onProgress }: Capturing,
  ): Promise<void> {
    const fn = "SequentialRunner.advance";
    const target = group.inputName;
    const flow = new Dataflow(this.#model.graph);
    const segment = planSegment(flow, target, {
      have: new Set(this.#batches[0]?.keys()),
      later: this.groups.slice(this.#position + 1).map((later) => later.inputName),
    });
    const session =
      segment.nodes.length === 0 ? undefined : await this.#open(flow, segment, signal);
    const names = group.layers.map((layer) => layer.name);
    await prefetched(
      async (index) => {
        const batch = this.#batches[index];
        if (batch === undefined) return undefined;
        return inBatch(fn, index, () => step(batch, segment, target, { session, signal }));
      },
      async (activation, index) => {
        throwIfAborted(fn, signal);
        await onActivation?.(names, target, activation, index);
        onProgress?.({ done: index + 1 });
      },
    );
    await session?.close();
  }

  async #open(
    flow: Dataflow,
    segment: Segment,
    signal: AbortSignal | undefined,
  ): Promise<GraphSession> {
    const model = this.#model;
    const types = new Map<string, TensorType>();
    for (const name of segment.inputs) {
      const tensors = this.#batches.flatMap((batch) => batch.get(name) ?? []);
      const ranks = new Set(tensors.map((tensor) => tensor.dims.length));
      const [first] = tensors;
      const rank = ranks.size === 1 ? first?.dims.length : undefined;
      if (first) types.set(name, { type: first.type, rank });
    }
    return GraphSession.open(segmentModel(model, flow, segment, types), {
      ...sessionOptions(model, this.#options),
      host: this.#host,
      signal,
    });
  }
}

/** Runs a segment on one batch: its new tensors come in, its dead ones go. Returns the target. */
async function step(
  batch: Batch,
  segment: Segment,
  target: string,
  { session, signal }: { session: GraphSession | undefined; signal: AbortSignal | undefined },
): Promise<TypedHostTensor> {
  const feeds = Object.fromEntries(
    segment.inputs.flatMap((name) => {
      const tensor = batch.get(name);
      return tensor ? [[name, tensor]] : [];
    }),
  ) as Record<string, TypedHostTensor>;
  const made = session ? await session.run(feeds, { signal }) : {};
  for (const [name, tensor] of Object.entries(made)) batch.set(name, tensor);
  const activation = batch.get(target);
  if (activation === undefined) {
    throw new FormatError(
      expected("SequentialRunner.advance", "a tensor of the model", "an input", target),
    );
  }
  for (const name of batch.keys()) if (!segment.live.has(name)) batch.delete(name);
  return activation;
}

/** Reads the samples into batches of their own copies of what any group depends on. */
async function readBatches(
  fn: string,
  model: OnnxModel,
  groups: readonly LayerGroup[],
  { samples, signal }: { samples: AsyncIterable<Feeds>; signal: AbortSignal | undefined },
): Promise<Batch[]> {
  const flow = new Dataflow(model.graph);
  const targets = groups.map((group) => group.inputName);
  const needed = new Set(targets);
  for (const index of flow.nodesFor(targets, new Set())) {
    for (const name of flow.uses(index)) needed.add(name);
  }
  const inputs = modelInputs(model).filter(({ name }) => needed.has(name));
  const batches: Batch[] = [];
  const iterator = samples[Symbol.asyncIterator]();
  try {
    for (;;) {
      const step = await untilAborted(fn, iterator.next(), signal);
      if (step.done === true) break;
      const batch: Batch = new Map();
      for (const { name, type } of inputs) {
        const given = step.value[name];
        if (given && type) batch.set(name, { type, dims: given.dims, data: given.data.slice() });
      }
      batches.push(batch);
    }
  } finally {
    void iterator.return?.().catch(() => undefined);
  }
  if (batches.length === 0)
    throw new ArgumentError(expected(fn, "at least one batch", "samples", 0));
  return batches;
}
