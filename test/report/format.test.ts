import {
  formatBytes,
  formatCount,
  formatError,
  formatRatio,
  formatSeconds,
  plural,
} from "../../lib/report/format.js";

test.each([
  [0, "0 B"],
  [999, "999 B"],
  [1536, "1.54 kB"],
  [99_960, "100 kB"],
  [10_857_958, "10.9 MB"],
  [2.5e13, "25.0 TB"],
  [NaN, "–"],
  [undefined, "–"],
])("bytes %p", (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

test.each([
  [0, "0 s"],
  [0.0023, "2.30 ms"],
  [0.9996, "1.00 s"],
  [14.2, "14.2 s"],
  [59.96, "1 min 00 s"],
  [245, "4 min 05 s"],
  [3720, "1 h 02 min"],
  [undefined, "–"],
])("seconds %p", (seconds, text) => {
  expect(formatSeconds(seconds)).toBe(text);
});

test.each([
  [0, "0"],
  [0.0372, "0.0372"],
  [0.1, "0.100"],
  [3.72e-4, "3.7e-4"],
  [1e-9, "1.0e-9"],
  [12345, "1.2e4"],
  [Infinity, "–"],
])("error %p", (value, text) => {
  expect(formatError(value)).toBe(text);
});

test("counts, ratios, plurals", () => {
  expect(formatCount(2_690_312)).toBe("2,690,312");
  expect(formatCount(999)).toBe("999");
  expect([5.54, 12.34, 99.9, 340.2].map(formatRatio)).toEqual(["5.5x", "12.3x", "100x", "340x"]);
  expect([0, 1, 1024].map((n) => plural(n, "layer"))).toEqual([
    "0 layers",
    "1 layer",
    "1,024 layers",
  ]);
});
