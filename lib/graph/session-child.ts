/**
 * The other side of `SessionHost`: what runs in the process that has onnxruntime in it.
 *
 * `sessionChild` is started from its own source text (`sessionChildSource`), because a file next to this
 * one would have a different name and module system in dist/, under ts-node and in the tests. So it may
 * use nothing from outside its own body; types are fine, they vanish.
 */
import { frameParts, FrameReader, type FrameHeader } from "./frames.js";

/** A tensor in a header; its bytes are the buffer at the same place. */
export interface TensorHeader {
  name: string;
  /** onnxruntime's name of the element type. */
  type: string;
  dims: number[];
}

export interface ValueInfo {
  name: string;
  /** onnxruntime's name of the element type; undefined when the value is no tensor. */
  type?: string;
  /** A string is a symbolic dimension. */
  dims: (number | string)[];
}

export type ChildRequest =
  /** Opens a model: its path, or the one buffer that follows. */
  | { op: "open"; session: number; path?: string; options: object }
  /** Runs it on the buffers that follow. No `outputs`: all. */
  | { op: "run"; session: number; feeds: TensorHeader[]; outputs?: string[] }
  | { op: "release"; session: number };

export interface ChildReply {
  /** Of an "open". */
  inputs?: ValueInfo[];
  outputs?: ValueInfo[];
  /** Of a "run". */
  tensors?: TensorHeader[];
  /** Present when the request failed; `stage` says whether onnxruntime itself could not be loaded. */
  failure?: { stage: "load" | "use"; message: string };
}

export type RequestHeader = FrameHeader & { id: number } & ChildRequest;
export type ReplyHeader = FrameHeader & { id: number } & ChildReply;

/** The little of onnxruntime-node that is used. */
interface OrtTensor {
  type: string;
  dims: readonly number[];
  data: Uint8Array | readonly string[];
}
interface OrtMetadata {
  name: string;
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
function sessionChild(
  load: (id: string) => unknown,
  Reader: typeof FrameReader,
  parts: typeof frameParts,
): void {
  const net = load("node:net") as typeof import("node:net");
  const [, runtime = ""] = process.argv;
  const out = new net.Socket({ fd: 3 });
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

  const info = (metadata: readonly OrtMetadata[]): ValueInfo[] =>
    metadata.map(({ name, type, shape }) => ({
      name,
      ...(type === undefined ? {} : { type }),
      dims: [...(shape ?? [])],
    }));

  const open = async (
    { InferenceSession }: Ort,
    request: Extract<ChildRequest, { op: "open" }>,
    [bytes]: ArrayBuffer[],
  ): Promise<ChildReply> => {
    const model = request.path ?? new Uint8Array(bytes ?? new ArrayBuffer(0));
    const session = await InferenceSession.create(model, request.options);
    sessions.set(request.session, session);
    return { inputs: info(session.inputMetadata), outputs: info(session.outputMetadata) };
  };

  const run = async (
    { Tensor }: Ort,
    request: Extract<ChildRequest, { op: "run" }>,
    buffers: ArrayBuffer[],
  ): Promise<[ChildReply, Uint8Array[]]> => {
    const session = sessions.get(request.session);
    if (session === undefined) throw new Error("the session is not open");
    const given = request.feeds.map(({ name, type, dims }, index) => {
      const [buffer, array] = [buffers[index], arrays[type]];
      if (buffer === undefined || array === undefined) throw new Error(`no element type ${type}`);
      return [name, new Tensor(type, new array(buffer), dims)];
    });
    const results = await session.run(Object.fromEntries(given) as object, request.outputs);
    const tensors: TensorHeader[] = [];
    const bytes: Uint8Array[] = [];
    for (const [name, { type, dims, data }] of Object.entries(results)) {
      if (!("buffer" in data)) {
        throw new Error(`output ${name} has element type ${type}, which cannot be handed over`);
      }
      tensors.push({ name, type, dims: [...dims] });
      bytes.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    }
    return [{ tensors }, bytes];
  };

  const release = async (id: number): Promise<void> => {
    const session = sessions.get(id);
    sessions.delete(id);
    await session?.release();
  };

  const handle = async (request: RequestHeader, buffers: ArrayBuffer[]): Promise<void> => {
    let reply: ChildReply = {};
    let bytes: Uint8Array[] = [];
    let stage: "load" | "use" = "load";
    try {
      ort ??= load(runtime) as Ort;
      stage = "use";
      if (request.op === "open") reply = await open(ort, request, buffers);
      else if (request.op === "run") [reply, bytes] = await run(ort, request, buffers);
      else await release(request.session);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      reply = { failure: { stage, message } };
      bytes = [];
    }
    // Flushed before the next request, which would hold up this thread while it computes.
    const pieces = parts({ id: request.id, ...reply }, bytes);
    await new Promise((done) => {
      out.cork();
      pieces.forEach((piece, index) =>
        out.write(piece, index === pieces.length - 1 ? done : undefined),
      );
      out.uncork();
    });
  };

  // One request at a time, in the order they came.
  let last = Promise.resolve();
  const reader = new Reader((header, buffers) => {
    last = last.then(() => handle(header as RequestHeader, buffers));
  });
  process.stdin.on("data", (chunk: Uint8Array) => {
    reader.push(chunk);
  });
  // The other process has closed us, or is gone.
  process.stdin.on("end", () => {
    void last.then(() => process.exit(0));
  });
  out.on("error", () => process.exit(1));
  // Ctrl-C reaches the whole process group; the other process decides what it means.
  process.on("SIGINT", () => undefined);
}

export const sessionChildSource = `(${sessionChild.toString()})(require, ${FrameReader.toString()}, ${frameParts.toString()})`;
