import { run, withTree } from "./tree.js";

const doctest = (passed: number, failed: number, skipped: number): string =>
  `[doctest] test cases: ${passed + failed} | ${passed} passed | ${failed} failed | ${skipped} skipped\n`;

const jestResult = (
  passed: number,
  failed: number,
  broken: number,
  pending: number,
  todo: number,
): string =>
  JSON.stringify({
    numPassedTests: passed,
    numFailedTests: failed,
    numRuntimeErrorTestSuites: broken,
    numPendingTests: pending,
    numTodoTests: todo,
  });

test.each([
  ["nothing", {}, "0 passed, 0 failed, 0 skipped\n"],
  [
    "C++ tests",
    { "native.log": `noise\n${doctest(12, 1, 2)}more\n` },
    "12 passed, 1 failed, 2 skipped\n",
  ],
  [
    "a C++ program that died",
    { "native.log": "Segmentation fault\n" },
    "0 passed, 1 failed, 0 skipped\n",
  ],
  ["Jest", { "jest.json": jestResult(30, 2, 0, 4, 1) }, "30 passed, 2 failed, 5 skipped\n"],
  [
    "a suite that did not load",
    { "jest.json": jestResult(30, 0, 1, 0, 0) },
    "30 passed, 1 failed, 0 skipped\n",
  ],
  [
    "all of them",
    {
      "native.log": doctest(5, 0, 0),
      "asan.log": doctest(5, 0, 0),
      "jest.json": jestResult(7, 0, 0, 3, 0),
    },
    "17 passed, 0 failed, 3 skipped\n",
  ],
])("counts %s", (_what, files, line) => {
  withTree(files, (root) => {
    expect(run("node", ["scripts/count-tests.mjs", root])).toEqual({ status: 0, output: line });
  });
});

test("adds the numbers it is given", () => {
  withTree({ "native.log": doctest(5, 0, 1) }, (root) => {
    const { output } = run("node", ["scripts/count-tests.mjs", root, "6", "1", "0"]);
    expect(output).toBe("11 passed, 1 failed, 1 skipped\n");
  });
});
