import { monitorEventLoopDelay } from "node:perf_hooks";
import { setThreads } from "../../lib/binding/index.js";
import { gptq } from "../../lib/compress/index.js";
import { modeBars } from "../bars.js";
import { gptqOptions, makeLayer, shapeText } from "../cases.js";
import { digits } from "../statistics.js";
import { type ModeInput, type ModeResult, beside } from "./mode.js";

const sizes = [
  { out: 768, in: 768 },
  { out: 4096, in: 4096 },
  { out: 11008, in: 4096 },
];
/** Delays are gathered for at least this long. */
const watchMs = 4000;
const aborts = 12;

type Layer = Awaited<ReturnType<typeof makeLayer>>;

/** Event loop delay while layers are quantized one after the other, milliseconds, sampled every millisecond. */
async function loopDelay({ W, H }: Layer, descAct: boolean) {
  await gptq(W, H, { ...gptqOptions, descAct });
  globalThis.gc?.();
  const watch = monitorEventLoopDelay({ resolution: 1 });
  let layers = 0;
  const start = performance.now();
  watch.enable();
  for (; layers === 0 || performance.now() - start < watchMs; ++layers) {
    await gptq(W, H, { ...gptqOptions, descAct });
  }
  watch.disable();
  const layerMs = (performance.now() - start) / layers;
  return { layers, layerMs, p99Ms: watch.percentile(99) / 1e6, maxMs: watch.max / 1e6 };
}

/** From `abort()` to the rejection, at moments spread over a layer's time; the largest. */
async function abortDelay({ W, H }: Layer, descAct: boolean, layerMs: number) {
  const delays: number[] = [];
  let finished = 0;
  for (let i = 0; i < aborts; ++i) {
    const controller = new AbortController();
    const reason = new Error("aborted by the bench");
    let abortedAt = 0;
    const timer = setTimeout(
      () => {
        abortedAt = performance.now();
        controller.abort(reason);
      },
      (layerMs * (i + 0.5)) / aborts,
    );
    try {
      await gptq(W, H, { ...gptqOptions, descAct, signal: controller.signal });
      ++finished;
    } catch (error) {
      if (error !== reason) throw error;
      delays.push(performance.now() - abortedAt);
    } finally {
      clearTimeout(timer);
    }
  }
  return { aborts: delays.length, finished, worstMs: Math.max(0, ...delays), delaysMs: delays };
}

/** How a program feels while a layer is quantized: is its event loop free, does it stop when told. */
export async function latency({ exchange, threads }: ModeInput): Promise<ModeResult> {
  setThreads(threads);
  const figures = [];
  const lines: string[] = [];
  for (const size of sizes) {
    const layer = await makeLayer(exchange, size);
    for (const descAct of [false, true]) {
      const loop = await loopDelay(layer, descAct);
      const abort = await abortDelay(layer, descAct, loop.layerMs);
      figures.push({ shape: shapeText(size), threads, descAct, loop, abort });
      lines.push(
        `gptq ${shapeText(size)}${descAct ? " descAct" : ""}: event loop delay p99 ` +
          beside(
            `${digits(loop.p99Ms)} ms`,
            `${modeBars.loopDelayMs} ms`,
            loop.p99Ms < modeBars.loopDelayMs,
          ) +
          `, most ${digits(loop.maxMs)} ms, over ${loop.layers} layers; abort answered within ` +
          beside(
            `${digits(abort.worstMs)} ms`,
            `${modeBars.abortMs} ms`,
            abort.worstMs <= modeBars.abortMs,
          ) +
          `, ${abort.aborts} aborts`,
      );
    }
    layer.dispose();
  }
  return { text: lines.join("\n"), figures };
}
