/** Reports: self-contained HTML pages, SVG charts, plain text tables. Knows nothing of models. */
export { escapeHtml, Html, html, page, raw } from "./html.js";
export type { HtmlValue } from "./html.js";
export {
  formatBytes,
  formatCount,
  formatError,
  formatRatio,
  formatSeconds,
  MISSING,
  plural,
} from "./format.js";
export { pad, printable, shorten, textTable, textWidth } from "./table.js";
export type { TextColumn } from "./table.js";
export { chartFrame, linearScale, logScale } from "./svg.js";
export type { ChartText, Scale } from "./svg.js";
export { barChart, logDotChart, stackedBarChart } from "./row-charts.js";
export type { ChartRow, RowChart, StackedBar } from "./row-charts.js";
export { lineChart, scatterChart } from "./xy-charts.js";
export type { XyChart, XySeries } from "./xy-charts.js";
export { quantizeReport } from "./quantize-report.js";
export type {
  QuantizeReportData,
  QuantizeReportExtras,
  QuantizeReportLayer,
} from "./quantize-report.js";
