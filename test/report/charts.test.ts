import { barChart, logDotChart, stackedBarChart } from "../../lib/report/row-charts.js";
import { linearScale, logScale } from "../../lib/report/svg.js";
import { lineChart, scatterChart } from "../../lib/report/xy-charts.js";

const text = { id: "c", title: "A title", description: "What it shows" };
const rows = {
  ...text,
  series: ["GPTQ", "RTN"],
  format: (value: number) => value.toPrecision(2),
  axisLabel: "error",
};

/** Numbers of one attribute in order. */
const numbers = (markup: string, pattern: RegExp): number[] =>
  Array.from(markup.matchAll(pattern), (match) => Number(match[1]));

describe("scales", () => {
  test("linear: from zero, round ticks, no rounding dust", () => {
    const scale = linearScale([0.31, 0.12], [0, 100]);
    expect(scale.ticks.map((tick) => tick.label)).toEqual(["0", "0.1", "0.2", "0.3"]);
    expect(scale.at(0)).toBe(0);
    expect(scale.at(0.31)).toBeCloseTo(100);
    expect(scale.at(NaN)).toBeUndefined();
  });

  test("linear ticks lose their trailing zeros, not their digits", () => {
    const format = (value: number): string => `${value.toFixed(1)} ms`;
    const labels = linearScale([100], [0, 1], { format, count: 2 }).ticks.map((t) => t.label);
    expect(labels).toEqual(["0 ms", "50 ms", "100 ms"]);
    expect(linearScale([0.5], [0, 1], { format, count: 1 }).ticks.map((t) => t.label)).toEqual([
      "0 ms",
      "0.5 ms",
    ]);
  });

  test.each([[[]], [[5]], [[0]], [[-2, -2]]])("linear: %p gives finite places", (values) => {
    const scale = linearScale(values, [0, 10], { fit: true });
    for (const value of values) expect(Number.isFinite(scale.at(value))).toBe(true);
    expect(scale.ticks.length).toBeGreaterThan(0);
  });

  test("logarithmic: equal ratios are equal distances", () => {
    const scale = logScale([0.002, 0.5], [0, 300]);
    expect(scale.at(0.01)! - scale.at(0.001)!).toBeCloseTo(100);
    expect(scale.at(0.1)! - scale.at(0.01)!).toBeCloseTo(100);
    expect(scale.ticks.map((tick) => tick.label)).toEqual(["10⁻³", "0.01", "0.1", "1"]);
  });

  test("logarithmic: zero sits on the edge, apart from every positive value", () => {
    const scale = logScale([0, 0.001], [0, 100]);
    expect(scale.at(0)).toBe(0);
    expect(scale.at(0.001)).toBeGreaterThan(10);
  });
});

describe("row charts", () => {
  test("dots stand at their values and say them", () => {
    const { markup } = logDotChart({ ...rows, rows: [{ label: "a", values: [0.001, 0.1] }] });
    // The second series is drawn first; the rest are the legend's.
    const places = numbers(markup.slice(markup.indexOf("a: GPTQ")), /<circle\s+cx="([\d.]+)"/g);
    expect(places[0]! - places[1]!).toBeCloseTo(960 - 96 - 252, 0);
    expect(markup).toContain("<title>a: GPTQ 0.0010, RTN 0.10</title>");
  });

  test("bars are proportional, missing values leave a gap", () => {
    const { markup } = barChart({
      ...rows,
      rows: [
        { label: "a", values: [100, 50] },
        { label: "b", values: [undefined, 25] },
      ],
    });
    const bars = numbers(
      markup.slice(markup.indexOf("a: GPTQ")),
      /<rect\s+x="252"[^>]*?width="([\d.]+)"/g,
    );
    expect(bars).toHaveLength(3);
    expect(bars[0]! / bars[2]!).toBeCloseTo(4, 1);
    expect(markup).toContain("GPTQ –, RTN 25");
  });

  test("a stacked bar adds up", () => {
    const { markup } = stackedBarChart({
      ...rows,
      rows: [{ label: "before", parts: [30, 0, 10] }],
      series: ["a", "b", "c"],
    });
    const widths = numbers(
      markup.slice(markup.indexOf("before")),
      /width="([\d.]+)"\s+height="30"/g,
    );
    expect(widths).toHaveLength(2);
    expect(widths[0]! / widths[1]!).toBeCloseTo(3, 1);
  });

  test.each([0, 1, 61, 121])("%d rows: named, described, escaped", (count) => {
    const many = Array.from({ length: count }, (_, i) => ({
      label: `<script>${i}`,
      note: "<i>",
      values: [10 ** -(i % 5), NaN],
    }));
    for (const chart of [logDotChart, barChart]) {
      const { markup } = chart({ ...rows, rows: many });
      expect(markup).toContain('role="img"');
      expect(markup).toContain('<title id="c-title">A title</title>');
      expect(markup).toContain('<desc id="c-desc">What it shows</desc>');
      expect(markup).not.toMatch(/<script|<i>|NaN|undefined|Infinity/);
    }
  });
});

describe("line and scatter charts", () => {
  const chart = {
    ...text,
    xLabel: "step",
    yLabel: "<loss>",
    series: [
      { name: "train", points: [1, 2, 3].map((x) => ({ x, y: 10 / x, label: "<p>" })) },
      { name: "test", points: [{ x: 2, y: NaN }] },
    ],
  };

  test.each([lineChart, scatterChart])("draw what is finite and escape the rest", (draw) => {
    for (const yScale of ["linear", "log"] as const) {
      const { markup } = draw({ ...chart, yScale });
      expect(markup).not.toMatch(/NaN|undefined|<p>|<loss>/);
      expect(markup).toContain("&lt;loss&gt;");
      expect(markup).toContain("train");
    }
  });

  test("a line goes through its points from left to right, smaller values lower", () => {
    const { markup } = lineChart(chart);
    const [points] = numbers(markup, /points="([\d.]+),/g);
    const path = /points="([^"]+)"/
      .exec(markup)![1]!
      .split(" ")
      .map((p) => p.split(",").map(Number));
    expect(path).toHaveLength(3);
    expect(path[0]![0]).toBe(points);
    expect(path[0]![0]!).toBeLessThan(path[1]![0]!);
    expect(path[0]![1]!).toBeLessThan(path[1]![1]!);
  });
});
