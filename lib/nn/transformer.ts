import { ArgumentError } from "../errors.js";
import { add, gelu, mul, relu, silu } from "../autodiff/index.js";
import { scope, type Tensor } from "../tensor/index.js";
import {
  MultiHeadAttention,
  type AttentionInputs,
  type MultiHeadAttentionOptions,
} from "./attention.js";
import { Dropout } from "./dropout.js";
import type { Initializer } from "./init.js";
import { Linear, type LinearOptions } from "./linear.js";
import { Module } from "./module.js";
import { LayerNorm, RMSNorm } from "./norms.js";

const activations = {
  relu,
  gelu: (x: Tensor) => gelu(x),
  geluTanh: (x: Tensor) => gelu(x, { approximate: "tanh" }),
  silu,
} as const;

export interface FeedForwardOptions extends LinearOptions {
  /** Default "gelu". */
  readonly activation?: keyof typeof activations | undefined;
  /** `down(activation(gate x) * up x)` instead of `down(activation(up x))`. Shazeer, GLU variants, 2020. Default false. */
  readonly gated?: boolean | undefined;
  /** Of the weight of the last layer; default as of the others. */
  readonly outputInit?: Initializer | undefined;
}

/** Two linear layers with an activation between, at each place alone. */
export class FeedForward extends Module {
  readonly up: Linear;
  readonly gate: Linear | undefined;
  readonly down: Linear;
  readonly activation: keyof typeof activations;

  constructor(width: number, hidden: number, options: FeedForwardOptions = {}) {
    super();
    this.up = new Linear(width, hidden, options);
    this.gate = options.gated === true ? new Linear(width, hidden, options) : undefined;
    this.down = new Linear(hidden, width, { ...options, init: options.outputInit ?? options.init });
    this.activation = options.activation ?? "gelu";
  }

  forward(x: Tensor): Tensor {
    return scope(() => {
      const active = activations[this.activation];
      const up = this.up.forward(x);
      const hidden = this.gate === undefined ? active(up) : mul(active(this.gate.forward(x)), up);
      return this.down.forward(hidden);
    });
  }
}

export interface TransformerBlockOptions extends MultiHeadAttentionOptions, FeedForwardOptions {
  /** Width between the layers of the feed-forward part, default 4 times the width. */
  readonly hidden?: number | undefined;
  /** Default "layer". */
  readonly norm?: "layer" | "rms" | undefined;
  /** Of what each part adds, default 0. */
  readonly dropout?: number | undefined;
  /** A decoder of an encoder's results: attends to them (`memory`) after itself. Default false. */
  readonly crossAttention?: boolean | undefined;
}

/**
 * Attention and a feed-forward part, each of a normalized input and added to it (norm first). An encoder block as it is, a
 * decoder block with `causal`, one that reads an encoder with `crossAttention`.
 */
export class TransformerBlock extends Module {
  readonly attentionNorm: LayerNorm | RMSNorm;
  readonly attention: MultiHeadAttention;
  readonly crossNorm: LayerNorm | RMSNorm | undefined;
  readonly crossAttention: MultiHeadAttention | undefined;
  readonly feedForwardNorm: LayerNorm | RMSNorm;
  readonly feedForward: FeedForward;
  readonly dropout: Dropout;

  constructor(width: number, heads: number, options: TransformerBlockOptions = {}) {
    super();
    const norm = () =>
      options.norm === "rms"
        ? new RMSNorm(width, options)
        : new LayerNorm(width, { ...options, bias: true });
    this.attentionNorm = norm();
    this.attention = new MultiHeadAttention(width, heads, options);
    if (options.crossAttention === true) {
      this.crossNorm = norm();
      this.crossAttention = new MultiHeadAttention(width, heads, options);
    }
    this.feedForwardNorm = norm();
    this.feedForward = new FeedForward(width, options.hidden ?? 4 * width, options);
    this.dropout = new Dropout(options.dropout ?? 0, options.initial);
  }

  /** @param inputs `memory` is read by the cross attention alone; `causal` and `angles` are for the attention of x to itself. */
  forward(x: Tensor, { memory, causal, angles }: AttentionInputs = {}): Tensor {
    if ((memory === undefined) !== (this.crossAttention === undefined))
      throw new ArgumentError(
        "TransformerBlock: expected memory where there is a cross attention, and only there",
      );
    return scope(() => {
      const attended = this.attention.forward(this.attentionNorm.forward(x), { causal, angles });
      let y = add(x, this.dropout.forward(attended));
      if (this.crossNorm !== undefined && this.crossAttention !== undefined) {
        const read = this.crossAttention.forward(this.crossNorm.forward(y), { memory });
        y = add(y, this.dropout.forward(read));
      }
      return add(
        y,
        this.dropout.forward(this.feedForward.forward(this.feedForwardNorm.forward(y))),
      );
    });
  }
}
