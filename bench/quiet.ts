import { readFileSync } from "node:fs";
import { sleep } from "./statistics.js";

/** Ticks all processors spent working and in all, since the system started. */
function ticks(): { work: number; all: number } {
  const line = readFileSync("/proc/stat", "utf8").split("\n", 1)[0] ?? "";
  const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0] =
    line.split(/\s+/).slice(1).map(Number);
  const work = user + nice + system + irq + softirq + steal;
  return { work, all: work + idle + iowait };
}

/** Share of the machine's processors in use by anyone during a pause of ours, 0 to 1. */
async function watch(milliseconds: number): Promise<number> {
  const before = ticks();
  await sleep(milliseconds);
  const after = ticks();
  const all = after.all - before.all;
  return all > 0 ? (after.work - before.work) / all : 0;
}

/** A share of use below which the machine counts as quiet: a twentieth of two cores is some housekeeping. */
const quietShare = 0.05;
const watchMs = 150;

/**
 * Waits until the machine is idle, at most `patienceMs`. Results on a machine that others use are only as good as the quiet
 * moments they were taken in.
 *
 * @returns the share of the processors that was in use when it stopped waiting.
 */
export async function waitForQuiet(patienceMs: number): Promise<number> {
  const start = performance.now();
  for (;;) {
    const share = await watch(watchMs);
    if (share <= quietShare || performance.now() - start >= patienceMs) return share;
  }
}
