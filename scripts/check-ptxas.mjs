// What ptxas said when libosculate_cuda.so was built (scripts/compile-cuda.sh keeps it): registers, shared memory and spills
// of each kernel, and the size of the file. Spills that are not known, or a file of more than 30 MB, are errors.
//   node scripts/check-ptxas.mjs [BUILD_FOLDER]    prints a table; exit code 1 when something is wrong
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { filesBelow } from "./check-files.mjs";

const MOST_BYTES = 30e6;
// Kernels that spill, and the most they may; to be mended. GPTAQ's recursion holds two matrices in registers (sm_100), SparseGPT's
// a mask beside the columns (sm_80, sm_100); OBQ is a reference method.
const KNOWN_SPILLS = [
  { symbol: /11sweep_blockILNS0_4TurnE2E/, bytes: 392 },
  { symbol: /11sweep_blockILNS0_4TurnE[34]E/, bytes: 200 },
  { symbol: /13quantize_rowsENS0_12Quantization/, bytes: 24 },
];
const build = process.argv[2] ?? "build/cmake";
const library = join(build, "Release/libosculate_cuda.so");

if (!existsSync(library)) {
  console.log(`check-ptxas: no ${library}: nvcc was not found when the plug-in was to be built`);
  process.exit(0);
}

/** One entry a kernel and architecture. */
function readLog(path) {
  const found = [];
  let kernel;
  for (const line of readFileSync(path, "utf8").split("\n")) {
    const entry = /Compiling entry function '(\w+)' for '(\w+)'/.exec(line);
    if (entry) {
      kernel = { file: basename(path, ".o.ptxas"), symbol: entry[1], arch: entry[2] };
      found.push(kernel);
    }
    if (!kernel) continue;
    const spills =
      /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line);
    if (spills) {
      // Of the kernel, then of functions that were not inlined into it.
      kernel.stack = Math.max(kernel.stack ?? 0, Number(spills[1]));
      kernel.spills = (kernel.spills ?? 0) + Number(spills[2]) + Number(spills[3]);
    }
    const used = /Used (\d+) registers(?:.*?(\d+) bytes smem)?/.exec(line);
    if (used) {
      kernel.registers = Number(used[1]);
      kernel.shared = Number(used[2] ?? 0);
    }
  }
  return found;
}

const kernels = filesBelow(join(build, "cuda"), /\.o\.ptxas$/).flatMap(readLog);
const names = spawnSync("c++filt", {
  input: kernels.map(({ symbol }) => symbol).join("\n"),
  encoding: "utf8",
});
const readable = (names.stdout || "").split("\n");
kernels.forEach((kernel, i) => {
  const name = readable[i] || kernel.symbol;
  kernel.name = name.replace(/\(anonymous namespace\)::|osc::|^void /g, "").replace(/\(.*$/s, "");
});

/** Instances of one template are one row: the ranges of their numbers. */
const rows = new Map();
for (const kernel of kernels) {
  const key = `${kernel.file}: ${kernel.name.replace(/<.*$/s, "")}`;
  const row = rows.get(key) ?? {
    key,
    instances: new Set(),
    byArch: new Map(),
    shared: 0,
    stack: 0,
    spills: 0,
    tooMany: false,
  };
  rows.set(key, row);
  row.instances.add(kernel.name);
  const [low, high] = row.byArch.get(kernel.arch) ?? [Infinity, 0];
  row.byArch.set(kernel.arch, [Math.min(low, kernel.registers), Math.max(high, kernel.registers)]);
  row.shared = Math.max(row.shared, kernel.shared);
  row.stack = Math.max(row.stack, kernel.stack ?? 0);
  const spills = kernel.spills ?? 0;
  row.spills = Math.max(row.spills, spills);
  const known = KNOWN_SPILLS.find(({ symbol }) => symbol.test(kernel.symbol))?.bytes ?? 0;
  row.tooMany ||= spills > known;
}

const arches = [...new Set(kernels.map(({ arch }) => arch))].sort();
const range = (numbers) => {
  if (!numbers) return "";
  return numbers[0] === numbers[1] ? `${numbers[0]}` : `${numbers[0]}-${numbers[1]}`;
};
const table = [
  [
    "kernel",
    "instances",
    ...arches.map((arch) => `${arch} registers`),
    "shared bytes",
    "stack bytes",
    "spilled bytes",
  ],
  ...[...rows.values()].map((row) => [
    row.key,
    row.instances.size,
    ...arches.map((arch) => range(row.byArch.get(arch))),
    row.shared,
    row.stack,
    row.spills,
  ]),
];
const widths = table[0].map((_, column) =>
  Math.max(...table.map((row) => String(row[column]).length)),
);
for (const row of table) {
  console.log(
    row
      .map((cell, i) =>
        i === 0 ? String(cell).padEnd(widths[i]) : String(cell).padStart(widths[i]),
      )
      .join("  "),
  );
}

const problems = [...rows.values()]
  .filter(({ tooMany }) => tooMany)
  .map(({ key }) => `${key} spills registers`);
if (kernels.length === 0) problems.push(`nothing from ptxas below ${build}/cuda`);
const bytes = statSync(library).size;
if (bytes >= MOST_BYTES) problems.push(`${library} has ${bytes} bytes, more than ${MOST_BYTES}`);
problems.forEach((problem) => console.error(problem));
console.log(
  `check-ptxas: ${rows.size} kernels, ${(bytes / 1e6).toFixed(1)} MB, ${problems.length === 0 ? "ok" : "FAILED"}`,
);
process.exit(problems.length === 0 ? 0 : 1);
