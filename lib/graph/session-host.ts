import { spawn, type ChildProcess } from "node:child_process";
import type { Socket } from "node:net";
import { BindingError, DeviceError, DisposedError, OsculateError } from "../errors.js";
import { throwIfAborted } from "../io/fs-errors.js";
import { untilAborted } from "./abort.js";
import { frameParts, FrameReader } from "./frames.js";
import { findOnnxRuntime } from "./onnxruntime.js";
import {
  sessionChildSource,
  type ChildReply,
  type ChildRequest,
  type ReplyHeader,
} from "./session-child.js";

/** A reply with the bytes of its tensors, in their order. */
export type Answer = ChildReply & { buffers: ArrayBuffer[] };

export interface CallOptions {
  /** Who asks: the first word of an error's message. */
  fn: string;
  /** Makes the error for a request that onnxruntime refused. */
  failed: (message: string) => Error;
  /** Sent with the request, as they are: they must not change before the answer is there. */
  buffers?: readonly Uint8Array[];
  signal?: AbortSignal | undefined;
}

interface Pending {
  resolve(answer: Answer): void;
  reject(error: Error): void;
  failed: (message: string) => Error;
}

/** Children that have not ended; a process that exits takes them along. */
const running = new Set<ChildProcess>();
let watching = false;

/**
 * One child process with onnxruntime-node in it, and the sessions that live there.
 *
 * A process and not a thread: onnxruntime's `run` computes inside the call, so it has to be elsewhere
 * for the event loop's sake; and its addon aborts the whole process when the thread that it computes in
 * is terminated, or when that process exits meanwhile. What goes wrong there stays there, and memory
 * comes back with the end of the child. Requests are answered in order. An idle host does not keep the
 * process alive. Starting one costs some 100 ms, so that jobs with many short sessions share one.
 */
export class SessionHost {
  readonly #child: ChildProcess;
  readonly #input: Socket;
  readonly #pending = new Map<number, Pending>();
  readonly #ended: Promise<void>;
  #nextId = 0;
  #nextSession = 0;
  /** Requests that were sent and not answered, those that nobody waits for any more included. */
  #unanswered = 0;
  #closing = false;
  #death: Error | undefined;

  /**
   * `runtime` is the entry file of onnxruntime-node; default: found by `findOnnxRuntime`.
   * Errors: BindingError when onnxruntime-node is not installed.
   */
  static start(options: { fn?: string; runtime?: string } = {}): SessionHost {
    return new SessionHost(options.runtime ?? findOnnxRuntime(options.fn ?? "SessionHost.start"));
  }

