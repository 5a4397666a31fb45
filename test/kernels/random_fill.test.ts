import { rademacher, randomNormal, randomUniform } from "../../lib/ops/random.js";
import type { Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import { normalPair, philox } from "../helpers/philox-oracle.js";

eachDevice("random_fill", (device) => {
  const seed = 2 ** 40 + 12345;
  const key = { seed, stream: 7, step: 4_000_000_000, device };
  const values = async (t: Tensor) => {
    using tensor = t;
    return (await tensor.data()) as Float32Array;
  };

  test("the oracle gives Philox4x32-10's published answer", () => {
    const counter = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344] as const;
    expect(philox(counter, [0xa4093822, 0x299f31d0])).toEqual([
      0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1,
    ]);
  });

  // Words of element `index`: `per` elements a block, the kind in the top byte of the block number.
  const words = (kind: number, block: number) =>
    philox(
      [block >>> 0, Math.floor(block / 2 ** 32) + kind * 2 ** 24, key.step, key.stream],
      [seed % 2 ** 32, Math.floor(seed / 2 ** 32)],
    );

  test.each([
    [0, 0],
    [1, 0],
    [257, 3],
    [140_001, 2 ** 45 + 1],
  ])("%i numbers from index %i", async (size, index) => {
    const at = { ...key, index };
    const uniform = await values(randomUniform([size], at));
    const normal = await values(randomNormal([size], at));
    const signs = await values(rademacher([size], at));
    expect([uniform.length, normal.length, signs.length]).toEqual([size, size, size]);
    for (let i = 0; i < size; i += size > 1000 ? 97 : 1) {
      const [four, j] = [Math.floor((index + i) / 4), (index + i) % 4];
      expect(uniform[i]).toBe((words(0, four)[j]! >>> 8) / 2 ** 24);
      const bits = words(1, four);
      const { first, second, r } = normalPair(bits[j & 2]!, bits[(j & 2) + 1]!);
      expect(Math.abs(normal[i]! - (j % 2 === 0 ? first : second))).toBeLessThanOrEqual(3e-7 * r);
      const position = (index + i) % 128;
      const word = words(2, Math.floor((index + i) / 128))[position >> 5]!;
      expect(signs[i]).toBe(((word >>> (position & 31)) & 1) * 2 - 1);
    }
  });

  test("drawn in pieces it is the same tensor", async () => {
    for (const draw of [randomUniform, randomNormal, rademacher]) {
      const whole = await values(draw([1000], key));
      const pieces: number[] = [];
      for (const [from, to] of [
        [0, 1],
        [1, 130],
        [130, 777],
        [777, 1000],
      ] as const) {
        pieces.push(...(await values(draw([to - from], { ...key, index: from }))));
      }
      expect(pieces).toEqual([...whole]);
    }
  });

  if (device !== "cpu") {
    test("the same bits as on the CPU", async () => {
      for (const draw of [randomUniform, randomNormal, rademacher]) {
        const at = { ...key, index: 77 };
        const here = await values(draw([100_001], { ...at, device: "cpu" }));
        const there = await values(draw([100_001], at));
        expect(Buffer.from(there.buffer).equals(Buffer.from(here.buffer))).toBe(true);
      }
    });
  }

  test("moments, and independence of kinds, streams, steps and seeds", async () => {
    const size = 1 << 18;
    const shape = [1 << 9, 1 << 9];
    const sets = [
      await values(rademacher(shape, key)),
      await values(rademacher(shape, { ...key, stream: 8 })),
      await values(rademacher(shape, { ...key, step: 0 })),
      await values(rademacher(shape, { ...key, seed: seed + 1 })),
      await values(randomNormal(shape, key)),
      (await values(randomUniform(shape, { ...key, low: -1, high: 1 }))).map(
        (v) => v * Math.sqrt(3),
      ),
    ];
    // Every set has mean 0 and variance 1; means, variances and products of two have deviations below 1/sqrt(size) each.
    const five = 5 / Math.sqrt(size);
    const mean = (f: (i: number) => number) => {
      let sum = 0;
      for (let i = 0; i < size; ++i) sum += f(i);
      return sum / size;
    };
    sets.forEach((a, k) => {
      expect(Math.abs(mean((i) => a[i]!))).toBeLessThan(five);
      expect(Math.abs(mean((i) => a[i]! ** 2) - 1)).toBeLessThan(five * 2);
      for (const b of sets.slice(k + 1)) {
        expect(Math.abs(mean((i) => a[i]! * b[i]!))).toBeLessThan(five);
      }
    });
    const tail = sets[4]!.filter((v) => Math.abs(v) > 3).length / size; // 2.6998e-3
    expect(Math.abs(tail - 2.6998e-3)).toBeLessThan(5 * Math.sqrt(2.7e-3 / size));
  });

  test("scale and shift", async () => {
    const plain = await values(randomNormal([100], key));
    const moved = await values(randomNormal([100], { ...key, mean: -2, std: 0.25 }));
    expect([...moved]).toEqual([...plain.map((v) => Math.fround(v * 0.25 - 2))]);
    const between = await values(randomUniform([10_000], { ...key, low: 5, high: 6 }));
    expect(Math.min(...between)).toBeGreaterThanOrEqual(5);
    expect(Math.max(...between)).toBeLessThanOrEqual(6);
  });

  test("bad arguments", () => {
    const bad = (options: object, message: RegExp) => {
      expect(() => randomUniform([2], { seed: 1, device, ...options })).toThrow(message);
    };
    bad({ seed: -1 }, /for seed/);
    bad({ seed: 0.5 }, /for seed/);
    bad({ stream: 2 ** 32 }, /for stream/);
    bad({ step: NaN }, /for step/);
    bad({ index: Number.MAX_SAFE_INTEGER }, /for index/);
    bad({ low: 2 }, /number >= low = 2 for high/);
    bad({ high: Infinity }, /finite number for high/);
    expect(() => randomNormal([2], { seed: 1, std: -1 })).toThrow(/for std/);
    expect(() => rademacher([-2], { seed: 1 })).toThrow(/for shape/);
  });
});
