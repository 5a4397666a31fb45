import { Worker } from "node:worker_threads";
import { BindingError, DeviceError, DisposedError, OsculateError } from "../errors.js";
import { throwIfAborted } from "../io/fs-errors.js";
import { untilAborted } from "./abort.js";
import { findOnnxRuntime } from "./onnxruntime.js";
import {
  sessionWorkerSource,
  type OpenAnswer,
  type RunAnswer,
  type WorkerMessage,
  type WorkerReply,
  type WorkerRequest,
} from "./session-worker.js";

type Answer<R extends WorkerRequest> = R extends { op: "open" }
  ? OpenAnswer
  : R extends { op: "run" }
    ? RunAnswer
    : undefined;

interface Pending {
  resolve(value: OpenAnswer | RunAnswer | undefined): void;
  reject(error: Error): void;
  /** Takes lent buffers back. */
  settle?: ((lent: Record<string, ArrayBuffer | undefined>) => void) | undefined;
  failed: (message: string) => Error;
}

export interface CallOptions {
  /** Who asks: the first word of an error's message. */
  fn: string;
  /** Makes the error for a request that onnxruntime refused. */
  failed: (message: string) => Error;
  transfer?: ArrayBuffer[];
  signal?: AbortSignal | undefined;
  /** Called with the lent buffers when they come home, before the promise settles. */
  settle?: (lent: Record<string, ArrayBuffer | undefined>) => void;
}

/**
 * One worker thread with onnxruntime-node in it, and the sessions that live there.
 *
 * onnxruntime's `run` computes inside the call although it returns a promise; on its own thread it
 * cannot hold up the event loop. Requests are answered in order. An idle host does not keep the
 * process alive. Starting one costs some 50 ms, so that jobs with many short sessions share one.
 */
export class SessionHost {
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  readonly #exited: Promise<void>;
  #nextId = 0;
  #nextSession = 0;
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
    // No execArgv: a loader that the main thread needs would only slow this thread's start.
    this.#worker = new Worker(sessionWorkerSource, {
      eval: true,
      execArgv: [],
      name: "osculate-onnxruntime",
      workerData: { runtime },
    });
    this.#worker.unref();
    this.#worker.on("message", (reply: WorkerReply) => {
      this.#settle(reply);
    });
    this.#worker.on("error", (error) => {
      this.#fail(
        new OsculateError("INTERNAL", `the onnxruntime thread failed: ${error.message}`, {
          cause: error,
        }),
      );
    });
    this.#exited = new Promise((resolve) => {
      this.#worker.once("exit", (code) => {
        this.#fail(
          this.#closing
            ? new DisposedError("the onnxruntime session was closed while a call was waiting")
            : new OsculateError("INTERNAL", `the onnxruntime thread ended with exit code ${code}`),
        );
        resolve();
      });
    });
  }

  newSession(): number {
    return this.#nextSession++;
  }

  /**
   * Sends one request and waits for its answer.
   * Errors: what `options.failed` makes, BindingError (onnxruntime does not load), DeviceError
   * OUT_OF_MEMORY, code ABORTED, DisposedError after `close`, code INTERNAL when the thread dies.
   * After an abort the thread still finishes the request; the answer is dropped, lent buffers with it.
   */
  async call<R extends WorkerRequest>(request: R, options: CallOptions): Promise<Answer<R>> {
    const { fn, signal } = options;
    throwIfAborted(fn, signal);
    if (this.#closing) throw new DisposedError(`${fn}: expected an open session but it was closed`);
    if (this.#death) throw this.#death;
    const id = this.#nextId++;
    const { settle, failed } = options;
    const answer = new Promise<Answer<R>>((resolve, reject) => {
      this.#pending.set(id, { resolve: resolve as Pending["resolve"], reject, settle, failed });
      this.#worker.ref();
      this.#post({ id, request }, options.transfer);
    });
    try {
      return await untilAborted(fn, answer, signal);
    } finally {
      this.#forget(id);
    }
  }

  /** Ends the thread and frees its sessions; waits for a computation that is under way. */
  async close(): Promise<void> {
    if (!this.#closing && this.#death === undefined) {
      this.#post({ id: -1, request: { op: "stop" } });
    }
    this.#closing = true;
    this.#worker.ref();
    await this.#exited;
  }

  #post(message: WorkerMessage, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  #settle(reply: WorkerReply): void {
    const pending = this.#pending.get(reply.id);
    if (pending === undefined) return;
    if (reply.lent) pending.settle?.(reply.lent);
    if (reply.failure === undefined) {
      pending.resolve(reply.value);
      return;
    }
    const { stage, message } = reply.failure;
    if (stage === "load") {
      pending.reject(
        new BindingError(`onnxruntime-node is installed but does not load: ${message}`),
      );
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

  #forget(id: number): void {
    this.#pending.delete(id);
    if (this.#pending.size === 0 && !this.#closing) this.#worker.unref();
  }
}
