import {
  formatBytes,
  formatCount,
  formatError,
  formatRatio,
  formatSeconds,
  MISSING,
  plural,
} from "./format.js";
import { html, page, type Html } from "./html.js";
import { layerTable, outcomeSection } from "./layer-sections.js";
import { barChart, logDotChart, stackedBarChart } from "./row-charts.js";

/** What happened to one layer. Missing numbers are left out or `undefined`, never NaN. */
export interface QuantizeReportLayer {
  readonly name: string;
  /** ONNX operator, such as "MatMul". */
  readonly op: string;
  /** `[outFeatures, inFeatures]` of the weight as quantized. */
  readonly shape: readonly number[];
  /** "gptq", "rtn", ...; "none" when skipped. */
  readonly method: string;
  readonly bits?: number | undefined;
  /** Columns a scale; -1 for one scale a row. */
  readonly groupSize?: number | undefined;
  /** Calibration tokens seen by this layer. */
  readonly tokens?: number | undefined;
  /** `tr(D H D^T) / tr(W H W^T)` of the chosen method, and of round-to-nearest on the same grid. */
  readonly relativeError?: number | undefined;
  readonly rtnRelativeError?: number | undefined;
  /** What was added to the diagonal of the Gram matrix, as a fraction of its mean. */
  readonly damping?: number | undefined;
  /** Factorizations tried; 1 when the first succeeded. */
  readonly attempts?: number | undefined;
  /** What saved the layer, in words; absent when nothing had to. */
  readonly rescued?: string | undefined;
  /** Why the layer was left as it was; absent when it was quantized. */
  readonly skipped?: string | undefined;
  readonly seconds?: number | undefined;
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  readonly warnings?: readonly string[] | undefined;
}

/** All the report of a quantization shows. Every text may come from a model file. */
export interface QuantizeReportData {
  /** Name of the model, usually its file name. */
  readonly model: string;
  /** Where the result is. */
  readonly output?: string | undefined;
  /** The recipe as the user could write it again; several lines are fine. */
  readonly recipe: string;
  readonly layers: readonly QuantizeReportLayer[];
  readonly totals: {
    /** Size of the whole model, everything included. */
    readonly bytesBefore: number;
    readonly bytesAfter: number;
    readonly seconds: number;
    readonly calibrationSamples?: number | undefined;
    readonly peakBytes?: number | undefined;
  };
  /** Name to version: the tool, Node.js, the runtime, the CPU code path. */
  readonly versions: Readonly<Record<string, string>>;
  readonly warnings?: readonly string[] | undefined;
}

/** Sections of the caller's own, shown first, and the style sheet they need. */
export interface QuantizeReportExtras {
  readonly sections?: readonly Html[];
  /** A constant of the caller, never text from a model. */
  readonly style?: string;
}

/**
 * Draws the report of a quantization as one self-contained page.
 *
 * @returns the text of an HTML file: no script, no request, light and dark.
 */
export function quantizeReport(
  data: QuantizeReportData,
  extras: QuantizeReportExtras = {},
): string {
  return page({
    ...(extras.style === undefined ? {} : { style: extras.style }),
    title: `Quantization of ${data.model}`,
    body: html`${heading(data)} ${tiles(data)} ${extras.sections ?? []} ${errorSection(data)}
    ${sizeSection(data)} ${timeSection(data)} ${outcomeSection(data)} ${layerTable(data)}
    ${recipeSection(data)}`,
  });
}

const isDone = (layer: QuantizeReportLayer): boolean => layer.skipped === undefined;

/** Methods in use, such as "gptq" or "gptq, rtn". */
function methodNames(data: QuantizeReportData): string {
  const names = new Set(data.layers.filter(isDone).map((layer) => layer.method.toUpperCase()));
  return names.size === 0 ? "the chosen method" : [...names].join(", ");
}

function heading(data: QuantizeReportData): Html {
  const output = data.output === undefined ? "" : html` Written to <code>${data.output}</code>.`;
  const layers = data.layers.filter(isDone).length;
  return html`<header>
    <h1>${data.model}</h1>
    <p>
      Quantized with ${methodNames(data)}: ${layers} of
      ${plural(data.layers.length, "layer")}.${output}
    </p>
  </header>`;
}

