import type { Device } from "../binding/index.js";
import { ArgumentError, expected } from "../errors.js";
import { checkInteger } from "../ops/check.js";
import { Tensor } from "../tensor/index.js";
import { Batches, type BatchOptions } from "./batches.js";
import { type EncodeOptions, IdList, type Tokenizer } from "./tokenizer.js";

export interface TokenBatchOptions extends BatchOptions {
  /** Tokens a window, >= 1. */
  readonly contextLength: number;
  /** Tokens from the start of a window to that of the next, >= 1. Default `contextLength`: windows do not overlap. */
  readonly stride?: number | undefined;
  /** Default "cpu". */
  readonly device?: Device | undefined;
}

/** The caller disposes both. */
export interface TokenBatch {
  /** `[batch, contextLength]`. */
  readonly inputs: Tensor<"int32">;
  /** `[batch, contextLength]`: each input's next token. */
  readonly targets: Tensor<"int32">;
}

/**
 * Batches of windows over a text for a language model. Window i takes the tokens from `i * stride` on; the last tokens, too
 * few for another window and its targets, are left out. See `Batches` for order and resume.
 *
 * @param tokens as `encode` gives them; not copied, so they must not change.
 * @throws ArgumentError, also when there are not at least `contextLength + 1` tokens.
 */
export function tokenBatches(tokens: Int32Array, options: TokenBatchOptions): Batches<TokenBatch> {
  const fn = "tokenBatches";
  if (!(tokens instanceof Int32Array)) {
    throw new ArgumentError(expected(fn, "an Int32Array", "tokens", tokens));
  }
  const { contextLength, stride = contextLength, device } = options;
  checkInteger(fn, "contextLength", contextLength, 1, Number.MAX_SAFE_INTEGER);
  checkInteger(fn, "stride", stride, 1, Number.MAX_SAFE_INTEGER);
  if (tokens.length <= contextLength) {
    throw new ArgumentError(
      expected(fn, `at least contextLength + 1 = ${contextLength + 1} tokens`, "tokens", tokens),
    );
  }
  const windows = Math.floor((tokens.length - 1 - contextLength) / stride) + 1;
  const gather = (indices: Uint32Array, shift: number): Tensor<"int32"> => {
    const rows = new Int32Array(indices.length * contextLength);
    indices.forEach((index, i) => {
      const from = index * stride + shift;
      rows.set(tokens.subarray(from, from + contextLength), i * contextLength);
    });
    return Tensor.from(rows, [indices.length, contextLength], { dtype: "int32", device });
  };
  const collate = (indices: Uint32Array): TokenBatch => ({
    inputs: gather(indices, 0),
    targets: gather(indices, 1),
  });
  return new Batches(windows, collate, options);
}

/**
 * The ids of many texts in one array, an end-of-text token after each where the tokenizer has one.
 *
 * @throws OsculateError "ABORTED"
 */
export async function encodeDocuments(
  tokenizer: Tokenizer,
  texts: Iterable<string> | AsyncIterable<string>,
  options: EncodeOptions = {},
): Promise<Int32Array> {
  const ids = new IdList();
  for await (const text of texts) {
    ids.append(await tokenizer.encode(text, options));
    if (tokenizer.endOfText !== undefined) ids.push(tokenizer.endOfText);
  }
  return ids.ids();
}
