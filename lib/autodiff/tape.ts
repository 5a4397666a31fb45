import { DisposedError, OsculateError } from "../errors.js";
import { closeScope, openScope, type Tensor, type TensorScope } from "../tensor/index.js";
import { withContexts, type Call, type Context } from "./context.js";
import { Derivatives } from "./derivatives.js";

/** Follows what depends on some tensors and takes derivatives of it backwards. */
export class Tape implements Context {
  readonly holds = true;
  readonly #calls: Call[] = [];
  readonly #tracked: Set<Tensor>;

  /** @param outer the contexts that see the operations of the derivative rules. */
  constructor(
    sources: readonly Tensor[],
    readonly outer: readonly Context[],
  ) {
    this.#tracked = new Set(sources);
  }

  record(call: Call): void {
    if (!call.inputs.some((input) => this.#tracked.has(input))) return;
    this.#calls.push(call);
    for (const output of call.outputs) this.#tracked.add(output);
  }

  disposed(): void {
    // Its memory may still be needed: a rule that uses it will say so.
  }

  /** The calls seen, in order: inputs of each are sources or outputs of earlier ones. */
  get calls(): readonly Call[] {
    return this.#calls;
  }

  tracks(tensor: Tensor): boolean {
    return this.#tracked.has(tensor);
  }

  /**
   * Cotangents of the sources, from those of some outputs.
   *
   * @param seeds cotangents of outputs; the caller keeps them.
   * @param spent the scope of the forward pass: what a call made is freed once the call is done. Absent: all stays, for
   *   another pass.
   * @returns a tensor the caller owns for each source that the outputs depend on.
   */
  backward(
    seeds: ReadonlyMap<Tensor, Tensor>,
    sources: readonly Tensor[],
    spent?: TensorScope,
  ): Map<Tensor, Tensor> {
    const sums = new Derivatives(this.outer);
    const frees = spent !== undefined && !sums.held;
    try {
      for (const [output, seed] of seeds) sums.add(output, seed, undefined);
      for (const call of this.#calls.toReversed()) {
        this.#backThrough(call, sums);
        for (const output of call.outputs) {
          sums.drop(output);
          if (frees && spent.tensors.has(output)) output.dispose();
        }
      }
      return sums.take(sources);
    } finally {
      sums.dropAll();
    }
  }

  #backThrough(call: Call, sums: Derivatives): void {
    const cotangents = call.outputs.map((output) => sums.get(output));
    if (cotangents.every((cotangent) => cotangent === undefined)) return;
    const needed = call.inputs.map((input) => this.#tracked.has(input));
    const temporary = openScope(sums.held);
    try {
      const results = withContexts(this.outer, () => call.op.vjp(call, cotangents, needed));
      call.inputs.forEach((input, k) => {
        const result = results[k];
        if (needed[k] === true && result !== undefined) sums.add(input, result, temporary);
      });
    } catch (error) {
      throw error instanceof DisposedError ? disposedInside(call, error) : error;
    } finally {
      closeScope(temporary, new Set());
    }
  }
}

function disposedInside(call: Call, cause: OsculateError): DisposedError {
  return new DisposedError(
    `${cause.message}: its value is needed for the derivative of \`${call.op.name}\`; do not dispose it inside the function`,
    { cause },
  );
}
