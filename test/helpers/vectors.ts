import { readFileSync } from "node:fs";
import { join } from "node:path";

/** Reads one of the vectors in test/vectors; the test says what it expects of its shape. */
export function readVectors<T>(name: string): T {
  return JSON.parse(readFileSync(join(__dirname, "..", "vectors", name), "utf8")) as T;
}
