import { add, gather, linear, rotaryAngles } from "../autodiff/index.js";
import { ArgumentError, ShapeError, expected } from "../errors.js";
import {
  Dropout,
  Embedding,
  init,
  LayerNorm,
  Linear,
  Module,
  RMSNorm,
  TransformerBlock,
  type ParameterOptions,
} from "../nn/index.js";
import { checkInteger } from "../ops/check.js";
import { scope, Tensor } from "../tensor/index.js";

export interface TransformerLMOptions extends ParameterOptions {
  /** Number of tokens. */
  readonly vocabulary: number;
  /** Most places of a sequence. */
  readonly context: number;
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  /**
   * "gpt" (default): learned positions, layer norm, GELU by tanh, biases. "llama": rotary positions, RMS norm, gated SiLU, no
   * biases.
   */
  readonly style?: "gpt" | "llama" | undefined;
  /** Heads of keys and values, default `heads`. */
  readonly keyHeads?: number | undefined;
  /** Width inside the feed-forward parts; default 4 times the width, llama: 8/3 of it, rounded up to a multiple of 8. */
  readonly hidden?: number | undefined;
  /** Default 0. */
  readonly dropout?: number | undefined;
  /** The output layer is the token embedding. Default true for gpt, false for llama. */
  readonly tied?: boolean | undefined;
}

/**
 * A language model: int32 tokens `[batch, places]` to logits `[batch, places, vocabulary]` of the token after each.
 *
 * Weights are normal with deviation 0.02, those that add to the residual stream divided by `sqrt(2 layers)`.
 * Radford et al., GPT-2, 2019; Touvron et al., Llama, 2023.
 */
export class TransformerLM extends Module {
  readonly tokens: Embedding;
  readonly positions: Embedding | undefined;
  readonly dropout: Dropout;
  readonly blocks: readonly TransformerBlock[];
  readonly norm: LayerNorm | RMSNorm;
  readonly output: Linear | undefined;
  readonly context: number;
  readonly #headSize: number;

  constructor(options: TransformerLMOptions) {
    super();
    const fn = "transformerLM";
    const { vocabulary, context, width, layers, heads, style = "gpt", dropout = 0 } = options;
    for (const [name, value] of Object.entries({ vocabulary, context, width, layers, heads }))
      checkInteger(fn, name, value, 1, 2 ** 31 - 1);
    if (!["gpt", "llama"].includes(style))
      throw new ArgumentError(expected(fn, '"gpt" or "llama"', "style", style));
    const llama = style === "llama";
    if (width % heads !== 0 || (llama && (width / heads) % 2 !== 0))
      throw new ArgumentError(
        expected(
          fn,
          `a divisor of ${width}${llama ? " that leaves an even size" : ""}`,
          "heads",
          heads,
        ),
      );
    const small = init.normal(0.02);
    const hidden = options.hidden ?? (llama ? 8 * Math.ceil(width / 3) : 4 * width);
    this.context = context;
    this.#headSize = width / heads;
    this.tokens = new Embedding(vocabulary, width, { ...options, init: small });
    this.positions = llama ? undefined : new Embedding(context, width, { ...options, init: small });
    this.dropout = new Dropout(dropout, options.initial);
    this.blocks = Array.from(
      { length: layers },
      () =>
        new TransformerBlock(width, heads, {
          dtype: options.dtype,
          device: options.device,
          initial: options.initial,
          keyHeads: options.keyHeads,
          dropout,
          hidden,
          init: small,
          outputInit: init.normal(0.02 / Math.sqrt(2 * layers)),
          bias: !llama,
          norm: llama ? "rms" : "layer",
          gated: llama,
          activation: llama ? "silu" : "geluTanh",
        }),
    );
    this.norm = llama ? new RMSNorm(width, options) : new LayerNorm(width, options);
    const tied = options.tied ?? !llama;
    this.output = tied
      ? undefined
      : new Linear(width, vocabulary, { ...options, bias: false, init: small });
  }

  forward(tokens: Tensor): Tensor {
    const [, places = 0] = tokens.shape;
    if (tokens.rank !== 2 || places < 1 || places > this.context)
      throw new ShapeError(
        expected("TransformerLM", `shape [batch, 1 to ${this.context}]`, "tokens", tokens.shape),
      );
    return scope(() => {
      const { weight } = this.tokens;
      const embedded = this.tokens.forward(tokens);
      const placed =
        this.positions === undefined
          ? embedded
          : add(embedded, gather(this.positions.weight, countTo(places, tokens)));
      const angles =
        this.positions === undefined
          ? rotaryAngles(places, this.#headSize, {
              dtype: weight.dtype as "float32",
              device: weight.device,
            })
          : undefined;
      const x = this.blocks.reduce(
        (y, block) => block.forward(y, { causal: true, angles }),
        this.dropout.forward(placed),
      );
      const last = this.norm.forward(x);
      return this.output === undefined ? linear(last, weight) : this.output.forward(last);
    });
  }
}

function countTo(places: number, { device }: Tensor): Tensor {
  return Tensor.from(
    Int32Array.from({ length: places }, (_, i) => i),
    [places],
    { device },
  );
}

/** @example transformerLM({ vocabulary: 256, context: 128, width: 256, layers: 4, heads: 4 }) */
export function transformerLM(options: TransformerLMOptions): TransformerLM {
  return new TransformerLM(options);
}
