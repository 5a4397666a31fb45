import type { Tensor } from "./tensor.js";

type Tracked = Pick<Tensor, "dispose" | "disposed">;

const stack: Set<Tracked>[] = [];

/** @internal Called by every new tensor. */
export function track(tensor: Tracked): void {
  stack.at(-1)?.add(tensor);
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
 * objects) and those passed to `keep`. Scopes nest; a returned tensor belongs to the scope around.
 *
 * `body` must be synchronous: with `await` inside, tensors of other code that runs meanwhile would be swept up. Use
 * `using` or `dispose()` in asynchronous code.
 *
 * @example
 * const y = scope(() => x.transpose().contiguous()); // the transposed view is gone, y stays
 */
export function scope<T>(body: () => T): T {
  const mine = new Set<Tracked>();
  stack.push(mine);
  let kept = new Set<unknown>();
  try {
    const result = body();
    tensorsIn(result, kept);
    return result;
  } catch (error) {
    kept = new Set();
    throw error;
  } finally {
    stack.pop();
    const outer = stack.at(-1);
    for (const tensor of mine) {
      if (kept.has(tensor)) outer?.add(tensor);
      else tensor.dispose();
    }
  }
}

/** Takes a tensor out of every open scope: only `dispose()` or the garbage collector frees it now. */
export function keep<T extends Tracked>(tensor: T): T {
  for (const tracked of stack) tracked.delete(tensor);
  return tensor;
}
