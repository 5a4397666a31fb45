import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { setThreads } from "../../lib/binding/index.js";
import { gptq } from "../../lib/compress/index.js";
import { modeBars } from "../bars.js";
import { gptqOptions, makeLayer, shapeText } from "../cases.js";
import { best, digits, median, sleep } from "../statistics.js";
import { type ModeInput, type ModeResult, beside } from "./mode.js";

const size = { out: 4096, in: 4096 };
const runs = 7;

/** A process that does nothing but use one core, held to core 0 where taskset can do that. */
function startBusyProcess(): { child: ChildProcess; where: string } {
  const loop = ["-e", "for (;;);"];
  const pinned = spawnSync("taskset", ["-c", "0", "true"]).status === 0;
  const child = pinned
    ? spawn("taskset", ["-c", "0", process.execPath, ...loop], { stdio: "ignore" })
    : spawn(process.execPath, loop, { stdio: "ignore" });
  return { child, where: pinned ? "held to core 0" : "on any core" };
}

/** GPTQ of 4096x4096 alone and beside a busy process, medians: threads that wait must block, not spin. */
export async function busy({ exchange, threads }: ModeInput): Promise<ModeResult> {
  setThreads(threads);
  const { W, H, dispose } = await makeLayer(exchange, size);
  const time = async (): Promise<number[]> => {
    const times: number[] = [];
    for (let i = 0; i < runs; ++i) {
      const start = performance.now();
      await gptq(W, H, gptqOptions);
      times.push(performance.now() - start);
    }
    return times;
  };
  await gptq(W, H, gptqOptions);
  const quiet = await time();
  const { child, where } = startBusyProcess();
  let beside_: number[];
  try {
    await sleep(500);
    beside_ = await time();
  } finally {
    child.kill("SIGKILL");
  }
  dispose();
  const slowdown = median(beside_) / median(quiet);
  const text =
    `gptq ${shapeText(size)}, ${threads} threads, ${runs} runs each: quiet median ${digits(median(quiet))} ms (best ${digits(best(quiet))}), ` +
    `beside a process ${where} median ${digits(median(beside_))} ms (worst ${digits(Math.max(...beside_))}): ` +
    beside(
      `${slowdown.toFixed(2)}x slower`,
      `${modeBars.busySlowdown}x`,
      slowdown <= modeBars.busySlowdown,
    );
  return {
    text,
    figures: { shape: shapeText(size), threads, quietMs: quiet, busyMs: beside_, slowdown },
  };
}
