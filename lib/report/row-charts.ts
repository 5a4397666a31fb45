/** Charts with one row a layer: points on a shared axis, bars side by side, one stacked bar. */
import { MISSING } from "./format.js";
import { html, raw, type Html } from "./html.js";
import {
  CHART_WIDTH,
  chartFrame,
  type ChartText,
  label,
  legend,
  linearScale,
  logScale,
  round,
  seriesColor,
  symbol,
  verticalGrid,
} from "./svg.js";
import { shorten } from "./table.js";

/** One row: its name and one value a series; `undefined` leaves the place empty. */
export interface ChartRow {
  readonly label: string;
  readonly values: readonly (number | undefined)[];
  /** A short remark drawn at the right end, such as "rescued". */
  readonly note?: string;
}

export interface RowChart extends ChartText {
  /** CSS colours of bars, when the series are not alike. */
  readonly colors?: readonly string[];
  readonly rows: readonly ChartRow[];
  readonly series: readonly string[];
  readonly format: (value: number) => string;
  readonly axisLabel: string;
}

const LABEL_END = 236;
const PLOT_START = 252;
const PLOT_END = CHART_WIDTH - 96;
/** Bars end earlier: their value is written beside them. */
const BAR_END = CHART_WIDTH - 214;

function isShown(value: number | undefined): value is number {
  return value !== undefined && Number.isFinite(value);
}

/** Rows get tighter when there are many. */
function rowHeight(rows: number, seriesCount: number): number {
  return rows > 120 ? 15 : rows > 60 ? 18 : 12 + 8 * Math.min(2, seriesCount);
}

function rowFrame(rows: readonly ChartRow[], top: number, height: number): Html[] {
  return rows.map((row, i) => {
    const y = top + i * height;
    const stripe =
      i % 2 === 0
        ? html`<rect
            class="stripe"
            x="0"
            y="${round(y)}"
            width="${CHART_WIDTH}"
            height="${height}"
          />`
        : raw("");
    const note =
      row.note === undefined
        ? raw("")
        : label(CHART_WIDTH - 8, y + height / 2 + 4, row.note, {
            anchor: "end",
            className: "quiet",
          });
    const name = label(LABEL_END, y + height / 2 + 4, shorten(row.label, 32), {
      anchor: "end",
      className: "label",
    });
    return html`${stripe}<g><title>${row.label}</title>${name}${note}</g>`;
  });
}

function tooltip(chart: RowChart, row: ChartRow): string {
  const parts = chart.series.map((name, s) => {
    const value = row.values[s];
    return `${name} ${isShown(value) ? chart.format(value) : MISSING}`;
  });
  return `${row.label}: ${parts.join(", ")}`;
}

/** Points of every series on one logarithmic axis, joined within a row (a dumbbell). */
export function logDotChart(chart: RowChart): Html {
  const height = rowHeight(chart.rows.length, 1);
  const top = 52;
  const bottom = top + chart.rows.length * height;
  const all = chart.rows.flatMap((row) => row.values.filter(isShown));
  const scale = logScale(all, [PLOT_START, PLOT_END]);
  const marks = chart.rows.map((row, i) => {
    const y = top + (i + 0.5) * height;
    const points = row.values.flatMap((value, s) => {
      const x = value === undefined ? undefined : scale.at(value);
      return x === undefined ? [] : [{ x, s }];
    });
    const xs = points.map((point) => point.x);
    const rod =
      points.length > 1
        ? html`<line
            x1="${round(Math.min(...xs))}"
            x2="${round(Math.max(...xs))}"
            y1="${round(y)}"
            y2="${round(y)}"
            style="stroke:var(--quiet);stroke-width:1.5;opacity:.55"
          />`
        : raw("");
    // The first series on top.
    const symbols = points.reverse().map((point) => symbol(point.s, point.x, y));
    return html`<g><title>${tooltip(chart, row)}</title>${rod}${symbols}</g>`;
  });
  return chartFrame(chart, bottom + 44, [
    legend(chart.series, { x: PLOT_START, y: 18, swatch: "symbol" }),
    rowFrame(chart.rows, top, height),
    verticalGrid(scale, top, bottom, chart.axisLabel),
    marks,
  ]);
}

