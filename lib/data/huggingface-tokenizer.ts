import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { Worker } from "node:worker_threads";
import {
  abortError,
  ArgumentError,
  expected,
  FormatError,
  IoError,
  OsculateError,
} from "../errors.js";
import { throwIfAborted } from "../io/fs-errors.js";
import { findPeer } from "../io/peer.js";
import { END_OF_TEXT } from "./bpe-tokenizer.js";
import { readTokenizerFile } from "./tokenizer-json.js";
import { checkText, type EncodeOptions, type Tokenizer } from "./tokenizer.js";

/** The little of the package that is used. (Its own types do not resolve in an ES module.) */
interface Peer {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: number[] };
  decode(ids: number[], options: { skip_special_tokens: boolean }): string;
  id_to_token(id: number): string | undefined;
  token_to_id(token: string): number | undefined;
  get_vocab(): Map<string, number>;
}
interface PeerModule {
  Tokenizer: new (file: object, config: object) => Peer;
}

/** Runs from its text: a file would have another name in dist/, under ts-node and in the tests. */
const WORKER = `
const { parentPort, workerData } = require("node:worker_threads");
const { Tokenizer } = require(workerData.entry);
const tokenizer = new Tokenizer(workerData.file, workerData.config);
parentPort.on("message", ({ id, text }) => {
  try {
    const ids = Int32Array.from(tokenizer.encode(text, { add_special_tokens: false }).ids);
    parentPort.postMessage({ id, ids }, [ids.buffer]);
  } catch (error) {
    parentPort.postMessage({ id, error: String(error) });
  }
});`;

interface Source {
  readonly entry: string;
  readonly file: object;
  readonly config: object;
}

interface Pending {
  resolve(ids: Int32Array): void;
  reject(error: Error): void;
}

/**
 * Reads an existing tokenizer of any kind that `@huggingface/tokenizers` (an optional peer) knows: `tokenizer.json` and,
 * where there is one, `tokenizer_config.json` beside it.
 *
 * Ids are those of the text alone, without the special tokens that a template would put around it. `encode` runs in a worker
 * thread, since the package works without a pause: it starts with the first call, and idle it does not keep the process
 * alive.
 *
 * @param path of the `tokenizer.json`.
 * @throws BindingError when the package is missing; IoError when the file is missing or cannot be read; FormatError when it
 *   is malformed or the package refuses it.
 */
export async function huggingFaceTokenizer(path: string): Promise<HuggingFaceTokenizer> {
  const fn = "huggingFaceTokenizer";
  const hint =
    "It is an optional peer of osculate. Install it with\n  npm install @huggingface/tokenizers@0.2";
  const entry = findPeer(fn, "@huggingface/tokenizers", hint);
  const file = parseObject(fn, path, await readTokenizerFile(fn, path));
  const config = await readConfig(fn, join(dirname(path), "tokenizer_config.json"));
  try {
    return new HuggingFaceTokenizer({ entry, file, config });
  } catch (cause) {
    throw new FormatError(`${fn}: @huggingface/tokenizers refused ${path}: ${String(cause)}`, {
      details: { path },
      cause,
    });
  }
}

async function readConfig(fn: string, path: string): Promise<object> {
  // The package would else take out the spaces before punctuation when it decodes.
  const defaults = { clean_up_tokenization_spaces: false };
  try {
    return { ...defaults, ...parseObject(fn, path, await readTokenizerFile(fn, path)) };
  } catch (error) {
    if (error instanceof IoError && error.details["errno"] === "ENOENT") return defaults;
    throw error;
  }
}

function parseObject(fn: string, path: string, text: string): object {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new FormatError(`${fn}: expected JSON in ${path}`, { details: { path }, cause });
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw new FormatError(expected(fn, "a JSON object", path, value), { details: { path } });
}

/** A tokenizer of `@huggingface/tokenizers`. See `huggingFaceTokenizer`. */
export class HuggingFaceTokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly endOfText: number | undefined;
  readonly #source: Source;
  readonly #peer: Peer;
  readonly #pending = new Map<number, Pending>();
  #worker: Worker | undefined;
  #nextId = 0;

  /** @internal Use `huggingFaceTokenizer`. */
  constructor(source: Source) {
    this.#source = source;
    const { Tokenizer } = createRequire(import.meta.url)(source.entry) as PeerModule;
    this.#peer = new Tokenizer(source.file, source.config);
    // Added tokens may leave holes in the ids.
    this.vocabSize =
      [...this.#peer.get_vocab().values()].reduce((max, id) => Math.max(max, id), -1) + 1;
    this.endOfText = this.#peer.token_to_id(endOfTextToken(source.config) ?? END_OF_TEXT);
  }

  async encode(text: string, options: EncodeOptions = {}): Promise<Int32Array> {
    const fn = "HuggingFaceTokenizer.encode";
    checkText(fn, text);
    const { signal } = options;
    throwIfAborted(fn, signal);
    return new Promise<Int32Array>((resolve, reject) => {
      const id = this.#nextId++;
      const settle = () => {
        this.#pending.delete(id);
        signal?.removeEventListener("abort", abort);
      };
      const abort = () => {
        settle();
        // What runs cannot be stopped but with its thread; without other calls nobody misses that.
        if (this.#pending.size === 0) this.#stop();
        if (signal) reject(abortError(fn, signal));
      };
      this.#pending.set(id, {
        resolve: (ids) => {
          settle();
          resolve(ids);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      });
      signal?.addEventListener("abort", abort);
      const worker = this.#start();
      worker.ref();
      worker.postMessage({ id, text });
    });
  }

  encodeSync(text: string): Int32Array {
    checkText("HuggingFaceTokenizer.encodeSync", text);
    return Int32Array.from(this.#peer.encode(text, { add_special_tokens: false }).ids);
  }

  decode(ids: ArrayLike<number>): string {
    const list = Array.from(ids);
    list.forEach((id, i) => {
      if (this.#peer.id_to_token(id) !== undefined) return;
      throw new ArgumentError(
        expected("HuggingFaceTokenizer.decode", "an id of the vocabulary", `ids[${i}]`, id),
      );
    });
    return list.length === 0 ? "" : this.#peer.decode(list, { skip_special_tokens: false });
  }

  #start(): Worker {
    if (this.#worker) return this.#worker;
    const worker = new Worker(WORKER, { eval: true, workerData: this.#source });
    worker.on("message", ({ id, ids, error }: { id: number; ids?: Int32Array; error?: string }) => {
      const pending = this.#pending.get(id);
      if (ids) pending?.resolve(ids);
      else pending?.reject(failure(error));
      if (this.#pending.size === 0) worker.unref();
    });
    worker.on("error", (error) => {
      this.#fail(worker, error);
    });
    worker.on("exit", () => {
      this.#fail(worker, "its thread ended");
    });
    this.#worker = worker;
    return worker;
  }

  #stop(): void {
    const worker = this.#worker;
    this.#worker = undefined;
    void worker?.terminate();
  }

  #fail(worker: Worker, reason: unknown): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    for (const pending of [...this.#pending.values()]) pending.reject(failure(reason));
  }
}

function failure(reason: unknown): OsculateError {
  return new OsculateError(
    "INTERNAL",
    `HuggingFaceTokenizer.encode: @huggingface/tokenizers failed: ${String(reason)}`,
  );
}

function endOfTextToken(config: object): string | undefined {
  const token = (config as { eos_token?: unknown }).eos_token;
  if (typeof token === "string") return token;
  const content = (token as { content?: unknown } | null | undefined)?.content;
  return typeof content === "string" ? content : undefined;
}
