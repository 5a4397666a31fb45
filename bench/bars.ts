import type { TimedName } from "./cases.js";

/** What the project promises, as ratios of peer time to ours at 2 threads. */
const gptqBars: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  "768x768": { r: 7, b: 3.5 },
  "3072x768": { r: 6, b: 2.2 },
  "4096x4096": { r: 3, b: 2 },
  "11008x4096": { r: 4, b: 1.5 },
};

const bars: Readonly<
  Record<TimedName, Readonly<Record<string, Readonly<Record<string, number>>>>>
> = {
  gptq: gptqBars,
  gptq_desc_act: gptqBars,
  input_gram: { "768x768": { r: 1.7, b: 1.7 }, "4096x4096": { r: 1.7, b: 1.7 } },
  rtn: { "4096x4096": { r: 20 } },
  // Fused AdamW moves 28 bytes an element, AdaHessian 32: 0.8 of its bytes a second is 0.7 of its speed.
  adahessian_step: { "2500x4000": { r: 3, f: 0.7 } },
  sophia_step: { "2500x4000": { r: 2.5 } },
  shampoo_roots: { "2048x1024": { e: 1 } },
  matrix_sqrt: { "4096x128": { r: 3, e: 1 } },
};

/** Threads at which the ratios are promised. */
export const barThreads = 2;

/** Least ratio promised for a row, if any. */
export function ratioBar(
  name: TimedName,
  shape: string,
  threads: number,
  peer: string | null,
): number | undefined {
  if (threads !== barThreads || peer === null) return undefined;
  return bars[name][shape]?.[peer];
}

/** Most times the floor, where promised. */
export function floorBar(name: TimedName, shape: string, threads: number): number | undefined {
  return name === "gptq" && shape === "4096x4096" && threads === barThreads ? 1.5 : undefined;
}

/** Bars of the other modes. */
export const modeBars = {
  /** Time beside a busy process over quiet time. */
  busySlowdown: 2.2,
  /** Event loop delay, 99th percentile, milliseconds. */
  loopDelayMs: 20,
  /** From abort() to rejection, milliseconds. */
  abortMs: 100,
  /** An operation on one element, microseconds, median. */
  overheadUs: 3,
  /** Peak bytes of one layer, its weight and matrix included. */
  peakBytes: (out: number, columns: number): number =>
    16 * columns ** 2 + 12 * out * columns + 64 * 2 ** 20,
};
