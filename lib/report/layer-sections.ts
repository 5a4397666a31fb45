/** The parts of the quantization report made of words: what went differently, and every number. */
import { formatBytes, formatCount, formatError, formatSeconds, MISSING, plural } from "./format.js";
import { html, type Html } from "./html.js";
import type { QuantizeReportData, QuantizeReportLayer } from "./quantize-report.js";

interface Outcome {
  readonly kind: "rescued" | "warning" | "left";
  readonly names: readonly string[];
  readonly text: string;
}

/** Rescues, then warnings, then what was left alone; layers with the same story share one line. */
function outcomes(data: QuantizeReportData): Outcome[] {
  const rescued = data.layers.flatMap((layer): Outcome[] => {
    if (layer.rescued === undefined) return [];
    const facts = [
      ...(layer.attempts === undefined ? [] : [plural(layer.attempts, "attempt")]),
      ...(layer.damping === undefined ? [] : [`damping ${formatError(layer.damping)}`]),
    ].join(", ");
    const text = facts === "" ? layer.rescued : `${layer.rescued} (${facts})`;
    return [{ kind: "rescued", names: [layer.name], text }];
  });
  const warnings = new Map<string, string[]>();
  const skipped = new Map<string, string[]>();
  const note = (map: Map<string, string[]>, text: string, name: string): void => {
    map.set(text, [...(map.get(text) ?? []), name]);
  };
  for (const text of data.warnings ?? []) note(warnings, text, "whole model");
  for (const layer of data.layers) {
    for (const text of layer.warnings ?? []) note(warnings, text, layer.name);
    if (layer.skipped !== undefined) note(skipped, layer.skipped, layer.name);
  }
  const grouped = (map: Map<string, string[]>, kind: Outcome["kind"]): Outcome[] =>
    [...map].map(([text, names]) => ({ kind, names, text }));
  return [...rescued, ...grouped(warnings, "warning"), ...grouped(skipped, "left")];
}

function nameCell(names: readonly string[]): Html {
  const [first] = names;
  if (names.length === 1) return html`<code>${first}</code>`;
  return html`<details>
    <summary>${plural(names.length, "layer")}</summary>
    <code>${names.join(", ")}</code>
  </details>`;
}

const MARKS: Readonly<Record<Outcome["kind"], Html>> = {
  rescued: html`<span class="mark bad">▲ rescued</span>`,
  warning: html`<span class="mark warn">△ warning</span>`,
  left: html`<span class="mark">○ left alone</span>`,
};

/** Says which layers were rescued, warned about, or skipped, and why. */
export function outcomeSection(data: QuantizeReportData): Html {
  const rows = outcomes(data);
  const rescued = data.layers.filter((layer) => layer.rescued !== undefined).length;
  const table = html`<div class="scroll">
    <table class="outcomes">
      <tbody>
        ${rows.map(
          (row) =>
            html`<tr>
              <td>${MARKS[row.kind]}</td>
              <td>${row.text}</td>
              <td>${nameCell(row.names)}</td>
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
  return html`<h2>Rescued, warned about, left alone</h2>
    <p>
      ${
        rescued === 0
          ? "No layer needed a rescue: every layer was quantized as asked."
          : `${plural(rescued, "layer")} could not be quantized as asked; what was done instead stands here.`
      }
    </p>
    ${rows.length === 0 ? "" : table}`;
}

/** Every number of every layer. */
export function layerTable(data: QuantizeReportData): Html {
  const heads = [
    "bits",
    "group",
    "tokens",
    "error",
    "RTN error",
    "damping",
    "time",
    "before",
    "after",
  ];
  return html`<h2>All layers</h2>
    <p>Errors as in the first picture; sizes are those of the weight with its scales and zeros.</p>
    <div class="scroll">
      <table class="layers">
        <thead>
          <tr>
            <th scope="col">layer</th>
            <th scope="col">op</th>
            <th scope="col" class="n">shape</th>
            <th scope="col">method</th>
            ${heads.map((head) => html`<th scope="col" class="n">${head}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${data.layers.map(layerRow)}
        </tbody>
      </table>
    </div>`;
}

function layerRow(layer: QuantizeReportLayer): Html {
  const skipped = layer.skipped !== undefined;
  const numbers = [
    layer.bits === undefined ? MISSING : String(layer.bits),
    groupText(layer.groupSize),
    formatCount(layer.tokens),
    formatError(layer.relativeError),
    formatError(layer.rtnRelativeError),
    formatError(layer.damping),
    formatSeconds(layer.seconds),
    formatBytes(layer.bytesBefore),
    formatBytes(layer.bytesAfter),
  ];
  return html`<tr class="${skipped ? "muted" : ""}">
    <th scope="row"><code>${layer.name}</code></th>
    <td>${layer.op}</td>
    <td class="n">${shapeText(layer.shape)}</td>
    <td>${skipped ? "left" : layer.method}</td>
    ${numbers.map((text) => html`<td class="n">${text}</td>`)}
  </tr>`;
}

/** A layer whose weight is computed at run time has no shape to show. */
function shapeText(shape: readonly number[]): string {
  return shape.every((size) => size > 0) ? shape.join(" × ") : MISSING;
}

function groupText(groupSize: number | undefined): string {
  if (groupSize === undefined) return MISSING;
  return groupSize === -1 ? "row" : String(groupSize);
}
