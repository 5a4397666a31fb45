import { kernel, type Task } from "../binding/index.js";
import type { Operation } from "./operation.js";

/** An operation as a step of a task. */
export function* operate<R>(operation: Operation<R>): Task<R> {
  const { fn, kernel: name, device, args, temporaries = [], outputs, finish } = operation;
  try {
    return finish(yield* kernel(fn, name, device, args));
  } catch (error) {
    for (const output of outputs) output.dispose();
    throw error;
  } finally {
    for (const temporary of temporaries) temporary.dispose();
  }
}
