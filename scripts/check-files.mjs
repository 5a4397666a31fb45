// What the two checkers share: walking a folder and reporting.
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** Paths of all files below `folder` whose name matches, sorted; none when the folder is missing. */
export function filesBelow(folder, pattern) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && pattern.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** Print one line a violation and end the process: 0 when there is none, 1 otherwise. */
export function finish(name, violations) {
  violations.forEach((violation) => console.error(violation));
  console.error(`${name}: ${violations.length === 0 ? "ok" : `${violations.length} violation(s)`}`);
  process.exit(violations.length === 0 ? 0 : 1);
}
