import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { project, run } from "../scripts/tree.js";

interface Manifest {
  readonly version: string;
  readonly exports: Readonly<
    Record<string, string | { readonly types: string; readonly default: string }>
  >;
  readonly bin: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
}

const manifest = JSON.parse(readFileSync(join(project, "package.json"), "utf8")) as Manifest;
const entries = Object.keys(manifest.exports)
  .filter((key) => key !== "./package.json")
  .map((key) => key.replace(/^\./, "osculate"));

// Node 20.17 and 20.18 know require() of an ES module only behind a flag.
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
const requireFlags = major === 20 && minor < 19 ? ["--experimental-require-module"] : [];

/** The exported names that a fresh process sees, by import and by require of the built package. */
function exportsOf(entry: string): { imported: string; required: string } {
  const print = (load: string): string =>
    `console.log(JSON.stringify(Object.keys(${load}).sort()))`;
  const imported = run("node", ["--input-type=module", "-e", print(`await import("${entry}")`)]);
  const required = run("node", [
    ...requireFlags,
    "--no-warnings",
    "--input-type=commonjs",
    "-e",
    print(`require("${entry}")`),
  ]);
  return { imported: imported.output, required: required.output };
}

describe("the built package", () => {
  test.each(entries)("%s gives the same by import and by require", (entry) => {
    const { imported, required } = exportsOf(entry);
    expect(JSON.parse(imported)).not.toHaveLength(0);
    expect(required).toBe(imported);
  });

  test.each(Object.entries(manifest.exports))(
    "export %s has types and default, and the files",
    (key, target) => {
      if (key === "./package.json") return;
      expect(Object.keys(target)).toEqual(["types", "default"]);
      for (const file of Object.values(target)) expect(existsSync(join(project, file))).toBe(true);
    },
  );

  test("computes through a subpath and the main entry with one and the same Tensor", () => {
    const program = `
      import { Tensor } from "osculate";
      import { inputGram } from "osculate/curvature";
      const gram = inputGram(2);
      await gram.add(Tensor.from(new Float32Array([1, 2, 3, 4]), [2, 2]));
      console.log([...(await (await gram.matrix()).data())].join());`;
    const { status, output } = run("node", ["--input-type=module", "-e", program]);
    expect(output).toBe("10,14,14,20\n");
    expect(status).toBe(0);
  });

  test("has a command line that says its version", () => {
    const { status, output } = run("node", [
      join(project, manifest.bin["osculate"] ?? ""),
      "--version",
    ]);
    expect(output.trim()).toBe(manifest.version);
    expect(status).toBe(0);
  });

  test("depends on exact versions only", () => {
    for (const version of Object.values(manifest.dependencies))
      expect(version).toMatch(/^\d+\.\d+\.\d+$/);
  });
});