function tile(name: string, value: string, remark: string): Html {
  return html`<div class="tile">
    <dt>${name}</dt>
    <dd>${value}<small>${remark}</small></dd>
  </div>`;
}

function tiles(data: QuantizeReportData): Html {
  const { bytesBefore, bytesAfter, seconds, calibrationSamples, peakBytes } = data.totals;
  const done = data.layers.filter(isDone);
  const gains = done.flatMap((layer) =>
    layer.relativeError !== undefined &&
    layer.relativeError > 0 &&
    layer.rtnRelativeError !== undefined
      ? [layer.rtnRelativeError / layer.relativeError]
      : [],
  );
  const parameters = (layers: readonly QuantizeReportLayer[]): number =>
    layers.reduce((sum, layer) => sum + layer.shape.reduce((a, b) => a * b, 1), 0);
  const weights = parameters(done);
  const stored = done.reduce((sum, layer) => sum + layer.bytesAfter, 0);
  const rescued = done.filter((layer) => layer.rescued !== undefined).length;
  return html`<dl class="tiles">
    ${tile(
      "Model size",
      formatBytes(bytesAfter),
      `from ${formatBytes(bytesBefore)}, ${formatRatio(bytesBefore / bytesAfter)} smaller`,
    )}
    ${tile(
      "Bits a weight",
      weights === 0 ? MISSING : ((8 * stored) / weights).toFixed(2),
      `scales included, ${formatCount(weights)} weights`,
    )}
    ${
      gains.length === 0
        ? ""
        : tile(
            "Error against rounding",
            `${formatRatio(median(gains))} less`,
            `median of ${plural(gains.length, "layer")}`,
          )
    }
    ${tile(
      "Time",
      formatSeconds(seconds),
      [
        calibrationSamples === undefined
          ? ""
          : `${formatCount(calibrationSamples)} calibration samples`,
        peakBytes === undefined ? "" : `peak ${formatBytes(peakBytes)}`,
      ]
        .filter((part) => part !== "")
        .join(", "),
    )}
    ${tile(
      "Rescued",
      rescued === 0 ? "none" : formatCount(rescued),
      `${plural(data.layers.length - done.length, "layer")} left as they were`,
    )}
  </dl>`;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2;
}

function errorSection(data: QuantizeReportData): Html {
  const rows = data.layers.filter(isDone);
  const measured = rows.filter(
    (layer) => layer.relativeError !== undefined || layer.rtnRelativeError !== undefined,
  );
  if (measured.length === 0) {
    return html`<h2>Error of each layer</h2>
      <p class="empty">No layer error was measured: there was no calibration data.</p>`;
  }
  const onlyRounding = measured.every((layer) => layer.method === "rtn");
  const series = onlyRounding ? ["RTN"] : [methodNames(data), "RTN on the same grid"];
  return html`<h2>Error of each layer</h2>
    <p>
      Share of the layer’s output energy that is lost on the calibration data, in model order. Left
      is better; the axis is logarithmic.
    </p>
    ${logDotChart({
      id: "error",
      title: "Relative output error of each layer",
      description: `Logarithmic dot chart of ${measured.length} layers comparing ${series.join(" with ")}. The same numbers are in the table of layers.`,
      series,
      rows: measured.map((layer) => ({
        label: layer.name,
        values: onlyRounding
          ? [layer.relativeError]
          : [layer.relativeError, layer.rtnRelativeError],
        ...errorNote(layer),
      })),
      format: formatError,
      axisLabel: "relative error, tr(D H Dᵀ) / tr(W H Wᵀ)",
    })}`;
}

function errorNote(layer: QuantizeReportLayer): { note?: string } {
  if (layer.rescued !== undefined) return { note: "rescued" };
  // A logarithmic axis has no zero; the dot sits on its edge.
  return layer.relativeError === 0 ? { note: "no error" } : {};
}

