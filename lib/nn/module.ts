import { ArgumentError, DTypeError, ShapeError, expected } from "../errors.js";
import { copyInto } from "../ops/copy.js";
import { sameShape, Tensor } from "../tensor/index.js";
import type { Parameter } from "./parameter.js";

/**
 * A part of a model. Its fields say what it has: a Tensor is a parameter, a Module (also in arrays) a part, `buffers` are
 * tensors that are kept but not trained. Their paths are their names: `blocks.0.attention.query.weight`.
 *
 * @example
 * class Net extends Module {
 *   readonly hidden = new Linear(784, 128);
 *   readonly output = new Linear(128, 10);
 *   forward(x: Tensor): Tensor {
 *     return scope(() => this.output.forward(tanh(this.hidden.forward(x))));
 *   }
 * }
 */
export abstract class Module {
  /** Whether dropout drops and batch norm uses the batch; see `train`. */
  training = true;
  /** Tensors of the state that no optimizer changes, such as running averages. */
  readonly buffers: Record<string, Tensor> = {};

  /** Every trained tensor with its path, in the order of the fields; one that is used in several places comes once. */
  *parameters(): IterableIterator<Parameter> {
    const seen = new Set<Tensor>();
    for (const { name, value } of this.#fields()) {
      if (!(value instanceof Tensor) || seen.has(value)) continue;
      seen.add(value);
      yield { name, tensor: value };
    }
  }

  /** This part and all parts below, with their paths; this one's is "". */
  *modules(): IterableIterator<{ readonly name: string; readonly module: Module }> {
    yield { name: "", module: this };
    for (const { name, value } of this.#fields())
      if (value instanceof Module) yield { name, module: value };
  }

  /** Parameters and buffers by path: the tensors themselves, e.g. for `saveTensors`. */
  stateDict(): Map<string, Tensor> {
    const state = new Map<string, Tensor>();
    for (const { name, tensor } of this.parameters()) state.set(name, tensor);
    for (const { name, module } of this.modules())
      for (const [key, tensor] of Object.entries(module.buffers))
        state.set(join(name, key), tensor);
    return state;
  }

  /**
   * Copies values into parameters and buffers. Everything is checked first: a name that is missing or too many, another
   * shape or another dtype is an error that names it, and then nothing changes.
   */
  loadStateDict(state: ReadonlyMap<string, Tensor>): void {
    const fn = "loadStateDict";
    const mine = this.stateDict();
    const missing = [...mine.keys()].filter((name) => !state.has(name));
    const extra = [...state.keys()].filter((name) => !mine.has(name));
    if (missing.length > 0 || extra.length > 0)
      throw new ArgumentError(
        `${fn}: the state is of another model: missing ${list(missing)}; not in the model ${list(extra)}`,
        { details: { missing, extra } },
      );
    for (const [name, target] of mine) {
      const source = state.get(name);
      if (!(source instanceof Tensor))
        throw new ArgumentError(expected(fn, "a Tensor", name, source));
      source.native(fn); // throws DisposedError
      if (!sameShape(source.shape, target.shape))
        throw new ShapeError(
          expected(fn, `shape [${target.shape.join(", ")}]`, name, source.shape),
        );
      if (source.dtype !== target.dtype)
        throw new DTypeError(expected(fn, target.dtype, `the dtype of ${name}`, source.dtype));
    }
    for (const [name, target] of mine) {
      const source = state.get(name);
      if (source === undefined || source === target) continue;
      const moved = source.device === target.device ? source : source.to(target.device);
      copyInto(fn, moved, target);
      if (moved !== source) moved.dispose();
    }
  }

  /** Switches this part and all below between training (default) and use. */
  train(training = true): this {
    for (const { module } of this.modules()) module.training = training;
    return this;
  }

  /**
   * Tells every part that draws random numbers which step this is. Within a step they are the same each time, so a loss may
   * be computed several times.
   */
  setStep(step: number): void {
    for (const { module } of this.modules()) module.onStep?.(step);
  }

  /** For parts that draw random numbers. */
  protected onStep?(step: number): void;

  /** Frees parameters and buffers. */
  dispose(): void {
    for (const tensor of this.stateDict().values()) tensor.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Fields by path, depth first; a module before what is in it. */
  *#fields(prefix = ""): IterableIterator<{ name: string; value: Tensor | Module }> {
    for (const [key, field] of Object.entries(this)) {
      if (key === "buffers") continue;
      const parts: [string, unknown][] = Array.isArray(field)
        ? field.map((item, i) => [`${key}.${i}`, item])
        : [[key, field]];
      for (const [part, value] of parts) {
        const name = join(prefix, part);
        if (value instanceof Tensor) yield { name, value };
        if (value instanceof Module) {
          yield { name, value };
          yield* value.#fields(name);
        }
      }
    }
  }
}

function join(prefix: string, name: string): string {
  return prefix === "" ? name : `${prefix}.${name}`;
}

function list(names: readonly string[]): string {
  if (names.length === 0) return "nothing";
  const shown = names.slice(0, 5).join(", ");
  return names.length > 5 ? `${shown} and ${names.length - 5} more` : shown;
}
