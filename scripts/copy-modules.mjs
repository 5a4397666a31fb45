// Copies what the kernel tests need of node_modules: Jest, its transformer, and the packages lib/ imports, with theirs.
//   node scripts/copy-modules.mjs TARGET
import { cpSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const target = process.argv[2];
const manifest = JSON.parse(readFileSync("package.json", "utf8"));
const wanted = [
  "jest",
  "@swc/jest",
  "@swc/core",
  "fast-check",
  ...Object.keys(manifest.dependencies),
];

const seen = new Set();
for (let name = wanted.pop(); name !== undefined; name = wanted.pop()) {
  const from = join("node_modules", name);
  if (seen.has(name) || !existsSync(from)) continue; // optional packages of other platforms are not there
  seen.add(name);
  cpSync(from, join(target, name), { recursive: true });
  const {
    dependencies = {},
    optionalDependencies = {},
    peerDependencies = {},
  } = JSON.parse(readFileSync(join(from, "package.json"), "utf8"));
  wanted.push(...Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies }));
}
console.log(`${seen.size} packages`);
