/** The child process of memory.ts: loads a layer, quantizes it once, and prints by how much resident memory grew. */
import { readFileSync, writeFileSync } from "node:fs";
import { memoryStats, setThreads } from "../../lib/binding/index.js";
import { gptq } from "../../lib/compress/index.js";
import { Tensor } from "../../lib/tensor/index.js";
import { gptqOptions } from "../cases.js";

export interface MemoryFigures {
  /** Highest resident bytes during the call, less those before it. */
  readonly growthBytes: number;
  /** What the report says. */
  readonly reportedPeakBytes: number;
  /** What the native allocator handed out at most beyond the inputs. */
  readonly nativePeakBytes: number;
}

interface Job {
  readonly out: number;
  readonly in: number;
  readonly w: string;
  readonly h: string;
  readonly threads: number;
  readonly descAct: boolean;
}

/** A field of /proc/self/status, in bytes. */
function status(field: "VmRSS" | "VmHWM"): number {
  const line = readFileSync("/proc/self/status", "utf8")
    .split("\n")
    .find((one) => one.startsWith(`${field}:`));
  return Number(line?.split(/\s+/)[1]) * 1024;
}

function floats(path: string): Float32Array {
  const bytes = readFileSync(path);
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
}

const job = JSON.parse(process.argv.at(-1) ?? "{}") as Job;
setThreads(job.threads);
const W = Tensor.from(floats(job.w), [job.out, job.in], { borrow: true });
const H = Tensor.from(floats(job.h), [job.in, job.in], { borrow: true });
globalThis.gc?.();
const before = status("VmRSS");
const nativeBefore = memoryStats({ resetPeak: true }).liveBytes;
// Sets VmHWM to what is resident now.
writeFileSync("/proc/self/clear_refs", "5");
const q = await gptq(W, H, { ...gptqOptions, descAct: job.descAct });
const figures: MemoryFigures = {
  growthBytes: status("VmHWM") - before,
  reportedPeakBytes: q.report.peakBytes,
  nativePeakBytes: memoryStats().peakBytes - nativeBefore,
};
console.log(JSON.stringify(figures));
