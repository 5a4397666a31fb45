import fc from "fast-check";
import { ArgumentError } from "../../lib/errors.js";
import { type BatchOptions, Batches } from "../../lib/data/batches.js";
import { EpochOrder } from "../../lib/data/epoch-order.js";
import { philox } from "../../lib/data/philox.js";
import { philox as philoxOracle } from "../helpers/philox-oracle.js";

const word = fc.integer({ min: 0, max: 2 ** 32 - 1 });

test("Philox is Philox, against BigInt arithmetic", () => {
  fc.assert(
    fc.property(fc.tuple(word, word, word, word), fc.tuple(word, word), (counter, key) => {
      const block = Uint32Array.from(counter);
      philox(block, ...key);
      expect([...block]).toEqual(philoxOracle(counter, key));
    }),
  );
});

test("Philox gives the published known answer", () => {
  const block = Uint32Array.of(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344);
  philox(block, 0xa4093822, 0x299f31d0);
  expect([...block]).toEqual([0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]);
});

/** The same shuffle written plainly: all numbers first, then all exchanges. */
function shuffled(seed: number, epoch: number, count: number): number[] {
  const key = [seed % 2 ** 32, Math.floor(seed / 2 ** 32)];
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = 0; i < count; i++) {
    const block = philoxOracle([Math.floor(i / 2), 0x80000000, epoch, 0], key).slice(2 * (i % 2));
    const bits = (BigInt(block[0]!) << 21n) | (BigInt(block[1]!) >> 11n);
    const j = i + Math.floor((Number(bits) / 2 ** 53) * (count - i));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

test("the order is a function of seed and epoch, however it is cut", () => {
  fc.assert(
    fc.property(
      fc.maxSafeNat(),
      word,
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1, max: 50 }),
      (seed, epoch, count, step) => {
        const order = new EpochOrder(seed, epoch, count);
        const pieces: number[] = [];
        for (let at = 0; at < count; at += step) {
          pieces.push(...order.slice(at, Math.min(at + step, count)));
        }
        expect(pieces).toEqual(shuffled(seed, epoch, count));
      },
    ),
  );
});

test("every order of four is as likely as any other", () => {
  const draws = 24_000;
  const seen = new Map<string, number>();
  for (let epoch = 0; epoch < draws; epoch++) {
    const order = new EpochOrder(7, epoch, 4).slice(0, 4).join("");
    seen.set(order, (seen.get(order) ?? 0) + 1);
  }
  expect(seen.size).toBe(24);
  // Chi squared with 23 degrees of freedom: above 49.7 with probability 0.001.
  const chi2 = [...seen.values()].reduce((sum, n) => sum + (n - 1000) ** 2 / 1000, 0);
  expect(chi2).toBeLessThan(49.7);
});

const options = fc.record({
  batchSize: fc.integer({ min: 1, max: 12 }),
  shuffle: fc.boolean(),
  seed: fc.maxSafeNat(),
  dropLast: fc.boolean(),
});

function make(count: number, given: BatchOptions) {
  return new Batches(count, (indices) => [...indices], given);
}

test("an epoch holds every example once, in batches of the size asked for", () => {
  fc.assert(
    fc.property(fc.integer({ min: 12, max: 50 }), options, (count, given) => {
      const batches = make(count, given);
      const { batchSize, dropLast } = given;
      for (let epoch = 0; epoch < 3; epoch++) {
        expect([batches.epoch, batches.batch]).toEqual([epoch, 0]);
        const sizes: number[] = [];
        const seen: number[] = [];
        for (const batch of batches) {
          sizes.push(batch.length);
          seen.push(...batch);
        }
        const full = Math.floor(count / batchSize);
        const rest = count % batchSize;
        const wanted = Array<number>(full).fill(batchSize);
        expect(sizes).toEqual(dropLast || rest === 0 ? wanted : [...wanted, rest]);
        expect(batches.batchesPerEpoch).toBe(sizes.length);
        expect(new Set(seen).size).toBe(seen.length);
        if (!given.shuffle) expect(seen).toEqual(seen.map((_, i) => i));
        else if (!dropLast) expect(seen).toEqual(shuffled(given.seed, epoch, count));
      }
    }),
  );
});

test("a resumed run sees the batches of an uninterrupted one", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 12, max: 50 }),
      options,
      fc.nat(60),
      fc.nat(60),
      (count, given, before, elsewhere) => {
        const whole = make(count, given);
        for (let i = 0; i < before; i++) whole.next();
        const state: unknown = JSON.parse(JSON.stringify(whole.stateDict()));
        const resumed = make(count, given);
        for (let i = 0; i < elsewhere; i++) resumed.next();
        resumed.loadStateDict(state as ReturnType<typeof whole.stateDict>);
        for (let i = 0; i < 20; i++) expect(resumed.next()).toEqual(whole.next());
        expect(resumed.stateDict()).toEqual(whole.stateDict());
      },
    ),
  );
});

test("a batch that could not be made comes again", () => {
  let fail = true;
  const batches = new Batches(
    4,
    (indices) => {
      if (fail) throw new Error("no memory");
      return [...indices];
    },
    { batchSize: 2, shuffle: false },
  );
  expect(() => batches.next()).toThrow("no memory");
  fail = false;
  expect(batches.next()).toEqual([0, 1]);
});

test("iteration that was broken off goes on", () => {
  const batches = make(6, { batchSize: 2, shuffle: false });
  for (const batch of batches) {
    expect(batch).toEqual([0, 1]);
    break;
  }
  expect([...batches]).toEqual([
    [2, 3],
    [4, 5],
  ]);
});

test.each<[string, number, BatchOptions, RegExp]>([
  ["no examples", 0, { batchSize: 1 }, /count but received 0/],
  ["half an example", 1.5, { batchSize: 1 }, /count but received 1.5/],
  ["empty batches", 4, { batchSize: 0 }, /batchSize but received 0/],
  ["a batch of NaN", 4, { batchSize: NaN }, /batchSize but received NaN/],
  ["a negative seed", 4, { batchSize: 1, seed: -1 }, /seed but received -1/],
  ["only a batch that is dropped", 4, { batchSize: 5, dropLast: true }, /batchSize but received 5/],
])("refuses %s", (_, count, given, message) => {
  expect(() => make(count, given)).toThrow(ArgumentError);
  expect(() => make(count, given)).toThrow(message);
});

test.each<[string, object, RegExp]>([
  ["another dataset", { count: 5 }, /expected 6 for count but received 5/],
  ["another seed", { seed: 1 }, /expected 0 for seed but received 1/],
  ["another batch size", { batchSize: 3 }, /batchSize/],
  ["another order", { shuffle: false }, /expected true for shuffle but received false/],
  ["other last batches", { dropLast: true }, /dropLast/],
  ["a batch past the epoch", { batch: 3 }, /from 0 to 2 for batch but received 3/],
  ["no epoch", { epoch: undefined }, /epoch but received undefined/],
  ["an epoch of text", { epoch: "1" }, /epoch but received "1"/],
])("refuses the state of %s and stays where it was", (_, change, message) => {
  const batches = make(6, { batchSize: 2 });
  batches.next();
  const before = batches.stateDict();
  expect(() => {
    batches.loadStateDict({ ...before, ...change });
  }).toThrow(message);
  expect(batches.stateDict()).toEqual(before);
});
