import { run, withTree } from "./tree.js";

function log(spills: number): string {
  return `ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_ZN3osc5scaleIfEEvPf' for 'sm_90a'
ptxas info    : Function properties for _ZN3osc5scaleIfEEvPf
    16 bytes stack frame, ${String(spills)} bytes spill stores, ${String(spills)} bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 16 bytes stack size, 8448 bytes smem
ptxas info    : Compiling entry function '_ZN3osc5scaleIdEEvPd' for 'sm_90a'
ptxas info    : Function properties for _ZN3osc5scaleIdEEvPd
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 22 registers, used 0 barriers
`;
}

const logPath = "cuda/CMakeFiles/osculate_cuda.dir/kernels/scale.cu.o.ptxas";
const library = "Release/libosculate_cuda.so";

function check(files: Record<string, string>): { status: number | null; output: string } {
  return withTree(files, (root) => run("node", ["scripts/check-ptxas.mjs", root]));
}

test("instances of a template are one row", () => {
  const { status, output } = check({ [logPath]: log(0), [library]: "" });
  expect(output).toMatch(/scale\.cu: scale +2 +22-40 +8448 +16 +0\n/);
  expect(status).toBe(0);
});

test.each([
  ["spills", { [logPath]: log(8), [library]: "" }, "scale.cu: scale spills registers"],
  ["a build without logs", { [library]: "" }, "nothing from ptxas"],
  [
    "a large library",
    { [logPath]: log(0), [library]: "x".repeat(30e6) },
    "has 30000000 bytes, more than 30000000",
  ],
])("finds %s", (_name, files, message) => {
  const { status, output } = check(files);
  expect(output).toContain(message);
  expect(status).toBe(1);
});

test("no library is no error: it is built where nvcc is", () => {
  const { status, output } = check({ "note.txt": "" });
  expect(output).toContain("nvcc was not found");
  expect(status).toBe(0);
});
