import { readFileSync } from "node:fs";
import { join } from "node:path";

/** Reads one of the vectors in test/vectors; the test says what it expects of its shape. */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the caller names the file's shape
export function readVectors<T>(name: string): T {
  return JSON.parse(readFileSync(join(__dirname, "..", "vectors", name), "utf8")) as T;
}
