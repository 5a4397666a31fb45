/** Line and scatter charts over two numeric axes. */
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
  type Scale,
  seriesColor,
  symbol,
  verticalGrid,
} from "./svg.js";

export interface XySeries {
  readonly name: string;
  readonly points: readonly {
    readonly x: number;
    readonly y: number;
    /** Named on hover and, in scatter charts, beside the point. */
    readonly label?: string;
  }[];
}

export interface XyChart extends ChartText {
  readonly series: readonly XySeries[];
  readonly xLabel: string;
  readonly yLabel: string;
  readonly xScale?: "linear" | "log";
  readonly yScale?: "linear" | "log";
  /** Default 320. */
  readonly height?: number;
}

const LEFT = 76;

function axes(chart: XyChart): { x: Scale; y: Scale; top: number; bottom: number; body: Html } {
  const top = 44;
  const bottom = top + (chart.height ?? 320);
  const points = chart.series.flatMap((series) => series.points);
  const xs = points.map((point) => point.x);
  const ys = points.map((point) => point.y);
  const x =
    chart.xScale === "log"
      ? logScale(xs, [LEFT, CHART_WIDTH - 24])
      : linearScale(xs, [LEFT, CHART_WIDTH - 24], { fit: true, count: 8 });
  const y =
    chart.yScale === "log"
      ? logScale(ys, [bottom, top])
      : linearScale(ys, [bottom, top], { fit: true });
  const rows = y.ticks.map(({ value, label: text }) => {
    const at = round(y.at(value) ?? bottom);
    return html`<line
        class="grid"
        x1="${LEFT}"
        x2="${CHART_WIDTH - 24}"
        y1="${at}"
        y2="${at}"
      />${label(LEFT - 8, at + 4, text, { anchor: "end", className: "quiet" })}`;
  });
  const names = chart.series.map((series) => series.name);
  const keys = names.length > 1 ? legend(names, { x: LEFT, y: 16, swatch: "symbol" }) : [];
  const body = html`${keys}${label(LEFT - 8, 34, chart.yLabel, { anchor: "start", className: "quiet" })}${verticalGrid(x, top, bottom, chart.xLabel)}${rows}`;
  return { x, y, top, bottom, body };
}

function placed(series: XySeries, x: Scale, y: Scale) {
  return series.points.flatMap((point) => {
    const px = x.at(point.x);
    const py = y.at(point.y);
    return px === undefined || py === undefined ? [] : [{ ...point, px, py }];
  });
}

function hover(series: XySeries, point: { x: number; y: number; label?: string }): string {
  return `${point.label ?? series.name}: ${point.x}, ${point.y}`;
}

/** One polyline a series; points that are not finite break nothing and are left out. */
export function lineChart(chart: XyChart): Html {
  const { x, y, bottom, body } = axes(chart);
  const lines = chart.series.map((series, s) => {
    const points = placed(series, x, y);
    const path = points.map((p) => `${round(p.px)},${round(p.py)}`).join(" ");
    const marks =
      points.length > 60
        ? raw("")
        : points.map(
            (p) => html`<g><title>${hover(series, p)}</title>${symbol(s, p.px, p.py)}</g>`,
          );
    return html`<polyline
        points="${path}"
        style="fill:none;stroke:${seriesColor(s)};stroke-width:2;stroke-linejoin:round"
      />${marks}`;
  });
  return chartFrame(chart, bottom + 44, [body, lines]);
}

/** One symbol a point, with its label beside it where it has one. */
export function scatterChart(chart: XyChart): Html {
  const { x, y, bottom, body } = axes(chart);
  const marks = chart.series.map((series, s) =>
    placed(series, x, y).map(
      (p) =>
        html`<g
          ><title>${hover(series, p)}</title>${symbol(s, p.px, p.py)}${
            p.label === undefined ? "" : label(p.px + 9, p.py + 4, p.label, { className: "quiet" })
          }</g
        >`,
    ),
  );
  return chartFrame(chart, bottom + 44, [body, marks]);
}
