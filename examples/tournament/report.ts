/** The outcome of a tournament as a table, a page with curves in `example-out/`, and one line of JSON. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { html, lineChart, page, textTable, type XySeries } from "../../lib/report/index.js";
import { median, reaches, type Figures, type Point, type Row } from "./tournament.js";

export interface Outcome {
  /** File name of the page, without its end. */
  readonly name: string;
  readonly title: string;
  /** What was run, in a sentence or two. */
  readonly text: string;
  /** Columns of the test figures: their key, title and how a number is shown. */
  readonly figures: readonly (readonly [
    key: string,
    title: string,
    show: (value: number) => string,
  ])[];
  readonly yLabel?: string;
  /** The row whose last loss the others are asked to reach. */
  readonly baseline: string;
}

const range = (figures: readonly Figures[], key: string, show: (value: number) => string) => {
  const values = figures.map((row) => row[key] ?? Number.NaN);
  const middle = show(median(values));
  return values.length < 2
    ? middle
    : `${middle} (${show(Math.min(...values))} to ${show(Math.max(...values))})`;
};

export function report(rows: readonly Row[], outcome: Outcome): void {
  const { baseline, yLabel = "training loss (moving average)" } = outcome;
  const goal = rows.find(({ name }) => name === baseline)?.curve.at(-1)?.loss ?? Number.NaN;
  const reached = rows.map((row) => reaches(row, goal));
  const right = { align: "right" } as const;
  const columns = [
    { title: "optimizer" },
    { title: "best rate", ...right },
    ...outcome.figures.map(([, title]) => ({ title, ...right })),
    { title: "ms a step", ...right },
    { title: `steps to ${baseline}'s loss`, ...right },
    { title: "seconds", ...right },
    { title: "rates within 10 % of the best", ...right },
  ];
  const cells = rows.map((row, i) => [
    row.name,
    String(row.lr),
    ...outcome.figures.map(([key, , show]) => range(row.figures, key, show)),
    row.millisecondsAStep.toFixed(2),
    String(reached[i]?.step ?? "not reached"),
    reached[i]?.seconds.toFixed(1) ?? "",
    `${row.goodRates} of ${row.rates}`,
  ]);
  const table = textTable(columns, cells);
  console.log(`\n${table}`);

  const series = (x: (point: Point) => number): XySeries[] =>
    rows.map(({ name, curve }) => {
      const every = Math.max(1, Math.floor(curve.length / 120));
      const points = curve.filter((_, i) => i % every === every - 1);
      return { name, points: points.map((point) => ({ x: x(point), y: point.loss })) };
    });
  const chart = { yLabel, yScale: "log" } as const;
  const body = html`<h1>${outcome.title}</h1>
    <p>${outcome.text}</p>
    ${lineChart({ ...chart, id: "steps", title: "Against steps", description: "Loss of each optimizer by step", xLabel: "steps", series: series(({ step }) => step) })}
    ${lineChart({ ...chart, id: "seconds", title: "Against seconds", description: "Loss of each optimizer by time", xLabel: "seconds", series: series(({ seconds }) => seconds) })}
    <pre>${table}</pre>`;
  const out = resolve("example-out");
  mkdirSync(out, { recursive: true });
  const file = `${outcome.name}.html`;
  writeFileSync(join(out, file), page({ title: outcome.title, body }));
  console.log(`\nwrote ${join("example-out", file)}`);
  const summary = rows.map((row, i) => [
    row.name,
    {
      lr: row.lr,
      ...Object.fromEntries(
        outcome.figures.map(([key]) => [key, median(row.figures.map((f) => f[key] ?? Number.NaN))]),
      ),
      msPerStep: row.millisecondsAStep,
      stepsToBaseline: reached[i]?.step ?? null,
      goodRates: row.goodRates,
    },
  ]);
  console.log(JSON.stringify(Object.fromEntries(summary)));
}
