import { createRequire } from "node:module";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { BindingError } from "../errors.js";
import type { Addon } from "./addon-types.js";

/** One try to load the addon: what was tried and why it failed (`undefined`: it loaded). */
export interface LoadAttempt {
  readonly from: string;
  readonly error: string | undefined;
}

interface Loaded {
  readonly from: string;
  readonly addon: Addon;
  readonly attempts: readonly LoadAttempt[];
}

const nodeRequire = createRequire(import.meta.url);
let loaded: Loaded | undefined;

/** The folder of osculate's package.json: two levels above this file, compiled or not. */
export function packageRoot(): string {
  return join(dirname(fileURLToPath(import.meta.url)), "..", "..");
}

/** The version in osculate's package.json. */
export function packageVersion(): string {
  const manifest = JSON.parse(readFileSync(join(packageRoot(), "package.json"), "utf8")) as {
    version: string;
  };
  return manifest.version;
}

/** Whether this is the source with its build files, and not an installed package. */
export function isSourceCheckout(): boolean {
  return existsSync(join(packageRoot(), "CMakeLists.txt"));
}

function candidates(): string[] {
  const platformPackage = `osculate-${process.platform}-${process.arch}`;
  const named = process.env["OSCULATE_ADDON"];
  if (named !== undefined && named !== "") return [named];
  return [join(packageRoot(), "build", "cmake", "Release", "osculate.node"), platformPackage];
}

function advice(attempts: readonly LoadAttempt[]): string {
  const errors = attempts.map((attempt) => attempt.error ?? "").join("\n");
  if (errors.includes("GLIBC"))
    return "The C library of this system is older than the one the addon was built for: build from source with `npm run build`.";
  if (errors.includes("was built for osculate"))
    return "Install the two packages in the same version.";
  if (isSourceCheckout())
    return "This is a source checkout: run `npm run setup` (or `npm run build`).";
  return (
    `Install the platform package \`osculate-${process.platform}-${process.arch}\` in version ${packageVersion()}` +
    " (it is an optional dependency: do not install with --omit=optional). There is none for other platforms than linux-x64."
  );
}

function tryLoad(from: string): Addon {
  if (from.endsWith(".node") && !existsSync(from)) throw new Error("no such file");
  const addon = nodeRequire(from) as Addon;
  const wanted = packageVersion();
  if (addon.version !== wanted) {
    throw new Error(
      `the addon was built for osculate ${addon.version}, this is osculate ${wanted}`,
    );
  }
  return addon;
}

function load(): Loaded {
  const attempts: LoadAttempt[] = [];
  for (const from of candidates()) {
    try {
      const addon = tryLoad(from);
      attempts.push({ from, error: undefined });
      return { from, addon, attempts };
    } catch (cause) {
      attempts.push({
        from,
        error: cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : String(cause),
      });
    }
  }
  const tried = attempts.map((attempt) => `  ${attempt.from}: ${attempt.error ?? ""}`).join("\n");
  throw new BindingError(
    `The native addon of osculate could not be loaded.\n${tried}\n${advice(attempts)}`,
    {
      details: { attempts },
    },
  );
}

/** The addon, loaded once a thread. Throws `BindingError` with every attempt. */
export function addon(): Addon {
  loaded ??= load();
  return loaded.addon;
}

/** The file the addon was loaded from. */
export function addonFile(): string {
  addon();
  return nodeRequire.resolve(loaded?.from ?? "");
}

/** Every load attempt so far, for `osculate inspect`. */
export function loadAttempts(): readonly LoadAttempt[] {
  addon();
  return loaded?.attempts ?? [];
}
