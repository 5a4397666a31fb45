/** One line of text per layer, in columns that stay where they are. */
import type { LayerRow } from "../compress/job-types.js";
import { formatBytes, formatCount, formatError, formatSeconds, MISSING } from "../report/format.js";
import { pad, printable, shorten, textWidth } from "../report/table.js";

/** Longest layer name before its middle is left out. */
const NAME_WIDTH = 36;

/** `360x120`: rows x columns; `480x25/480` for a convolution of 480 groups. */
export function shapeText(layer: { rows: number; columns: number; groups: number }): string {
  if (layer.rows === 0) return MISSING; // a weight that is not stored
  const shape = `${layer.rows}x${layer.columns}`;
  return layer.groups > 1 ? `${shape}/${layer.groups}` : shape;
}

export function groupText(groupSize: number): string {
  return groupSize === -1 ? "row" : String(groupSize);
}

export interface RowLayout {
  readonly total: number;
  readonly nameWidth: number;
}

/** Room for the names there are. */
export function rowLayout(names: readonly string[], total: number): RowLayout {
  const widest = names.reduce((width, name) => Math.max(width, textWidth(printable(name))), 5);
  return { total, nameWidth: Math.min(NAME_WIDTH, widest) };
}

/** The line above the rows. */
export function rowHeader({ total, nameWidth }: RowLayout): string {
  return line(String(total).length * 2 + 1, nameWidth, [
    "",
    "layer",
    "op",
    "shape",
    "how",
    "error",
    "rtn error",
    "damp",
    "tokens",
    "time",
    "size",
  ]);
}

function line(counterWidth: number, nameWidth: number, cells: readonly string[]): string {
  const widths = [counterWidth, nameWidth, 6, 10, 12, 9, 9, 6, 9, 8, 9];
  const right = [0, 5, 6, 7, 8, 9, 10];
  return cells
    .map((cell, c) => pad(cell, widths[c] ?? 0, right.includes(c) ? "right" : "left"))
    .join("  ")
    .trimEnd();
}

/** A finished layer. What had to be rescued or warned of follows on lines of its own. */
export function rowText(row: LayerRow, index: number, layout: RowLayout): string {
  const { total, nameWidth } = layout;
  const counter = `${pad(String(index), String(total).length, "right")}/${total}`;
  const { report } = row;
  const method = report?.method ?? row.method;
  const first = line(String(total).length * 2 + 1, nameWidth, [
    counter,
    shorten(printable(row.name), nameWidth),
    row.op,
    shapeText(row),
    `${method} ${row.bits}b g${groupText(row.groupSize)}`,
    formatError(report?.relativeError),
    formatError(report?.rtnRelativeError),
    report?.dampPercent === undefined ? "" : formatError(report.dampPercent),
    report === undefined || report.tokens === 0 ? "" : formatCount(report.tokens),
    row.resumed ? "resumed" : formatSeconds((report?.milliseconds ?? 0) / 1000),
    formatBytes(row.bytesAfter),
  ]);
  const notes = [
    ...(report?.rescued === undefined ? [] : [`rescued: ${report.rescued}`]),
    ...(report?.warnings ?? []),
  ];
  return [
    first,
    ...notes.map((note) => `${" ".repeat(String(total).length * 2 + 3)}! ${printable(note)}`),
  ].join("\n");
}
