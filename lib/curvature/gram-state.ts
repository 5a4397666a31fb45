import { type CallOptions, type Device, untilAborted } from "../binding/index.js";
import { ArgumentError, DisposedError, OsculateError } from "../errors.js";
import { gramMatrix } from "../ops/gram-matrix.js";
import { GRAM_CHUNK, GRAM_FLOAT64_COLUMNS, type GramBuffers } from "../ops/input-gram.js";
import { Tensor, keep } from "../tensor/index.js";

/** Options of `add`. */
export interface AddOptions {
  readonly signal?: AbortSignal | undefined;
  /** Says in errors where the activations came from, e.g. "layer 3, batch 7". */
  readonly label?: string | undefined;
}

/** The buffers behind one or several Gram matrices (one a convolution group), and the queue of what is added to them. */
export class GramState {
  /** `[groups, 2048, in]` and `[groups, in, in]`. */
  readonly staging: Tensor;
  readonly accumulator: Tensor;
  staged = 0;
  count = 0;
  #tail: Promise<void> = Promise.resolve();
  #pending = 0;
  #broken: unknown;

  constructor(
    readonly groups: number,
    readonly inFeatures: number,
    readonly device: Device,
  ) {
    const dtype = inFeatures <= GRAM_FLOAT64_COLUMNS ? "float64" : "float32";
    // Kept out of scopes: a gram lives until it is disposed itself.
    this.accumulator = keep(Tensor.zeros([groups, inFeatures, inFeatures], { dtype, device }));
    try {
      this.staging = keep(Tensor.empty([groups, GRAM_CHUNK, inFeatures], { device }));
    } catch (error) {
      this.accumulator.dispose();
      throw error;
    }
  }

  get disposed(): boolean {
    return this.accumulator.disposed;
  }

  /**
   * Runs `work` after everything added before; `work` returns the rows staged afterwards. It gets X as a tensor of its own, so
   * that the caller may dispose X at once. An abort before its turn changes nothing.
   */
  add(
    fn: string,
    X: Tensor,
    tokens: number,
    signal: AbortSignal | undefined,
    work: (held: Tensor) => Promise<number>,
  ): Promise<void> {
    this.check(fn);
    const held = keep(X.slice(0, 0, X.shape[0] ?? 0));
    ++this.#pending;
    const turn = async () => {
      signal?.throwIfAborted();
      this.check(fn);
      try {
        this.staged = await work(held);
        this.count += tokens;
      } catch (error) {
        if (mayHaveStopped(error)) this.#broken = error;
        throw error;
      }
    };
    const running = this.#tail.then(turn).finally(() => {
      held.dispose();
      --this.#pending;
    });
    this.#tail = running.catch(() => undefined); // a refused batch does not stop the ones after it
    return untilAborted(running, signal); // a wait for one's turn ends at once with an abort
  }

  addSync(fn: string, tokens: number, work: () => number): void {
    this.#checkIdle(fn);
    try {
      this.staged = work();
      this.count += tokens;
    } catch (error) {
      if (mayHaveStopped(error)) this.#broken = error;
      throw error;
    }
  }

  /**
   * Runs `work` after everything added so far. What it puts on the device's queue before its first `await` sees the state
   * without anything added later.
   */
  read<T>(fn: string, work: () => T | Promise<T>): Promise<T> {
    return this.#tail.then(() => {
      this.check(fn);
      return work();
    });
  }

  readSync<T>(fn: string, work: () => T): T {
    this.#checkIdle(fn);
    return work();
  }

  #checkIdle(fn: string): void {
    this.check(fn);
    if (this.#pending > 0) {
      throw new ArgumentError(
        `${fn}: ${this.#pending} calls of add() are still running: await them first`,
      );
    }
  }

  /** Buffers of one group. */
  buffers(group: number): { buffers: GramBuffers; dispose: () => void } {
    const pick = (tensor: Tensor) => {
      const slice = tensor.slice(0, group, group + 1);
      const view = slice.reshape(tensor.shape.slice(1));
      slice.dispose();
      return view;
    };
    const [staging, accumulator] = [pick(this.staging), pick(this.accumulator)];
    const dispose = () => {
      staging.dispose();
      accumulator.dispose();
    };
    return { buffers: { staging, accumulator, staged: this.staged }, dispose };
  }

  /** `2/N X^T X` of one group; zeros when nothing was added. */
  matrix(group: number): Tensor {
    const { buffers, dispose } = this.buffers(group);
    try {
      return gramMatrix(buffers, this.count === 0 ? 0 : 2 / this.count);
    } finally {
      dispose();
    }
  }

  check(fn: string): void {
    if (this.disposed) throw new DisposedError(`${fn}: the gram was disposed`);
    if (this.#broken !== undefined) {
      throw new OsculateError(
        "ABORTED",
        `${fn}: an aborted add() left this gram with a part of a batch: start a new one`,
        {
          cause: this.#broken,
        },
      );
    }
  }

  dispose(): void {
    this.accumulator.dispose();
    this.staging.dispose();
  }
}

/** @internal Whether the error may have left a part of a batch in the accumulator: everything but what is refused before any change. */
export function mayHaveStopped(error: unknown): boolean {
  const refused = [
    "ARGUMENT",
    "SHAPE",
    "DTYPE",
    "NON_FINITE",
    "DISPOSED",
    "DEVICE_UNAVAILABLE",
    "UNSUPPORTED_ON_DEVICE",
    "OUT_OF_MEMORY",
  ];
  return !(error instanceof OsculateError && refused.includes(error.code));
}

/** @internal What kernels take of `AddOptions`. */
export function callOptions({ signal, label }: AddOptions): CallOptions {
  return { signal, label };
}
