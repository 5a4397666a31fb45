// Installs what pack-all.mjs made, as a user would: an empty folder, no install scripts, no checkout in sight.
// There the README's API example must run by import and by require and type-check, and the command line must answer.
// A platform package that is missing or of another version must be named by the error.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");
const packages = join(root, "dist-packages");
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const platform = `osculate-linux-${process.arch}`;
// A space in the path, because users have them.
const folder = mkdtempSync(join(tmpdir(), "osculate packages "));
let failures = 0;

function run(command, ...args) {
  const result = spawnSync(command, args, {
    cwd: folder,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
  return { status: result.status, output: result.stdout + result.stderr };
}

function check(name, ok, { status, output }) {
  console.log(`${ok ? "ok  " : "FAIL"} ${name}`);
  if (!ok) {
    failures += 1;
    console.log(`     exit code ${status}\n${output.replace(/^/gm, "     ")}`);
  }
}

/** The fenced block of the README that follows `<!-- example: api -->`. */
function readmeExample() {
  const readme = readFileSync(join(root, "README.md"), "utf8");
  const found = /<!-- example: api -->\s*```\w+\n([\s\S]*?)```/.exec(readme);
  if (!found) throw new Error("README.md has no block marked <!-- example: api -->");
  return found[1];
}

/** The same program for CommonJS: imports become require, and the rest runs in an async function. */
function asCommonJs(source) {
  const imports = /^import (\{[^}]*\}) from ("[^"]+");?$/gm;
  const head = [...source.matchAll(imports)].map(
    ([, names, from]) => `const ${names} = require(${from});`,
  );
  return `${head.join("\n")}\n(async () => {\n${source.replace(imports, "")}\n})();\n`;
}

/** require() of an ES module needs no flag from Node 20.19 on. */
function requireFlags() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  return major === 20 && minor < 19 ? ["--experimental-require-module"] : [];
}

function install() {
  writeFileSync(join(folder, "package.json"), `{ "private": true }\n`);
  const archives = readdirSync(packages).filter((name) => name.endsWith(`-${version}.tgz`));
  const options = ["--ignore-scripts", "--no-audit", "--no-fund", "--omit=peer"];
  return run("npm", "install", ...options, ...archives.map((name) => join(packages, name)));
}

/** Run `use` while a file of the installed packages is changed, then put it back. */
function withChange(path, change, use) {
  const file = join(folder, "node_modules", path);
  const before = readFileSync(file);
  writeFileSync(file, change(before.toString()));
  use();
  writeFileSync(file, before);
}

try {
  const installed = install();
  check("installs with scripts off", installed.status === 0, installed);

  const example = readmeExample();
  writeFileSync(join(folder, "example.mjs"), example);
  writeFileSync(join(folder, "example.cjs"), asCommonJs(example));
  writeFileSync(join(folder, "example.mts"), example);

  const imported = run("node", "example.mjs");
  check("README example by import", imported.status === 0, imported);
  const required = run("node", ...requireFlags(), "example.cjs");
  check("README example by require", required.status === 0, required);
  check("both print the same", imported.output === required.output, required);

  const types = [
    "--types",
    "node",
    "--typeRoots",
    join(root, "node_modules/@types"),
    "--skipLibCheck",
  ];
  const compiled = run(
    "node",
    join(root, "node_modules/typescript/bin/tsc"),
    ...[
      "--noEmit",
      "--strict",
      "--target",
      "es2022",
      "--module",
      "nodenext",
      ...types,
      "example.mts",
    ],
  );
  check("README example type-checks", compiled.status === 0, compiled);

  const inspected = run("npx", "--no-install", "osculate", "inspect");
  check(
    "npx osculate inspect",
    inspected.status === 0 && inspected.output.includes(version),
    inspected,
  );

  // The addon carries the version it was built for; here the library claims another.
  withChange(
    "osculate/package.json",
    (text) => text.replace(`"version": "${version}"`, `"version": "99.0.0"`),
    () => {
      const wrong = run("node", "example.mjs");
      const named = [version, "99.0.0", platform].every((word) => wrong.output.includes(word));
      check("another version of the addon is refused by name", wrong.status !== 0 && named, wrong);
    },
  );

  renameSync(join(folder, "node_modules", platform), join(folder, "gone"));
  const missing = run("node", "example.mjs");
  check(
    "a missing addon package is named",
    missing.status !== 0 &&
      missing.output.includes(platform) &&
      missing.output.includes("BindingError"),
    missing,
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}

console.log(failures === 0 ? "packages: ok" : `packages: ${failures} failure(s)`);
process.exit(failures === 0 ? 0 : 1);
