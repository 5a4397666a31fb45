// Adds up results and prints them as the last line: "N passed, N failed, N skipped".
//   node scripts/count-tests.mjs FOLDER [PASSED FAILED SKIPPED]
// FOLDER holds any number of doctest logs (*.log) and Jest results (*.json); the three numbers are added.
// A log without its closing line is a test program that died: one failure.
import { readFileSync } from "node:fs";
import { filesBelow } from "./check-files.mjs";

const [folder, ...more] = process.argv.slice(2);
const total = { passed: 0, failed: 0, skipped: 0 };

function add(passed, failed, skipped) {
  total.passed += Number(passed);
  total.failed += Number(failed);
  total.skipped += Number(skipped);
}

for (const path of filesBelow(folder, /\.log$/)) {
  const line = /\[doctest\] test cases: .*?(\d+) passed \D*(\d+) failed \D*(\d+) skipped/;
  const [, passed, failed, skipped] = line.exec(readFileSync(path, "utf8")) ?? [0, 0, 1, 0];
  add(passed, failed, skipped);
}

for (const path of filesBelow(folder, /\.json$/)) {
  const result = JSON.parse(readFileSync(path, "utf8"));
  // A suite that could not even load has no tests of its own: it counts as one failure.
  add(
    result.numPassedTests,
    result.numFailedTests + result.numRuntimeErrorTestSuites,
    result.numPendingTests + result.numTodoTests,
  );
}

if (more.length === 3) add(...more);
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
