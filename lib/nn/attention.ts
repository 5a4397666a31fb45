import { reshape, rotary, scaledDotProductAttention } from "../autodiff/index.js";
import { ArgumentError, ShapeError, expected } from "../errors.js";
import { checkInteger } from "../ops/check.js";
import { scope, type Tensor } from "../tensor/index.js";
import type { Initializer } from "./init.js";
import { Linear, type LinearOptions } from "./linear.js";
import { Module } from "./module.js";

export interface MultiHeadAttentionOptions extends LinearOptions {
  /** Heads of keys and values, each shared by `heads / keyHeads` heads of queries; default `heads`. */
  readonly keyHeads?: number | undefined;
  /** Of the weight of the last layer; default as of the others. */
  readonly outputInit?: Initializer | undefined;
}

export interface AttentionInputs {
  /** What keys and values are made of, `[batch, keys, width]`; default x itself. */
  readonly memory?: Tensor | undefined;
  /** Each place sees itself and what is before it. Default false. */
  readonly causal?: boolean | undefined;
  /** Turns queries and keys by their places; see `rotaryAngles`. */
  readonly angles?: { readonly cosine: Tensor; readonly sine: Tensor } | undefined;
}

/** Attention in several heads: `[batch, queries, width]` to the same shape. Vaswani et al., 2017. */
export class MultiHeadAttention extends Module {
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  readonly output: Linear;
  readonly heads: number;
  readonly keyHeads: number;

  constructor(width: number, heads: number, options: MultiHeadAttentionOptions = {}) {
    super();
    const fn = "MultiHeadAttention";
    const { keyHeads = heads } = options;
    checkInteger(fn, "heads", heads, 1, width);
    checkInteger(fn, "keyHeads", keyHeads, 1, heads);
    if (width % heads !== 0)
      throw new ArgumentError(expected(fn, `a divisor of ${width}`, "heads", heads));
    if (heads % keyHeads !== 0)
      throw new ArgumentError(expected(fn, `a divisor of ${heads}`, "keyHeads", keyHeads));
    const keyWidth = (width / heads) * keyHeads;
    this.heads = heads;
    this.keyHeads = keyHeads;
    this.query = new Linear(width, width, options);
    this.key = new Linear(width, keyWidth, options);
    this.value = new Linear(width, keyWidth, options);
    this.output = new Linear(width, width, {
      ...options,
      init: options.outputInit ?? options.init,
    });
  }

  forward(x: Tensor, { memory = x, causal, angles }: AttentionInputs = {}): Tensor {
    if (x.rank !== 3 || memory.rank !== 3)
      throw new ShapeError(
        expected(
          "MultiHeadAttention",
          "shape [batch, places, width]",
          "x",
          x.rank === 3 ? memory.shape : x.shape,
        ),
      );
    return scope(() => {
      const turned = (y: Tensor) => (angles === undefined ? y : rotary(y, angles));
      const q = turned(this.#split(this.query.forward(x), this.heads));
      const k = this.#repeated(turned(this.#split(this.key.forward(memory), this.keyHeads)));
      const v = this.#repeated(this.#split(this.value.forward(memory), this.keyHeads));
      const mixed = scaledDotProductAttention(q, k, v, { causal });
      return this.output.forward(reshape(mixed.permute([0, 2, 1, 3]), x.shape));
    });
  }

  /** `[batch, places, heads * size]` to `[batch, heads, places, size]`, a view. */
  #split(x: Tensor, heads: number): Tensor {
    const [batch = 0, places = 0, width = 0] = x.shape;
    return reshape(x, [batch, places, heads, width / heads]).permute([0, 2, 1, 3]);
  }

  /** Each head of keys or values once for every head of queries. */
  #repeated(x: Tensor): Tensor {
    const times = this.heads / this.keyHeads;
    if (times === 1) return x;
    const [batch = 0, heads = 0, places = 0, size = 0] = x.shape;
    const grouped = reshape(x, [batch, heads, 1, places, size]);
    return reshape(grouped.expand([batch, heads, times, places, size]), [
      batch,
      this.heads,
      places,
      size,
    ]);
  }
}
