import { run, withTree } from "./tree.js";

const complete = {
  "native/kernels.def":
    "// OSC_KERNEL(in_a_comment, X)\nOSC_KERNEL(scale, Scale)\nOSC_KERNEL(sum, Sum)\n",
  "native/kernels.h":
    "// scale: y = a x.\n#define OSC_FIELDS_scale(F) F(in, x)\n" +
    "// sum: of x.\n#define OSC_FIELDS_sum(F) F(in, x)\n",
  "native/kernels/scale.cc": "",
  "native/kernels/sum.cc": "",
  "test/kernels/scale.test.ts": "",
  "test/kernels/sum.test.ts": "",
  "cuda/kernels/sum.cu": "",
  "sources.json": `{ "cuda": ["cuda/kernels/sum.cu"] }`,
  "test/native/cuda/kernels_test.cc": "KERNEL_TEST(sum) {}\n",
  "cuda/unsupported.def": `OSC_UNSUPPORTED(scale)\n`,
};

function check(files: Record<string, string>): { status: number | null; output: string } {
  return withTree(files, (root) => run("node", ["scripts/check-kernels.mjs", root]));
}

function without(path: string): Record<string, string> {
  return Object.fromEntries(Object.entries(complete).filter(([key]) => key !== path));
}

test("accepts a complete tree", () => {
  expect(check(complete)).toEqual({ status: 0, output: "check-kernels: ok\n" });
});

test.each([
  ["native/kernels.def", "no OSC_KERNEL rows"],
  ["native/kernels.h", "scale: no contract in native/kernels.h"],
  ["native/kernels/scale.cc", "scale: no native/kernels/scale.cc"],
  ["test/kernels/sum.test.ts", "sum: no test/kernels/sum.test.ts"],
  ["cuda/kernels/sum.cu", "sum: neither cuda/kernels/sum.cu nor a line in cuda/unsupported.def"],
  ["sources.json", "sum: its .cu is not in the cuda list of sources.json"],
  ["test/native/cuda/kernels_test.cc", "sum: no KERNEL_TEST(sum) in test/native/cuda"],
  ["cuda/unsupported.def", "scale: neither cuda/kernels/scale.cu nor a line"],
])("misses %s", (path, message) => {
  const { status, output } = check(without(path));
  expect(status).toBe(1);
  expect(output).toContain(message);
});

test.each([
  [
    "a row twice",
    { "native/kernels.def": "OSC_KERNEL(sum, Sum)\nOSC_KERNEL(sum, Sum)\n" },
    "sum has two rows",
  ],
  ["a stale line", { "cuda/kernels/scale.cu": "" }, "unsupported.def is stale"],
  ["a .cu without a row", { "cuda/kernels/old.cu": "" }, "cuda/kernels/old.cu: no row"],
  ["a field list only", { "native/kernels.h": "#define OSC_FIELDS_sum(F)\n" }, "sum: no contract"],
  ["a comment only", { "native/kernels.h": "// sum: of x.\n" }, "sum: no OSC_FIELDS"],
  [
    "an unknown kernel",
    { "cuda/unsupported.def": "OSC_UNSUPPORTED(scale)\nOSC_UNSUPPORTED(gone)\n" },
    "gone is no kernel",
  ],
])("finds %s", (_name, change, message) => {
  const { status, output } = check({ ...complete, ...change });
  expect(status).toBe(1);
  expect(output).toContain(message);
});
