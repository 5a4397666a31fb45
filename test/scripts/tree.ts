import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";

export const project = resolve(__dirname, "../..");

/** Run `use` with a fresh folder that holds `files` (path to content); the folder is removed afterwards. */
export function withTree<T>(files: Readonly<Record<string, string>>, use: (root: string) => T): T {
  const root = mkdtempSync(join(tmpdir(), "osculate tree "));
  try {
    for (const [path, content] of Object.entries(files)) {
      const file = join(root, path);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, content);
    }
    return use(root);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

export interface Outcome {
  readonly status: number | null;
  readonly output: string;
}

/** Run a command in the project folder with standard output and error together. */
export function run(command: string, args: readonly string[], env = process.env): Outcome {
  const result = spawnSync(command, args, { cwd: project, env, encoding: "utf8" });
  return { status: result.status, output: result.stdout + result.stderr };
}
