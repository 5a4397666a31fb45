import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { project } from "./tree.js";

/**
 * A project of four files with the real set-up scripts in it, and a PATH that holds only stand-ins: `npm`, `apt-get`
 * and `id` note their arguments in `calls`; the compiler is the real one, blind to what the test hides from it.
 */
class FakeProject {
  // A space in the path, and no git.
  readonly root = mkdtempSync(join(tmpdir(), "osculate setup "));
  readonly bin = join(this.root, "bin");

  constructor() {
    for (const folder of ["bin", "scripts", "native", "lib", "node_modules"]) {
      mkdirSync(join(this.root, folder));
    }
    for (const name of ["setup.sh", "system-packages.sh", "check-modules.mjs"]) {
      copyFileSync(join(project, "scripts", name), join(this.root, "scripts", name));
    }
    this.write("package.json", "{}");
    this.write("package-lock.json", `{ "packages": {} }`);
    this.write("node_modules/.package-lock.json", `{ "packages": {} }`);
    this.write("native/a.cc", "1");
    this.write("lib/a.ts", "1");
    const tools =
      "bash cat cut dirname env find flock grep head mkdir mktemp mv nproc rm sed sha256sum sleep sort tail touch xargs";
    for (const tool of [...tools.split(" "), "cp", "make", "cmake"]) {
      symlinkSync(`/usr/bin/${tool}`, join(this.bin, tool));
    }
    symlinkSync(process.execPath, join(this.bin, "node"));
    this.tool("npm", [
      `case "$*" in`,
      `ci*) cp package-lock.json node_modules/.package-lock.json ;;`,
      `*build:native) sleep 0.3; mkdir -p build/cmake/Release; touch build/cmake/Release/osculate.node ;;`,
      `*build:ts) mkdir -p dist; touch dist/index.js ;;`,
      `esac`,
    ]);
    this.tool("apt-get", [
      `[ -e "$HOME/offline" ] && exit 100`,
      `case "$*" in *install*) touch "$HOME/installed";; esac`,
    ]);
    this.tool("id", ["echo 0"]);
    this.compiler([]);
  }

  write(path: string, content: string): void {
    writeFileSync(join(this.root, path), content);
  }

  /** Put a stand-in in the PATH that notes its call and then runs `lines`. */
  tool(name: string, lines: readonly string[]): void {
    const note = name === "g++" ? [] : [`echo "${name} $*" >> "$HOME/calls"`];
    this.write(join("bin", name), ["#!/usr/bin/env bash", ...note, ...lines, ""].join("\n"));
    chmodSync(join(this.bin, name), 0o755);
  }

  /** The real compiler, which finds neither the libraries nor the headers of `hidden` until apt-get has run. */
  compiler(hidden: readonly string[]): void {
    const refuse = hidden.map(
      (what) => `case "$* $program" in *${what}*) [ -e "$HOME/installed" ] || exit 1;; esac`,
    );
    const real = `PATH=/usr/bin:/bin exec g++ "$@" <<<"$program"`;
    this.tool("g++", [`program=; case "$*" in *" - "*) program=$(cat);; esac`, ...refuse, real]);
  }

  environment(extra: Record<string, string> = {}): NodeJS.ProcessEnv {
    return { PATH: this.bin, HOME: this.root, ...extra };
  }

  setup(
    args: readonly string[] = [],
    extra: Record<string, string> = {},
  ): { status: number | null; output: string } {
    const env = this.environment(extra);
    const { status, stderr } = spawnSync("bash", ["scripts/setup.sh", ...args], {
      cwd: this.root,
      env,
      encoding: "utf8",
    });
    return { status, output: stderr };
  }

