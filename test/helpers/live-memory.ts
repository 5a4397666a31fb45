import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { memoryStats } from "../../lib/index.js";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/**
 * Memory in use once the collector has freed what earlier tests dropped. Measured before what is under test,
 * so that what a leak adds is not hidden by what the collector takes meanwhile; compare with "at most".
 */
export async function settledMemory(
  options?: Parameters<typeof memoryStats>[0],
): Promise<ReturnType<typeof memoryStats>> {
  // Finalizers run in later tasks, and free what only then becomes garbage.
  for (let round = 0; round < 2; ++round) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setTimeout(resolve));
  }
  return memoryStats(options);
}