  private constructor(runtime: string) {
    const child = spawn(process.execPath, ["-e", sessionChildSource, runtime], {
      stdio: ["pipe", "ignore", "pipe", "pipe"],
      env: childEnvironment(),
    });
    this.#child = child;
    const [input, , errors, output] = child.stdio as unknown as Socket[];
    if (input === undefined || errors === undefined || output === undefined) {
      throw new OsculateError("INTERNAL", "SessionHost.start: the child process has no pipes");
    }
    this.#input = input;
    const reader = new FrameReader((header, buffers) => {
      this.#settle(header as ReplyHeader, buffers);
    });
    output.on("data", (chunk: Uint8Array) => {
      reader.push(chunk);
    });
    let said = "";
    errors.on("data", (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-2000);
    });
    for (const pipe of [input, output, errors]) pipe.on("error", () => undefined); // seen as the end
    this.#ended = new Promise((resolve) => {
      child.once("error", (cause) => {
        this.#fail(new OsculateError("INTERNAL", `onnxruntime: ${cause.message}`, { cause }));
        resolve();
      });
      child.once("close", (code, signal) => {
        this.#fail(this.#closing ? closedError() : endedError(code, signal, said));
        resolve();
      });
    });
    track(child);
    this.#hold();
  }

  newSession(): number {
    return this.#nextSession++;
  }

  /**
   * Sends one request and waits for its answer.
   * Errors: what `options.failed` makes, BindingError (onnxruntime does not load), DeviceError
   * OUT_OF_MEMORY, code ABORTED, DisposedError after `close`, code INTERNAL when the process dies.
   * After an abort the request is still worked on; its answer is dropped.
   */
  async call(request: ChildRequest, options: CallOptions): Promise<Answer> {
    const { fn, signal, failed } = options;
    throwIfAborted(fn, signal);
    if (this.#closing) throw new DisposedError(`${fn}: expected an open session but it was closed`);
    if (this.#death) throw this.#death;
    const id = this.#nextId++;
    const answer = new Promise<Answer>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, failed });
    });
    this.#unanswered++;
    this.#input.cork();
    for (const part of frameParts({ id, ...request }, options.buffers ?? [])) {
      this.#input.write(part);
    }
    this.#input.uncork();
    this.#hold();
    try {
      return await untilAborted(fn, answer, signal);
    } finally {
      this.#pending.delete(id);
      this.#hold();
    }
  }

  /** Ends the process and its sessions. What is waited for is answered first, nothing else. */
  async close(): Promise<void> {
    this.#closing = true;
    await new Promise((done) => setImmediate(done)); // calls that were aborted just now leave first
    if (this.#unanswered > this.#pending.size) this.#child.kill("SIGKILL");
    else this.#input.end();
    this.#hold();
    await this.#ended;
  }

  #settle(reply: ReplyHeader, buffers: ArrayBuffer[]): void {
    this.#unanswered--;
    const pending = this.#pending.get(reply.id);
    if (pending === undefined) return;
    if (reply.failure === undefined) {
      pending.resolve({ ...reply, buffers });
      return;
    }
    const { stage, message } = reply.failure;
    if (stage === "load") {
      const text = `onnxruntime-node is installed but does not load: ${message}`;
      pending.reject(new BindingError(text));
    } else if (/bad_alloc|failed to allocate|out of memory/i.test(message)) {
      pending.reject(new DeviceError("OUT_OF_MEMORY", `onnxruntime ran out of memory: ${message}`));
    } else {
      pending.reject(pending.failed(message));
    }
  }

  #fail(error: Error): void {
    this.#death ??= error;
    for (const pending of this.#pending.values()) pending.reject(error);
  }

  /** Keeps this process alive exactly while somebody waits. */
  #hold(): void {
    const waiting = this.#pending.size > 0 || this.#closing;
    for (const handle of [this.#child, ...(this.#child.stdio as unknown as (Socket | null)[])]) {
      if (waiting) handle?.ref();
      else handle?.unref();
    }
  }
}

/** Ours, without what is meant for this process alone. */
function childEnvironment(): NodeJS.ProcessEnv {
  const own = /^(NODE_OPTIONS|NODE_CHANNEL_FD|NODE_CHANNEL_SERIALIZATION_MODE)$/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !own.test(name)));
}

function track(child: ChildProcess): void {
  running.add(child);
  child.once("exit", () => running.delete(child));
  if (watching) return;
  watching = true;
  process.once("exit", () => {
    for (const other of running) other.kill("SIGKILL");
  });
}

function closedError(): Error {
  return new DisposedError("the onnxruntime session was closed while a call was waiting");
}

function endedError(code: number | null, signal: string | null, said: string): Error {
  if (signal === "SIGKILL") {
    const text = "the onnxruntime process was killed, most likely because memory ran out";
    return new DeviceError("OUT_OF_MEMORY", text);
  }
  const how = signal === null ? `with exit code ${code ?? "unknown"}` : `by ${signal}`;
  const last = said.trim();
  return new OsculateError(
    "INTERNAL",
    `the onnxruntime process ended ${how}${last === "" ? "" : `: ${last}`}`,
    { details: { exitCode: code, signal } },
  );
}