  /** What the stand-ins were called with since the last look. */
  calls(): string[] {
    const path = join(this.root, "calls");
    const lines = existsSync(path) ? readFileSync(path, "utf8").trim().split("\n") : [];
    rmSync(path, { force: true });
    return lines.filter((line) => !line.startsWith("id "));
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

const native = "npm run --silent build:native";
const typescript = "npm run --silent build:ts";
let fake: FakeProject;
beforeEach(() => {
  fake = new FakeProject();
});
afterEach(() => {
  fake.remove();
});

describe("steps", () => {
  test("all run once, and none the second time", () => {
    rmSync(join(fake.root, "node_modules/.package-lock.json"));
    expect(fake.setup().status).toBe(0);
    expect(fake.calls()).toEqual(["npm ci --include=dev", native, typescript]);
    const start = performance.now();
    expect(fake.setup()).toEqual({ status: 0, output: "" });
    expect(performance.now() - start).toBeLessThan(2000);
    expect(fake.calls()).toEqual([]);
  });

  const lock = (version: string): string =>
    `{ "packages": { "node_modules/a": { "version": "${version}" } } }`;
  test.each<[string, (root: FakeProject) => void, string[]]>([
    [
      "a native source",
      (f) => {
        f.write("native/a.cc", "2");
      },
      [native],
    ],
    [
      "a new native source",
      (f) => {
        f.write("native/b.cc", "");
      },
      [native],
    ],
    [
      "a TypeScript source",
      (f) => {
        f.write("lib/a.ts", "2");
      },
      [typescript],
    ],
    [
      "a missing addon",
      (f) => {
        rmSync(join(f.root, "build/cmake"), { recursive: true });
      },
      [native],
    ],
    [
      "a missing dist",
      (f) => {
        rmSync(join(f.root, "dist"), { recursive: true });
      },
      [typescript],
    ],
    [
      "the lock file",
      (f) => {
        f.write("package-lock.json", lock("2.0.0"));
      },
      ["npm ci --include=dev", native, typescript],
    ],
    [
      "other modules",
      (f) => {
        f.write("node_modules/.package-lock.json", "{}");
      },
      ["npm ci --include=dev"],
    ],
    [
      "nothing but a date",
      (f) => {
        f.write("lib/a.ts", "1");
      },
      [],
    ],
  ])("%s decides what runs again", (_what, change, expected) => {
    fake.setup();
    fake.calls();
    change(fake);
    expect(fake.setup().status).toBe(0);
    expect(fake.calls()).toEqual(expected);
  });

  test("a failed build shows its output, names the log, and runs again", () => {
    fake.tool("npm", [`echo "error: the cause"; exit 3`]);
    const { status, output } = fake.setup();
    expect(status).toBe(1);
    expect(output).toContain("error: the cause");
    expect(output).toContain("build/setup.log");
    fake.calls();
    fake.setup();
    expect(fake.calls()).toEqual([native]);
  });

  test("two runs at once build once", async () => {
    const runs = [1, 2].map(
      () =>
        new Promise((resolve) => {
          spawn("bash", ["scripts/setup.sh"], {
            cwd: fake.root,
            env: fake.environment(),
            stdio: "ignore",
          }).on("exit", resolve);
        }),
    );
    expect(await Promise.all(runs)).toEqual([0, 0]);
    expect(fake.calls()).toEqual([native, typescript]);
  });
});

describe("a missing", () => {
  test.each<[string, (f: FakeProject) => void, string, string]>([
    [
      "compiler",
      (f) => {
        rmSync(join(f.bin, "g++"));
      },
      "a C++20 compiler (g++; g++ >= 11)",
      "g++ libopenblas-dev doctest-dev",
    ],
    [
      "C++20",
      (f) => {
        f.compiler(["std::span"]);
      },
      "a C++20 compiler (g++; g++ >= 11)",
      "g++ libopenblas-dev doctest-dev",
    ],
    [
      "cmake",
      (f) => {
        rmSync(join(f.bin, "cmake"));
      },
      "cmake >= 3.19",
      "cmake",
    ],
    [
      "new cmake",
      (f) => {
        rmSync(join(f.bin, "cmake"));
        f.tool("cmake", ["echo cmake version 3.18.4"]);
      },
      "cmake >= 3.19",
      "cmake",
    ],
    [
      "make",
      (f) => {
        rmSync(join(f.bin, "make"));
      },
      "make (or ninja)",
      "make",
    ],
    [
      "BLAS",
      (f) => {
        f.compiler(["-lopenblas"]);
      },
      "OpenBLAS (its library and cblas.h)",
      "libopenblas-dev",
    ],
    [
      "doctest",
      (f) => {
        f.compiler(["doctest"]);
      },
      "doctest (doctest/doctest.h)",
      "doctest-dev",
    ],
  ])("%s is named with the command to run", (_tool, hide, what, packages) => {
    hide(fake);
    const message =
      `osculate set-up: missing: ${what}\n` +
      `osculate set-up: run this, then try again:  sudo apt-get install -y ${packages}\n`;
    expect(fake.setup(["--check"])).toEqual({ status: 1, output: message });
    fake.tool("id", ["echo 1000"]);
    expect(fake.setup()).toEqual({ status: 1, output: message });
    expect(fake.calls().filter((call) => !call.startsWith("cmake"))).toEqual([]);
  });

  test("system without apt-get gets no command it lacks", () => {
    rmSync(join(fake.bin, "apt-get"));
    rmSync(join(fake.bin, "cmake"));
    expect(fake.setup().output).toMatch(/missing: cmake.*\n.*install the packages that hold these/);
  });
});

const debian = existsSync("/etc/debian_version") ? describe : describe.skip;
debian("as root on Debian", () => {
  const install =
    "apt-get -qq -y -o DPkg::Lock::Timeout=300 install --no-install-recommends libopenblas-dev";

  test("what is missing is installed", () => {
    fake.compiler(["-lopenblas"]);
    expect(fake.setup().status).toBe(0);
    const calls = fake.calls();
    expect(calls[0]).toBe(install);
    expect(calls.slice(-2)).toEqual([native, typescript]);
  });

  test("nothing is installed when asked not to", () => {
    fake.compiler(["-lopenblas"]);
    expect(fake.setup([], { OSCULATE_SETUP_INSTALL: "0" }).status).toBe(1);
    expect(fake.calls()).toEqual([]);
  });

  test("a failed install refreshes the lists once, then prints the command", () => {
    fake.compiler(["-lopenblas"]);
    fake.write("offline", "");
    const { status, output } = fake.setup();
    expect(status).toBe(1);
    expect(output).toContain("sudo apt-get install -y libopenblas-dev");
    expect(fake.calls()).toEqual([install, "apt-get -qq -y -o DPkg::Lock::Timeout=300 update"]);
  });
});
