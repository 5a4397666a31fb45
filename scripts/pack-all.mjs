// Makes the packages that users install (`npm run pack:all`):
//   dist-packages/osculate-VERSION.tgz                   the compiled library and command line
//   dist-packages/osculate-linux-ARCH-VERSION.tgz        the addon alone, chosen by os, cpu and libc
//   dist-packages/osculate-linux-ARCH-cuda-VERSION.tgz   the CUDA plug-in, for those who ask for it; only where nvcc built one
// The first names the second as an optional dependency of the very same version. A checkout's package.json
// cannot: the addon package exists only once it is published.
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { publint } from "publint";
import { formatMessage } from "publint/utils";

const root = resolve(import.meta.dirname, "..");
const stage = join(root, "build/packages");
const output = join(root, "dist-packages");
const addon = join(root, "build/cmake/Release/osculate.node");
const plugin = join(root, "build/cmake/Release/libosculate_cuda.so");
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const platform = `osculate-linux-${process.arch}`;

// What every glibc system with a C++ program on it has. Anything more would make the package fail at a user's.
const allowedLibraries =
  /^(libstdc\+\+|libgcc_s|libm|libc|libdl|libpthread|ld-linux[\w-]*)\.so\.\d+$/;

function run(command, args, cwd = root) {
  return execFileSync(command, args, {
    cwd,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
}

function writeManifest(folder, content) {
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(content, null, 2)}\n`);
}

function stageLibrary() {
  const folder = join(stage, "osculate");
  mkdirSync(folder, { recursive: true });
  // Compiled anew into the stage: dist/ may hold files whose source is gone.
  run("node", [
    "node_modules/typescript/bin/tsc",
    ...["-p", "tsconfig.build.json", "--outDir", join(folder, "dist"), "--sourceMap", "false"],
  ]);
  for (const name of manifest.files) {
    if (name !== "dist") cpSync(join(root, name), join(folder, name), { recursive: true });
  }
  const published = { ...manifest, optionalDependencies: { [platform]: manifest.version } };
  delete published.devDependencies;
  delete published.scripts;
  writeManifest(folder, published);
  return folder;
}

/** A package with one native file that must load wherever glibc and libstdc++ are. */
function stageNative(name, file, { description, readme, main }) {
  const folder = join(stage, name);
  const library = basename(file);
  mkdirSync(folder, { recursive: true });
  run("strip", ["--strip-unneeded", "-o", join(folder, library), file]);
  const foreign = [...run("readelf", ["-d", join(folder, library)]).matchAll(/NEEDED.*\[(.*)\]/g)]
    .map((match) => match[1])
    .filter((needed) => !allowedLibraries.test(needed));
  if (foreign.length > 0) {
    throw new Error(
      `${library} needs ${foreign.join(", ")}, which users may not have: link OpenBLAS statically ` +
        "(libopenblas.a and libgfortran.a; see scripts/setup.sh) and build again",
    );
  }
  for (const notice of ["LICENSE", "THIRD_PARTY_NOTICES.md"])
    cpSync(join(root, notice), join(folder, notice));
  writeFileSync(join(folder, "README.md"), `# ${name}\n\n${readme}\n`);
  writeManifest(folder, {
    name,
    version: manifest.version,
    description,
    license: manifest.license,
    type: "commonjs",
    ...(main ? { main: `./${library}` } : {}),
    files: [library, "LICENSE", "THIRD_PARTY_NOTICES.md", "README.md"],
    engines: manifest.engines,
    os: ["linux"],
    cpu: [process.arch],
    libc: ["glibc"],
  });
  return folder;
}

function stageAddon() {
  return stageNative(platform, addon, {
    main: true,
    description: `Native part of osculate for Linux on ${process.arch}`,
    readme:
      `The native part of osculate for Linux (glibc) on ${process.arch}. ` +
      "It comes with `osculate` and is of no use alone.",
  });
}

function stagePlugin() {
  return stageNative(`${platform}-cuda`, plugin, {
    main: false,
    description: `CUDA kernels of osculate for Linux on ${process.arch}`,
    readme:
      "The CUDA kernels of osculate. Install it beside `osculate` in the same version, on a machine with an NVIDIA " +
      'driver, and use `device: "cuda"`.',
  });
}

async function lint(folder) {
  const { messages } = await publint({ pkgDir: folder, pack: false, strict: true });
  const content = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  for (const message of messages)
    console.error(`${content.name}: ${formatMessage(message, content)}`);
  if (messages.some(({ type }) => type !== "suggestion"))
    throw new Error(`publint refuses ${content.name}`);
}

rmSync(stage, { recursive: true, force: true });
rmSync(output, { recursive: true, force: true });
mkdirSync(output, { recursive: true });
run("bash", ["scripts/setup.sh"]);
const folders = [stageLibrary(), stageAddon(), ...(existsSync(plugin) ? [stagePlugin()] : [])];
for (const folder of folders) {
  await lint(folder);
  const [packed] = JSON.parse(run("npm", ["pack", "--json", "--pack-destination", output], folder));
  console.log(`dist-packages/${packed.filename}  ${packed.entryCount} files, ${packed.size} bytes`);
}
