// Exit code 0 when node_modules holds what package-lock.json asks for, 1 when `npm ci` is needed.
// npm keeps a copy of the lock file inside node_modules; the two are compared, so a node_modules that
// someone installed by hand counts, and one left over from another branch does not.
import { readFileSync } from "node:fs";

function packages(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8")).packages;
  } catch {
    return undefined;
  }
}

const wanted = packages("package-lock.json");
const installed = packages("node_modules/.package-lock.json");
if (!wanted) {
  console.error("package-lock.json is missing or is not JSON");
  process.exit(1);
}

const differs = Object.entries(wanted).some(([path, { version, optional }]) => {
  if (path === "") return false; // the project itself
  const there = installed?.[path];
  return there === undefined ? !optional : there.version !== version;
});
process.exit(installed && !differs ? 0 : 1);