/** Bars from zero, one under the other within a row; the values are written after the longest. */
export function barChart(chart: RowChart): Html {
  const height = rowHeight(chart.rows.length, chart.series.length);
  const top = chart.series.length > 1 ? 52 : 30;
  const bottom = top + chart.rows.length * height;
  const all = chart.rows.flatMap((row) => row.values.filter(isShown));
  const scale = linearScale(all, [PLOT_START, BAR_END], { format: chart.format });
  const gap = height > 16 ? 4 : 2;
  const thick = (height - 2 * gap) / Math.max(1, chart.series.length);
  const zero = scale.at(0) ?? PLOT_START;
  const marks = chart.rows.map((row, i) => {
    const y = top + i * height + gap;
    const bars = row.values.map((value, s) => {
      const x = value === undefined ? undefined : scale.at(value);
      if (x === undefined) return raw("");
      return html`<rect
        x="${round(Math.min(zero, x))}"
        y="${round(y + s * thick)}"
        width="${round(Math.max(1, Math.abs(x - zero)))}"
        height="${round(thick - 1)}"
        rx="1.5"
        style="fill:${chart.colors?.[s] ?? seriesColor(s)}"
      />`;
    });
    const known = row.values.filter(isShown);
    const end = Math.max(zero, ...known.map((value) => scale.at(value) ?? zero));
    const text = known.map(chart.format).join(" → ");
    const values = label(end + 6, y + (height - 2 * gap) / 2 + 4, text, { className: "quiet" });
    return html`<g><title>${tooltip(chart, row)}</title>${bars}${height > 14 ? values : ""}</g>`;
  });
  return chartFrame(chart, bottom + 44, [
    chart.series.length > 1
      ? legend(chart.series, {
          x: PLOT_START,
          y: 18,
          swatch: "bar",
          ...(chart.colors === undefined ? {} : { colors: chart.colors }),
        })
      : "",
    rowFrame(chart.rows, top, height),
    verticalGrid(scale, top, bottom, chart.axisLabel),
    marks,
  ]);
}

export interface StackedBar {
  readonly label: string;
  readonly parts: readonly number[];
  /** Written at the end of the bar. */
  readonly note?: string;
}

/** Stacked bars on one scale, such as bytes by kind before and after. */
export function stackedBarChart(
  chart: ChartText & {
    readonly rows: readonly StackedBar[];
    readonly series: readonly string[];
    readonly format: (value: number) => string;
  },
): Html {
  const top = 38;
  const height = 44;
  const start = 130;
  const totals = chart.rows.map((row) => row.parts.reduce((a, b) => a + b, 0));
  const scale = linearScale(totals, [start, CHART_WIDTH - 150]);
  const bars = chart.rows.map((row, i) => {
    const y = top + i * height;
    let sum = 0;
    const parts = row.parts.map((part, s) => {
      const from = scale.at(sum) ?? start;
      sum += part;
      const wide = (scale.at(sum) ?? start) - from;
      if (part <= 0) return raw("");
      const text = chart.format(part);
      return html`<g
        ><title>${`${row.label}, ${chart.series[s] ?? ""}: ${text}`}</title>
        <rect
          x="${round(from)}"
          y="${y}"
          width="${round(Math.max(1, wide - 1.5))}"
          height="30"
          rx="3"
          style="fill:${seriesColor(s)}"
        />
        ${wide > 10 + 7.5 * text.length ? html`<text x="${round(from + 8)}" y="${y + 19}" style="fill:var(--paper);font-weight:500">${text}</text>` : ""}</g
      >`;
    });
    return html`${label(start - 14, y + 19, row.label, { anchor: "end" })}${parts}${label(
      (scale.at(sum) ?? start) + 8,
      y + 19,
      row.note ?? chart.format(sum),
    )}`;
  });
  return chartFrame(chart, top + chart.rows.length * height, [
    legend(chart.series, { x: start, y: 18, swatch: "bar" }),
    bars,
  ]);
}
