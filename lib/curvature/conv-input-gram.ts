import type { Device } from "../binding/index.js";
import { ArgumentError, ShapeError, expected } from "../errors.js";
import { checkInteger, checkTensor } from "../ops/check.js";
import {
  type UnfoldGeometry,
  accumulateUnfoldGram,
  accumulateUnfoldGramSync,
  patchCount,
} from "../ops/unfold-gram.js";
import type { Tensor } from "../tensor/index.js";
import { type AddOptions, GramState, callOptions } from "./gram-state.js";
import { InputGram } from "./input-gram.js";

/** The geometry of a convolution; a 1-D one has height 1. */
export interface ConvInputGeometry {
  /** Input channels of all groups together. */
  readonly channels: number;
  readonly kernel: readonly [number, number];
  /** Default `[1, 1]`. */
  readonly stride?: readonly [number, number] | undefined;
  /** `[top, left, bottom, right]`, default zeros. */
  readonly padding?: readonly [number, number, number, number] | undefined;
  /** Default `[1, 1]`. */
  readonly dilation?: readonly [number, number] | undefined;
  /** Default 1. */
  readonly groups?: number | undefined;
}

/** The Gram matrices of a convolution's im2col patches, one for each group; each output position is a token. */
export class ConvInputGram {
  readonly #state: GramState;
  readonly geometry: UnfoldGeometry;
  /** One for each group, `in = channels/groups * kh * kw` in the order (channel, kernel row, kernel column). */
  readonly grams: readonly InputGram[];

  /** @internal Use `convInputGram`. */
  constructor(geometry: UnfoldGeometry, device: Device) {
    const [kh, kw] = geometry.kernel;
    this.geometry = Object.freeze(geometry);
    this.#state = new GramState(
      geometry.groups,
      (geometry.channels / geometry.groups) * kh * kw,
      device,
    );
    this.grams = Array.from(
      { length: geometry.groups },
      (_, group) => new InputGram(this.#state, group),
    );
  }

  /** Patches added so far. */
  get count(): number {
    return this.#state.count;
  }

  get disposed(): boolean {
    return this.#state.disposed;
  }

  /**
   * Adds a batch of images. Queue, abort and errors as in `InputGram.add`.
   *
   * @param X `[batch, channels, height, width]` float32.
   * @throws as `InputGram.add`; ShapeError when the kernel does not fit into the padded image.
   */
  async add(X: Tensor, options: AddOptions = {}): Promise<void> {
    const fn = "ConvInputGram.add";
    const patches = this.#checkInput(fn, X);
    options.signal?.throwIfAborted();
    await this.#state.add(fn, X, patches, options.signal, (held) =>
      accumulateUnfoldGram(fn, held, this.#buffers(), this.geometry, callOptions(options)),
    );
  }

  /** Like `add`, blocking. Throws `ArgumentError` while an `add` is running. */
  addSync(X: Tensor, options: Pick<AddOptions, "label"> = {}): void {
    const fn = "ConvInputGram.addSync";
    const patches = this.#checkInput(fn, X);
    this.#state.addSync(fn, patches, () =>
      accumulateUnfoldGramSync(fn, X, this.#buffers(), this.geometry, options.label),
    );
  }

  /** Frees the buffers of all groups. */
  dispose(): void {
    this.#state.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #buffers() {
    const { staging, accumulator, staged } = this.#state;
    return { staging, accumulator, staged };
  }

  #checkInput(fn: string, X: Tensor): number {
    this.#state.check(fn);
    checkTensor(fn, "X", X, ["float32"], ["batch", this.geometry.channels, "height", "width"]);
    const patches = patchCount(X.shape, this.geometry);
    if (X.size > 0 && patches === 0) {
      throw new ShapeError(
        expected(
          fn,
          `an image the kernel [${this.geometry.kernel.join(", ")}] fits into`,
          "X",
          X.shape,
        ),
      );
    }
    return patches;
  }
}

/** Grams for a convolution, e.g. `convInputGram({ channels: 16, kernel: [3, 3], padding: [1, 1, 1, 1] })`. */
export function convInputGram(
  geometry: ConvInputGeometry,
  options: { readonly device?: Device | undefined } = {},
): ConvInputGram {
  const fn = "convInputGram";
  const resolved: UnfoldGeometry = {
    channels: geometry.channels,
    kernel: geometry.kernel,
    stride: geometry.stride ?? [1, 1],
    padding: geometry.padding ?? [0, 0, 0, 0],
    dilation: geometry.dilation ?? [1, 1],
    groups: geometry.groups ?? 1,
  };
  checkInteger(fn, "channels", resolved.channels, 1, 2 ** 31 - 1);
  checkInteger(fn, "groups", resolved.groups, 1, resolved.channels);
  if (resolved.channels % resolved.groups !== 0) {
    throw new ArgumentError(
      expected(fn, `a divisor of ${resolved.channels} channels`, "groups", resolved.groups),
    );
  }
  for (const [name, length, low] of [
    ["kernel", 2, 1],
    ["stride", 2, 1],
    ["dilation", 2, 1],
    ["padding", 4, 0],
  ] as const) {
    const values = resolved[name];
    if (!Array.isArray(values) || values.length !== length)
      throw new ArgumentError(expected(fn, `${length} integers`, name, values));
    for (const value of values as unknown[]) checkInteger(fn, name, value, low, 2 ** 31 - 1);
  }
  return new ConvInputGram(resolved, options.device ?? "cpu");
}
