import { ArgumentError, expected } from "../errors.js";
import { throwIfAborted } from "../io/fs-errors.js";
import { TimeSlice } from "../io/event-loop.js";

export interface EncodeOptions {
  readonly signal?: AbortSignal | undefined;
}

/** Text to token ids and back. */
export interface Tokenizer {
  /** Ids are 0 ... vocabSize - 1. */
  readonly vocabSize: number;
  /** The id that parts documents, where there is one. */
  readonly endOfText: number | undefined;
  /** The ids of a text, in pieces that let the event loop run. @throws OsculateError "ABORTED" */
  encode(text: string, options?: EncodeOptions): Promise<Int32Array>;
  /** Like `encode`, blocking. */
  encodeSync(text: string): Int32Array;
  /** The text of ids; bytes that are no UTF-8 become U+FFFD. @throws ArgumentError for an id that does not exist. */
  decode(ids: ArrayLike<number>): string;
}

/** Work cut into steps: every `undefined` is a moment to pause. */
export type Steps<T> = Generator<undefined, T>;

/** Runs all steps at once. */
export function runSync<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** Runs the steps in slices that let the event loop run. @throws OsculateError "ABORTED" */
export async function runInSlices<T>(
  fn: string,
  steps: Steps<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  throwIfAborted(fn, signal);
  const slice = new TimeSlice();
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    if (slice.due()) await slice.pause(fn, signal);
  }
}

/** Checks an argument that plain JavaScript may get wrong. */
export function checkText(fn: string, text: unknown): asserts text is string {
  if (typeof text !== "string") throw new ArgumentError(expected(fn, "a string", "text", text));
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** The text of tokens that each stand for some bytes. */
export function decodeBytes(
  fn: string,
  bytesOf: readonly Uint8Array[],
  ids: ArrayLike<number>,
): string {
  const parts = Array.from(ids, (id, i) => {
    const bytes = bytesOf[id];
    if (bytes === undefined) {
      throw new ArgumentError(
        expected(fn, `an id from 0 to ${bytesOf.length - 1}`, `ids[${i}]`, id),
      );
    }
    return bytes;
  });
  return decoder.decode(Buffer.concat(parts));
}

/** Int32Array that grows. */
export class IdList {
  #ids = new Int32Array(1024);
  #length = 0;

  push(id: number): void {
    if (this.#length === this.#ids.length) this.#grow(1);
    this.#ids[this.#length++] = id;
  }

  append(ids: Int32Array): void {
    if (this.#length + ids.length > this.#ids.length) this.#grow(ids.length);
    this.#ids.set(ids, this.#length);
    this.#length += ids.length;
  }

  /** The ids so far, copied. */
  ids(): Int32Array {
    return this.#ids.slice(0, this.#length);
  }

  #grow(extra: number): void {
    const wider = new Int32Array(Math.max(2 * this.#ids.length, this.#length + extra));
    wider.set(this.#ids);
    this.#ids = wider;
  }
}
