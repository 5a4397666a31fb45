import { execFileSync } from "node:child_process";
import { cpus, loadavg, totalmem } from "node:os";
import { inspectBinding, packageRoot } from "../lib/binding/index.js";
import type { Peers } from "./peer.js";

/** Where and of what the numbers are. */
export interface Machine {
  readonly commit: string | null;
  /** Uncommitted changes were measured. */
  readonly dirty: boolean | null;
  readonly date: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  /** Load averages over 1, 5 and 15 minutes when the bench started. */
  readonly load: readonly number[];
  readonly codePath: string;
  readonly blas: string;
  readonly node: string;
  readonly torch: string | null;
  readonly torchBlas: string | null;
}

function git(...args: string[]): string | null {
  try {
    const stdio: ("ignore" | "pipe")[] = ["ignore", "pipe", "ignore"];
    return execFileSync("git", args, { cwd: packageRoot(), encoding: "utf8", stdio }).trim();
  } catch {
    return null;
  }
}

export function describeMachine(peers: Peers): Machine {
  const binding = inspectBinding();
  const status = git("status", "--porcelain", "--", "lib", "native", "bench");
  return {
    commit: git("rev-parse", "HEAD"),
    dirty: status === null ? null : status !== "",
    date: new Date().toISOString(),
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memoryBytes: totalmem(),
    load: loadavg(),
    codePath: binding.cpuPath,
    blas: binding.blas,
    node: binding.node,
    torch: peers.torch?.torch ?? null,
    torchBlas: peers.torch?.blas ?? null,
  };
}
