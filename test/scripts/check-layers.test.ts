import { project, run, withTree } from "./tree.js";

function check(files: Record<string, string>): { status: number | null; output: string } {
  return withTree(files, (root) => run("node", ["scripts/check-layers.mjs", root]));
}

test("the project keeps its own layers", () => {
  expect(run("node", ["scripts/check-layers.mjs", project])).toEqual({
    status: 0,
    output: "check-layers: ok\n",
  });
});

// All planted in one tree, since a run costs the start of the TypeScript compiler: [what, path, source, message].
const planted = [
  [
    "an import from above",
    "lib/errors.ts",
    `import { x } from "./tensor/x.js";`,
    "errors may not import tensor",
  ],
  [
    "a type import",
    "lib/io/a.ts",
    `import type { X } from "../ops/x.js";`,
    "io may not import ops",
  ],
  ["a re-export", "lib/tensor/a.ts", `export * from "../ops/x.js";`, "tensor may not import ops"],
  [
    "a dynamic import",
    "lib/optim/a.ts",
    `void import("../compress/x.js");`,
    "optim may not import compress",
  ],
  [
    "require",
    "lib/compress/a.ts",
    `const x = require("../optim/x.js");`,
    "compress may not import optim",
  ],
  [
    "an inline type",
    "lib/report/a.ts",
    `let x: import("../io/x.js").X;`,
    "report may not import io",
  ],
  [
    "a worker",
    "lib/io/b.ts",
    `new URL("../graph/w.js", import.meta.url);`,
    "io may not import graph",
  ],
  ["the command line", "lib/index.ts", `export * from "./cli/x.js";`, "index may not import cli"],
  ["the public entry", "lib/nn/a.ts", `import "../index.js";`, "nn may not import index"],
  ["the package by name", "lib/nn/b.ts", `import "osculate/optim";`, "imports the package itself"],
  ["a file outside", "lib/nn/c.ts", `import "../../test/x.js";`, "from outside lib/"],
  ["an unknown room", "lib/attic/a.ts", "export {};", `"attic" is no room`],
  [
    "napi in a kernel",
    "native/kernels/a.cc",
    "#include <napi.h>",
    "belongs in native/binding/ only",
  ],
  [
    "node_api in core",
    "native/core/a.h",
    "#include <node_api.h>",
    "belongs in native/binding/ only",
  ],
  [
    "binding in a kernel",
    "native/kernels/b.cc",
    `#include "binding/x.h"`,
    "kernels may not include binding",
  ],
  ["an unknown native folder", "native/attic/a.cc", "", `"attic" is no folder`],
  [
    "a relative include",
    "native/core/b.h",
    `#include "../kernels/x.h"`,
    "core may not include kernels",
  ],
] as const;

describe("finds", () => {
  const { status, output } = check(
    Object.fromEntries(planted.map(([, path, source]) => [path, source])),
  );

  test.each(planted)("%s", (_what, path, _source, message) => {
    const line = output.split("\n").find((text) => text.startsWith(path));
    expect(line).toContain(message);
  });

  test("and fails", () => {
    expect(status).toBe(1);
  });
});

test("lets through what the table allows", () => {
  const { status, output } = check({
    "lib/compress/a.ts": `import "../graph/x.js"; import "../errors.js"; import "./b.js"; import "node:fs";`,
    "lib/cli/a.ts": `import "../optim/x.js"; import "../compress/x.js"; import pkg from "../../package.json";`,
    "lib/index.ts": `export * from "./optim/index.js"; // import "./cli/x.js"`,
    "native/binding/a.cc": `#include <napi.h>\n#include "kernels/x.h"\n#include "core/y.h"`,
    "native/kernels/a.cc": `#include <vector>\n#include "core/x.h"\n#include "kernels.h"`,
  });
  expect(output).toBe("check-layers: ok\n");
  expect(status).toBe(0);
});
