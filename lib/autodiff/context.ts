import { setObserver, type Tensor } from "../tensor/index.js";

/** A derivative or value that may be absent: then it is zero. */
export type Maybe = Tensor | undefined;

/** One use of an operation: what went in, what came out, and everything else its rules need. */
export interface Call<A = unknown> {
  readonly op: Op<A>;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly attributes: A;
}

/**
 * The derivative rules of an operation, written in differentiable functions. A rule may return a tensor it was given;
 * tensors it makes on the way are freed for it.
 */
export interface Op<A = unknown> {
  readonly name: string;
  /** Cotangents of the inputs from those of the outputs; only the `needed` ones are looked at. */
  vjp(call: Call<A>, cotangents: readonly Maybe[], needed: readonly boolean[]): readonly Maybe[];
  /** Tangents of the outputs from those of the inputs. */
  jvp(call: Call<A>, tangents: readonly Maybe[]): readonly Maybe[];
}

/** Something that follows the operations of a function: a tape (reverse) or the carrier of tangents (forward). */
export interface Context {
  /** Whether it needs the tensors it saw until it is done. */
  readonly holds: boolean;
  record(call: Call): void;
  disposed(tensor: Tensor): void;
}

let active: readonly Context[] = [];

/** The contexts that follow what happens now, the outermost first. */
export function activeContexts(): readonly Context[] {
  return active;
}

/** Runs `body` with other contexts. */
export function withContexts<T>(contexts: readonly Context[], body: () => T): T {
  const before = active;
  active = contexts;
  try {
    return body();
  } finally {
    active = before;
  }
}

/** Whether one of the contexts needs tensors to live on. */
export function holding(contexts: readonly Context[]): boolean {
  return contexts.some((context) => context.holds);
}

/**
 * Offers a call whose values are computed to every active context. The outermost comes first: rules that an inner context
 * runs at once use the outputs, and the outer ones must know those by then.
 */
export function record<A>(
  op: Op<A>,
  inputs: readonly Tensor[],
  outputs: readonly Tensor[],
  attributes: A,
): void {
  if (active.length === 0) return;
  const call: Call<A> = { op, inputs, outputs, attributes };
  for (const context of active) context.record(call);
}

/** The differentiable form of what methods of Tensor do; set by ops/views.ts, which needs `record`. */
export function followViews(derived: Parameters<typeof setObserver>[0]["derived"]): void {
  setObserver({
    derived(derivation, from, to) {
      if (active.length > 0) derived(derivation, from, to);
    },
    disposed(tensor) {
      for (const context of active) context.disposed(tensor);
    },
  });
}
