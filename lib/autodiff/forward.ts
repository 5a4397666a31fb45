import { closeScope, openScope, type Tensor } from "../tensor/index.js";
import { withContexts, type Call, type Context, type Maybe } from "./context.js";
import { Derivatives } from "./derivatives.js";

/** Carries tangents along: the tangent of every tensor computed from the sources while it is active. */
export class Forward implements Context {
  readonly holds = false;
  readonly #tangents: Derivatives;

  /** @param outer the contexts that see the operations of the derivative rules. */
  constructor(
    tangents: ReadonlyMap<Tensor, Tensor>,
    readonly outer: readonly Context[],
  ) {
    this.#tangents = new Derivatives(outer);
    for (const [source, tangent] of tangents) this.#tangents.add(source, tangent, undefined);
  }

  record(call: Call): void {
    const tangents = call.inputs.map((input) => this.#tangents.get(input));
    if (tangents.every((tangent) => tangent === undefined)) return;
    const temporary = openScope(this.#tangents.held);
    try {
      const results = withContexts(this.outer, () => call.op.jvp(call, tangents));
      call.outputs.forEach((output, k) => {
        const result = results[k];
        if (result !== undefined) this.#tangents.add(output, result, temporary);
      });
    } finally {
      closeScope(temporary, new Set());
    }
  }

  /** A tangent goes with its tensor. */
  disposed(tensor: Tensor): void {
    this.#tangents.drop(tensor);
  }

  tangent(tensor: Tensor): Maybe {
    return this.#tangents.get(tensor);
  }

  /** Hands over the tangents of some tensors: the caller owns them now. */
  take(tensors: readonly Tensor[]): Map<Tensor, Tensor> {
    return this.#tangents.take(tensors);
  }

  /** Frees every tangent that was not taken. */
  end(): void {
    this.#tangents.dropAll();
  }
}
