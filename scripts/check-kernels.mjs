// A kernel is one stem in six places; this finds the places that are missing, and the leftovers.
//   node scripts/check-kernels.mjs [ROOT]    prints one line a violation, exit code 1 when there is one
import { existsSync, readFileSync } from "node:fs";
import { basename, join, relative, resolve } from "node:path";
import { filesBelow, finish } from "./check-files.mjs";

const root = resolve(process.argv[2] ?? ".");
const violations = [];

function text(path) {
  const file = join(root, path);
  return existsSync(file) ? readFileSync(file, "utf8") : "";
}

function withoutComments(source) {
  return source.replace(/\/\*[\s\S]*?\*\//g, "").replace(/\/\/.*$/gm, "");
}

/** First arguments of all MACRO(name, ...) rows of an X-macro file. */
function rows(path, macro) {
  return [
    ...withoutComments(text(path)).matchAll(new RegExp(`^\\s*${macro}\\(\\s*(\\w+)`, "gm")),
  ].map((match) => match[1]);
}

const kernels = rows("native/kernels.def", "OSC_KERNEL");
const unsupported = new Set(rows("cuda/unsupported.def", "OSC_UNSUPPORTED"));
const contracts = text("native/kernels.h");
const known = new Set(kernels);

if (kernels.length === 0) violations.push("native/kernels.def: no OSC_KERNEL rows");
kernels.forEach((name, index) => {
  if (kernels.indexOf(name) !== index) violations.push(`native/kernels.def: ${name} has two rows`);
});

const sources = JSON.parse(text("sources.json") || "{}");
// The C++ tests of the CUDA kernels (scripts/test-cuda.sh).
const tested = new Set(
  filesBelow(join(root, "test/native/cuda"), /\.cc$/).flatMap((path) =>
    [...readFileSync(path, "utf8").matchAll(/KERNEL_TEST\((\w+)\)/g)].map((match) => match[1]),
  ),
);

for (const name of known) {
  const missing = (what) => violations.push(`${name}: ${what}`);
  if (!existsSync(join(root, `native/kernels/${name}.cc`))) missing(`no native/kernels/${name}.cc`);
  if (!existsSync(join(root, `test/kernels/${name}.test.ts`)))
    missing(`no test/kernels/${name}.test.ts`);
  // A contract is a comment that opens with the stem, and the field list the argument struct is made from.
  if (!new RegExp(`^// ${name}: `, "m").test(contracts)) missing("no contract in native/kernels.h");
  if (!new RegExp(`^#define OSC_FIELDS_${name}\\(`, "m").test(contracts)) {
    missing("no OSC_FIELDS in native/kernels.h");
  }
  const cuda = existsSync(join(root, `cuda/kernels/${name}.cu`));
  if (!cuda && !unsupported.has(name)) {
    missing(`neither cuda/kernels/${name}.cu nor a line in cuda/unsupported.def`);
  }
  if (cuda && !sources.cuda?.includes(`cuda/kernels/${name}.cu`))
    missing("its .cu is not in the cuda list of sources.json");
  if (cuda && !tested.has(name)) missing(`no KERNEL_TEST(${name}) in test/native/cuda`);
  if (cuda && unsupported.has(name))
    missing("has a .cu, so its line in cuda/unsupported.def is stale");
}

for (const name of unsupported) {
  if (!known.has(name)) violations.push(`cuda/unsupported.def: ${name} is no kernel`);
}
for (const path of filesBelow(join(root, "cuda/kernels"), /\.cu$/)) {
  if (!known.has(basename(path, ".cu")))
    violations.push(`${relative(root, path)}: no row in native/kernels.def`);
}

finish("check-kernels", violations);
