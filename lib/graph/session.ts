import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { ArgumentError, DisposedError, FormatError, expected } from "../errors.js";
import type { Feeds, TypedHostTensor } from "./element-types.js";
import { bytesOf, rawFeed, toHost } from "./raw-tensors.js";
import { SessionHost } from "./session-host.js";
import type { TensorHeader, ValueInfo } from "./session-child.js";

export type { ElementType, Feeds, HostTensor, TypedHostTensor } from "./element-types.js";

export interface SessionOptions {
  /** Threads inside one operator, >= 1. Default: the number of CPUs. */
  threads?: number;
  /**
   * How much onnxruntime may rewrite the graph. Default "all". With "basic" the values of inner
   * tensors do not depend on which of them are asked for, as far as onnxruntime allows.
   */
  optimization?: "disabled" | "basic" | "extended" | "all";
  /** Where a model given as bytes keeps its external data. Default: nowhere; a path brings its own folder. */
  externalDataFolder?: string;
  /** Shares a process with other sessions; the caller closes it. Default: a process of its own. */
  host?: SessionHost;
  signal?: AbortSignal | undefined;
}

export interface RunOptions {
  /** Names of the outputs to compute. Default: all. */
  outputs?: readonly string[];
  signal?: AbortSignal | undefined;
}

/**
 * A loaded ONNX model that onnxruntime-node (an optional peer) runs on the CPU, in a child process (see
 * `SessionHost` for why), so that the event loop is never held up.
 *
 * Operators run one after the other and waiting threads block instead of spinning, so that a result
 * depends only on the model, the feeds and the number of threads, and a busy machine stays usable.
 * Calls are answered in order. A session that nobody closes never keeps this process alive, and ends
 * with it.
 */
export class GraphSession {
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  readonly #host: SessionHost;
  readonly #ownsHost: boolean;
  readonly #id: number;
  #closed = false;

  /**
   * Loads a model: its bytes, or the path of a file (relative external data is found beside it).
   * Errors: BindingError when onnxruntime-node is missing (the message says how to install it),
   * FormatError with onnxruntime's reason when it refuses the model, code ABORTED.
   */
  static async open(
    model: Uint8Array | string,
    options: SessionOptions = {},
  ): Promise<GraphSession> {
    const fn = "GraphSession.open";
    const threads = options.threads ?? availableParallelism();
    if (!Number.isInteger(threads) || threads < 1) {
      throw new ArgumentError(expected(fn, "an integer >= 1", "threads", threads));
    }
    const host = options.host ?? SessionHost.start({ fn });
    const id = host.newSession();
    const path = typeof model === "string" ? { path: resolve(model) } : {};
    try {
      const answer = await host.call(
        { op: "open", session: id, ...path, options: runtimeOptions(options, threads) },
        {
          fn,
          buffers: typeof model === "string" ? [] : [bytesOf(model)],
          signal: options.signal,
          failed: (message) =>
            new FormatError(`${fn}: onnxruntime refuses the model: ${message}`, {
              details: { reason: message },
            }),
        },
      );
      return new GraphSession(host, { ...options, id }, answer.inputs ?? [], answer.outputs ?? []);
    } catch (error) {
      // An aborted open may still succeed in the background.
      if (options.host === undefined) void host.close();
      else void release(host, id);
      throw error;
    }
  }

  private constructor(
    host: SessionHost,
    options: SessionOptions & { id: number },
    inputs: ValueInfo[],
    outputs: ValueInfo[],
  ) {
    this.#host = host;
    this.#ownsHost = options.host === undefined;
    this.#id = options.id;
    this.inputs = inputs;
    this.outputs = outputs;
  }

  get inputNames(): readonly string[] {
    return this.inputs.map((input) => input.name);
  }

  get outputNames(): readonly string[] {
    return this.outputs.map((output) => output.name);
  }

  /**
   * Computes outputs from one batch. The arrays of the feeds must not change before the promise settles;
   * the returned ones belong to the caller.
   * Errors: ArgumentError (a missing or unknown name; onnxruntime's own message when a node fails),
   * DTypeError, ShapeError (feeds that do not fit the inputs), DeviceError OUT_OF_MEMORY, DisposedError,
   * code ABORTED (at once; the batch is finished in the background, or ended by `close`).
   */
  async run(feeds: Feeds, options: RunOptions = {}): Promise<Record<string, TypedHostTensor>> {
    const fn = "GraphSession.run";
    if (this.#closed) throw new DisposedError(`${fn}: expected an open session but it was closed`);
    for (const name of options.outputs ?? []) {
      if (!this.outputs.some((output) => output.name === name)) {
        throw new ArgumentError(
          expected(fn, `one of ${this.outputNames.join(", ")}`, "outputs", name),
        );
      }
    }
    const given = this.inputs.map((input) => {
      const tensor = feeds[input.name];
      if (tensor !== undefined) return rawFeed(fn, input, tensor);
      throw new ArgumentError(
        expected(fn, "a tensor", `input ${JSON.stringify(input.name)}`, tensor),
      );
    });
    const headers: TensorHeader[] = given.map(({ header }) => header);
    const outputs = options.outputs === undefined ? {} : { outputs: [...options.outputs] };
    const answer = await this.#host.call(
      { op: "run", session: this.#id, feeds: headers, ...outputs },
      {
        fn,
        buffers: given.map(({ bytes }) => bytes),
        signal: options.signal,
        failed: (message) =>
          new ArgumentError(`${fn}: onnxruntime failed: ${message}`, {
            details: { reason: message },
          }),
      },
    );
    const made: Record<string, TypedHostTensor> = {};
    for (const [index, header] of (answer.tensors ?? []).entries()) {
      const buffer = answer.buffers[index];
      if (buffer) made[header.name] = toHost(fn, header, buffer);
    }
    return made;
  }

  /** Frees the session; calls that still wait are answered first. Safe to call twice. */
  async close(): Promise<void> {
    if (this.#closed && !this.#ownsHost) return;
    this.#closed = true;
    if (this.#ownsHost) return this.#host.close();
    await release(this.#host, this.#id);
  }
}

/** Frees one session of a shared host; when the host is gone its sessions are too. */
async function release(host: SessionHost, id: number): Promise<void> {
  const failed = (message: string): Error => new ArgumentError(message);
  await host
    .call({ op: "release", session: id }, { fn: "GraphSession.close", failed })
    .catch(() => undefined);
}

function runtimeOptions(options: SessionOptions, threads: number): object {
  const folder = options.externalDataFolder;
  return {
    executionProviders: ["cpu"],
    executionMode: "sequential",
    interOpNumThreads: 1,
    intraOpNumThreads: threads,
    graphOptimizationLevel: options.optimization ?? "all",
    logSeverityLevel: 4, // what goes wrong comes back as an error; nothing is written to stderr
    extra: {
      session: {
        intra_op: { allow_spinning: "0" },
        ...(folder === undefined ? {} : { model_external_initializers_file_folder_path: folder }),
      },
    },
  };
}
