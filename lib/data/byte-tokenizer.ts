import {
  checkText,
  decodeBytes,
  type EncodeOptions,
  runInSlices,
  runSync,
  type Steps,
  type Tokenizer,
} from "./tokenizer.js";
import { utf8 } from "./utf8.js";

const BYTES = Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte));

/**
 * A byte is a token: 256 ids, nothing to train and no text it cannot hold.
 *
 * @example
 * new ByteTokenizer().encodeSync("é"); // Int32Array [195, 169]
 */
export class ByteTokenizer implements Tokenizer {
  readonly vocabSize = 256;
  readonly endOfText = undefined;

  async encode(text: string, options: EncodeOptions = {}): Promise<Int32Array> {
    return runInSlices("ByteTokenizer.encode", this.#steps(text), options.signal);
  }

  encodeSync(text: string): Int32Array {
    return runSync(this.#steps(text));
  }

  decode(ids: ArrayLike<number>): string {
    return decodeBytes("ByteTokenizer.decode", BYTES, ids);
  }

  *#steps(text: string): Steps<Int32Array> {
    checkText("ByteTokenizer.encode", text);
    return Int32Array.from(yield* utf8(text));
  }
}
