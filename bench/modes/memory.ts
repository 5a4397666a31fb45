import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { modeBars } from "../bars.js";
import { makeLayer, shapeText, shapesOf } from "../cases.js";
import { type ModeInput, type ModeResult, beside } from "./mode.js";
import type { MemoryFigures } from "./memory-child.js";

/**
 * Peak memory of one layer, each in a process of its own.
 *
 * Counted: resident bytes of the process at their highest during the call (VmHWM, reset just before), less what was resident
 * before it, plus the bytes of the weight and the matrix, which the caller holds: so inputs, factor, workspace, thread
 * stacks, BLAS buffers, codes, scales and all that JavaScript allocated; not Node.js and the library as loaded.
 */
export async function memory({ exchange, threads }: ModeInput): Promise<ModeResult> {
  const figures = [];
  const lines: string[] = [];
  const child = join(import.meta.dirname, "memory-child.ts");
  const loader = join(import.meta.dirname, "..", "..", "scripts", "ts-node.mjs");
  const mb = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  for (const size of shapesOf("gptq")) {
    const { files, dispose } = await makeLayer(exchange, size);
    dispose();
    const bar = modeBars.peakBytes(size.out, size.in);
    for (const descAct of [false, true]) {
      const job = { ...size, ...files, threads, descAct };
      const args = ["--expose-gc", "--import", loader, child, JSON.stringify(job)];
      const found = JSON.parse(
        execFileSync(process.execPath, args, { encoding: "utf8" }),
      ) as MemoryFigures;
      const inputs = 4 * (size.out * size.in + size.in ** 2);
      const peak = found.growthBytes + inputs;
      figures.push({
        shape: shapeText(size),
        threads,
        descAct,
        peakBytes: peak,
        barBytes: bar,
        ...found,
      });
      lines.push(
        `gptq ${shapeText(size)}${descAct ? " descAct" : ""}: ${beside(mb(peak), mb(bar), peak <= bar)}, ` +
          `${mb(found.growthBytes)} of it beyond the weight and the matrix`,
      );
    }
  }
  return { text: lines.join("\n"), figures };
}
