/**
 * The other side of `SessionHost`: what runs in the worker thread.
 *
 * `sessionWorker` is started from its own source text (`sessionWorkerSource`), because a file next to
 * this one would have a different name and module system in dist/, under ts-node and in the tests. So
 * it may use nothing from outside its own body; types are fine, they vanish.
 */

/** A tensor between threads: the bytes travel by transfer, each side builds its own typed array. */
export interface RawTensor {
  type: string;
  dims: number[];
  buffer: ArrayBuffer;
}

export interface ValueInfo {
  name: string;
  /** onnxruntime's name of the element type; undefined when the value is no tensor. */
  type: string | undefined;
  /** A string is a symbolic dimension. */
  dims: (number | string)[];
}

export type WorkerRequest =
  | { op: "open"; session: number; model: ArrayBuffer | string; options: object }
  | {
      op: "run";
      session: number;
      feeds: Record<string, RawTensor>;
      outputs: string[] | undefined;
      /** Names of the feeds whose buffers go back with the answer. */
      lent: string[];
    }
  | { op: "release"; session: number }
  | { op: "stop" };

export interface WorkerMessage {
  id: number;
  request: WorkerRequest;
}

export interface OpenAnswer {
  inputs: ValueInfo[];
  outputs: ValueInfo[];
}

export interface RunAnswer {
  tensors: Record<string, RawTensor>;
}

export interface WorkerReply {
  id: number;
  value?: OpenAnswer | RunAnswer | undefined;
  /** Present when the request failed; `stage` says whether onnxruntime itself could not be loaded. */
  failure?: { stage: "load" | "use"; message: string };
  /** Buffers that the request lent, on their way home, failed or not. */
  lent?: Record<string, ArrayBuffer | undefined>;
}

/** The little of onnxruntime-node that is used. */
interface OrtTensor {
  type: string;
  dims: readonly number[];
  data: { buffer: ArrayBuffer; byteOffset: number; byteLength: number } | readonly string[];
}
interface OrtMetadata {
  name: string;
  isTensor: boolean;
  type?: string;
  shape?: readonly (number | string)[];
}
interface OrtSession {
  inputMetadata: readonly OrtMetadata[];
  outputMetadata: readonly OrtMetadata[];
  run(feeds: object, fetches?: readonly string[]): Promise<Record<string, OrtTensor>>;
  release(): Promise<void>;
}
interface Ort {
  InferenceSession: { create(model: Uint8Array | string, options: object): Promise<OrtSession> };
  Tensor: new (type: string, data: unknown, dims: readonly number[]) => unknown;
}

/* istanbul ignore next -- runs from its source text, where counters do not exist */
function sessionWorker(load: (id: string) => unknown): void {
  const threads = load("node:worker_threads") as typeof import("node:worker_threads");
  const port = threads.parentPort;
  if (port === null) return;
  const runtime = (threads.workerData as { runtime: string }).runtime;
  const sessions = new Map<number, OrtSession>();
  let ort: Ort | undefined;

  const half =
    (globalThis as { Float16Array?: Uint16ArrayConstructor }).Float16Array ?? Uint16Array;
  const arrays: Record<string, new (buffer: ArrayBuffer) => unknown> = {
    float32: Float32Array,
    float64: Float64Array,
    float16: half,
    int8: Int8Array,
    int16: Int16Array,
    int32: Int32Array,
    int64: BigInt64Array,
    uint8: Uint8Array,
    uint16: Uint16Array,
    uint32: Uint32Array,
    uint64: BigUint64Array,
    bool: Uint8Array,
  };

  const toOrt = (Tensor: Ort["Tensor"], tensor: RawTensor): unknown => {
    const array = arrays[tensor.type];
    if (array === undefined) throw new Error(`no element type ${tensor.type}`);
    return new Tensor(tensor.type, new array(tensor.buffer), tensor.dims);
  };

  // Copied, although the buffer could be transferred as it is: it may belong to onnxruntime, which
  // frees it with this thread, or be an input that is passed through.
  const fromOrt = (name: string, tensor: OrtTensor): RawTensor => {
    if (!("buffer" in tensor.data)) {
      throw new Error(
        `output ${name} has element type ${tensor.type}, which cannot be handed over`,
      );
    }
    const { buffer, byteOffset, byteLength } = tensor.data;
    return {
      type: tensor.type,
      dims: [...tensor.dims],
      buffer: buffer.slice(byteOffset, byteOffset + byteLength),
    };
  };

  const info = (metadata: readonly OrtMetadata[]): ValueInfo[] =>
    metadata.map(({ name, type, shape }) => ({ name, type, dims: [...(shape ?? [])] }));

  const open = async (
    { InferenceSession }: Ort,
    id: number,
    model: ArrayBuffer | string,
    options: object,
  ): Promise<OpenAnswer> => {
    const source = typeof model === "string" ? model : new Uint8Array(model);
    const session = await InferenceSession.create(source, options);
    sessions.set(id, session);
    return { inputs: info(session.inputMetadata), outputs: info(session.outputMetadata) };
  };

  const run = async (
    { Tensor }: Ort,
    id: number,
    feeds: Record<string, RawTensor>,
    outputs: string[] | undefined,
  ): Promise<RunAnswer> => {
    const session = sessions.get(id);
    if (session === undefined) throw new Error("the session is not open");
    const given = Object.entries(feeds).map(([name, tensor]) => [name, toOrt(Tensor, tensor)]);
    const results = await session.run(Object.fromEntries(given) as object, outputs);
    const made = Object.entries(results).map(([name, tensor]) => [name, fromOrt(name, tensor)]);
    return { tensors: Object.fromEntries(made) as Record<string, RawTensor> };
  };

  const release = async (id: number): Promise<undefined> => {
    const session = sessions.get(id);
    sessions.delete(id);
    await session?.release();
  };

  const handle = async ({ id, request }: WorkerMessage): Promise<void> => {
    if (request.op === "stop") {
      for (const session of sessions.keys()) await release(session);
      port.close(); // nothing is left to do, so the thread ends
      return;
    }
    const reply: WorkerReply = { id };
    const transfer: ArrayBuffer[] = [];
    let stage: "load" | "use" = "load";
    try {
      ort ??= load(runtime) as Ort;
      stage = "use";
      if (request.op === "open") {
        reply.value = await open(ort, request.session, request.model, request.options);
      } else if (request.op === "run") {
        const answer = await run(ort, request.session, request.feeds, request.outputs);
        reply.value = answer;
        for (const tensor of Object.values(answer.tensors)) transfer.push(tensor.buffer);
      } else {
        await release(request.session);
      }
    } catch (error) {
      reply.failure = { stage, message: error instanceof Error ? error.message : String(error) };
    }
    if (request.op === "run") {
      reply.lent = Object.fromEntries(
        request.lent.map((name) => [name, request.feeds[name]?.buffer]),
      );
      for (const buffer of Object.values(reply.lent)) if (buffer) transfer.push(buffer);
    }
    port.postMessage(reply, transfer);
  };

  // One request at a time, in the order they came.
  let last = Promise.resolve();
  port.on("message", (message: WorkerMessage) => {
    last = last.then(() => handle(message));
  });
}

export const sessionWorkerSource = `(${sessionWorker.toString()})(require)`;