/** Bytes by kind of storage: one entry a width, then what stayed, then everything else. */
function storage(data: QuantizeReportData): { names: string[]; before: number[]; after: number[] } {
  const done = data.layers.filter(isDone);
  const widths = [...new Set(done.map((layer) => layer.bits ?? 0))].sort((a, b) => a - b);
  const sum = (layers: readonly QuantizeReportLayer[], key: "bytesBefore" | "bytesAfter"): number =>
    layers.reduce((total, layer) => total + layer[key], 0);
  const skipped = data.layers.filter((layer) => !isDone(layer));
  const { totals, layers } = data;
  return {
    names: [
      ...widths.map((bits) => (bits === 0 ? "quantized" : `${bits}-bit layers`)),
      "layers left as they were",
      "rest of the file",
    ],
    before: [
      ...widths.map((bits) =>
        sum(
          done.filter((layer) => (layer.bits ?? 0) === bits),
          "bytesBefore",
        ),
      ),
      sum(skipped, "bytesBefore"),
      Math.max(0, totals.bytesBefore - sum(layers, "bytesBefore")),
    ],
    after: [
      ...widths.map((bits) =>
        sum(
          done.filter((layer) => (layer.bits ?? 0) === bits),
          "bytesAfter",
        ),
      ),
      sum(skipped, "bytesAfter"),
      Math.max(0, totals.bytesAfter - sum(layers, "bytesAfter")),
    ],
  };
}

function sizeSection(data: QuantizeReportData): Html {
  const { names, before, after } = storage(data);
  const { bytesBefore, bytesAfter } = data.totals;
  const rows = data.layers.filter(isDone);
  return html`<h2>Size and bits</h2>
    <p>The whole file before and after, by what holds the bytes, then each quantized layer.</p>
    ${stackedBarChart({
      id: "size-total",
      title: "Size of the model before and after",
      description: `Stacked bars: ${formatBytes(bytesBefore)} before, ${formatBytes(bytesAfter)} after.`,
      series: names,
      rows: [
        { label: "before", parts: before, note: formatBytes(bytesBefore) },
        {
          label: "after",
          parts: after,
          note: `${formatBytes(bytesAfter)}, ${formatRatio(bytesBefore / bytesAfter)} smaller`,
        },
      ],
      format: formatBytes,
    })}
    ${
      rows.length === 0
        ? ""
        : barChart({
            id: "size-layers",
            title: "Size of each quantized layer before and after",
            description: `Horizontal bars of ${rows.length} layers. The same numbers are in the table of layers.`,
            series: ["before", "after"],
            colors: ["var(--quiet)", "var(--series-1)"],
            rows: rows.map((layer) => ({
              label: layer.name,
              values: [layer.bytesBefore, layer.bytesAfter],
              note: layer.bits === undefined ? "" : `${layer.bits} bits`,
            })),
            format: formatBytes,
            axisLabel: "bytes of the weight, scales and zeros included",
          })
    }`;
}

function timeSection(data: QuantizeReportData): Html {
  const rows = data.layers.filter((layer) => isDone(layer) && layer.seconds !== undefined);
  if (rows.length === 0) return html``;
  const total = rows.reduce((sum, layer) => sum + (layer.seconds ?? 0), 0);
  return html`<h2>Time of each layer</h2>
    <p>
      Quantizing took ${formatSeconds(total)} of ${formatSeconds(data.totals.seconds)}; the rest
      went to running the calibration data, checking and writing.
    </p>
    ${barChart({
      id: "time",
      title: "Seconds spent on each layer",
      description: `Horizontal bars of ${rows.length} layers. The same numbers are in the table of layers.`,
      series: ["time"],
      rows: rows.map((layer) => ({ label: layer.name, values: [layer.seconds] })),
      format: formatSeconds,
      axisLabel: "wall time",
    })}`;
}

function recipeSection(data: QuantizeReportData): Html {
  const versions = Object.entries(data.versions).map(([name, version]) => `${name} ${version}`);
  return html`<h2>Recipe</h2>
    <pre>${data.recipe}</pre>
    <footer>${versions.join(" · ")}</footer>`;
}
