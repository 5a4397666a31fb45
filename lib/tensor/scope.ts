import type { Tensor } from "./tensor.js";

type Tracked = Pick<Tensor, "dispose" | "disposed">;

/** @internal The tensors made while it was the innermost open scope. */
export class TensorScope {
  readonly tensors = new Set<Tracked>();
  /** @param holds nothing made in scopes inside is freed before this one closes: a gradient still has to be taken of it. */
  constructor(
    readonly outer: TensorScope | undefined,
    public holds: boolean,
  ) {}
}

let current: TensorScope | undefined;

/** @internal Puts a tensor into the innermost open scope: every new one, and one that gets an owner. */
export function track(tensor: Tracked): void {
  current?.tensors.add(tensor);
}

/** @internal Called by every tensor that is disposed, and by `keep`. */
export function untrack(tensor: Tracked): void {
  for (let scope = current; scope !== undefined; scope = scope.outer) {
    if (scope.tensors.delete(tensor)) return;
  }
}

/** @internal A scope that `closeScope` ends; scopes end in the reverse order of their opening. */
export function openScope(holds: boolean): TensorScope {
  current = new TensorScope(current, holds);
  return current;
}

/**
 * @internal Disposes what was made in the scope but `kept`, which the scope around takes over. A scope around that holds
 * takes over everything.
 */
export function closeScope(scope: TensorScope, kept: ReadonlySet<unknown>): void {
  current = scope.outer;
  for (const tensor of scope.tensors) {
    if (current?.holds === true || kept.has(tensor)) track(tensor);
    else tensor.dispose();
  }
  scope.tensors.clear();
}

function tensorsIn(value: unknown, found: Set<unknown>): void {
  if (value === null || typeof value !== "object") return;
  if ("dispose" in value && "disposed" in value) {
    found.add(value);
  } else if (Array.isArray(value)) {
    for (const item of value) tensorsIn(item, found);
  } else if (Object.getPrototypeOf(value) === Object.prototype) {
    for (const item of Object.values(value)) tensorsIn(item, found);
  }
}

/**
 * Runs `body` and disposes every tensor made in it, except those it returns (a tensor, or tensors inside arrays and plain
 * objects) and those passed to `keep`. Scopes nest; a returned tensor belongs to the scope around. Inside a function that is
 * being differentiated nothing is freed until its gradient is taken.
 *
 * `body` must be synchronous: with `await` inside, tensors of other code that runs meanwhile would be swept up. Use
 * `using` or `dispose()` in asynchronous code.
 *
 * @example
 * const y = scope(() => x.transpose().contiguous()); // the transposed view is gone, y stays
 */
export function scope<T>(body: () => T): T {
  if (current?.holds === true) return body();
  const mine = openScope(false);
  const kept = new Set<unknown>();
  try {
    const result = body();
    tensorsIn(result, kept);
    return result;
  } finally {
    closeScope(mine, kept);
  }
}

/** Takes a tensor out of every open scope: only `dispose()` or the garbage collector frees it now. */
export function keep<T extends Tracked>(tensor: T): T {
  untrack(tensor);
  return tensor;
}
