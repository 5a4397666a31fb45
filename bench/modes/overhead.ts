import { add } from "../../lib/autodiff/index.js";
import { setThreads } from "../../lib/binding/index.js";
import { Tensor } from "../../lib/index.js";
import { modeBars } from "../bars.js";
import { digits } from "../statistics.js";
import { type ModeInput, type ModeResult, beside } from "./mode.js";

const rounds = 400;
const opsARound = 250;

/** What an operation costs besides its arithmetic: two tensors of one element added, no derivative taken. */
export async function overhead({ threads }: ModeInput): Promise<ModeResult> {
  setThreads(threads);
  using a = Tensor.from([1]);
  using b = Tensor.from([2]);
  using check = add(a, b);
  if (check.dataSync()[0] !== 3) throw new Error("1 + 2 is not 3");
  const times: number[] = [];
  for (let round = 0; round < rounds; ++round) {
    const start = performance.now();
    for (let i = 0; i < opsARound; ++i) add(a, b).dispose();
    times.push((1000 * (performance.now() - start)) / opsARound);
    // Lets finalizers and the collector have their turn between the rounds.
    if (round % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  times.sort((x, y) => x - y);
  const medianUs = times[rounds / 2] ?? Number.NaN;
  const bestUs = times[0] ?? Number.NaN;
  const met = medianUs < modeBars.overheadUs;
  return {
    text: `add of two one-element tensors: median ${beside(`${digits(medianUs)} us`, `${modeBars.overheadUs} us`, met)}, best ${digits(bestUs)} us`,
    figures: { threads, medianUs, bestUs },
  };
}
