import { run } from "../../lib/binding/index.js";
import { pruneBelow } from "../../lib/ops/prune.js";
import { selectSmallest } from "../../lib/ops/select-smallest.js";
import { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { normal } from "../helpers/gptq-oracle.js";
import { keepLargest } from "../helpers/prune-oracle.js";

eachDevice(
  "prune_below",
  (device) => {
    test.each([
      { size: 0, levels: 0 },
      { size: 1, levels: 0 },
      { size: 400_003, levels: 0 },
      { size: 400_003, levels: 2 },
      { size: 33, levels: 1 },
    ])("prunes exactly k of $size, of equal ones the first", async ({ size, levels }) => {
      const draw = normal(size + levels);
      const numbers = () =>
        Float32Array.from({ length: size }, () =>
          levels > 0 ? Math.round(draw() * levels) / levels : draw(),
        );
      const [W, S] = [numbers(), numbers()];
      using weight = Tensor.from(W, [size], { device });
      using scores = Tensor.from(S, [size], { device });
      for (const given of [undefined, scores]) {
        const order = Array.from(given ? S : W.map(Math.abs), (x) => x + 0);
        for (const k of new Set([0, 1, Math.floor(size * 0.7), size])) {
          if (k > size) continue;
          const threshold = await run(
            selectSmallest("test", [given ?? weight], k, { absolute: given === undefined }),
          );
          const got = await run(pruneBelow("test", weight, given, threshold));
          const wanted = keepLargest(order, k);
          expect(Buffer.compare(await got.mask.data(), Uint8Array.from(wanted))).toBe(0);
          const kept = Float32Array.from(wanted, (keep, i) => (keep ? W[i]! : 0));
          expect(Buffer.compare(bytes(await got.weight.data()), bytes(kept))).toBe(0);
          expect(got.zeros).toBe(k);
        }
      }
    });
  },
  ["prune_below", "score_histogram"],
);

const bytes = (x: Float32Array) => new Uint8Array(x.buffer, x.byteOffset, x.byteLength);
