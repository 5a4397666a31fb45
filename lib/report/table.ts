/**
 * Plain text tables for terminals and logs. Cells may come from a model file, so control characters
 * (an escape sequence could repaint the terminal) are shown as U+FFFD.
 */

export interface TextColumn {
  readonly title: string;
  readonly align?: "left" | "right";
  /** Longest cell in terminal columns; longer ones lose their middle. Default: no limit. */
  readonly maxWidth?: number;
}

// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;
/** East Asian wide characters take two terminal columns; good enough for aligning. */
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6]/;

/** Text safe to print on a terminal. */
export function printable(text: string): string {
  return text.replace(CONTROL, "\ufffd");
}

/** Width of a text in terminal columns. */
export function textWidth(text: string): number {
  let width = 0;
  for (const character of text) width += WIDE.test(character) ? 2 : 1;
  return width;
}

/** Shortens a text by its middle, so that the ends, which tell layers apart, stay. */
export function shorten(text: string, maxWidth: number): string {
  if (textWidth(text) <= maxWidth) return text;
  const characters = Array.from(text);
  const keep = Math.max(1, maxWidth - 1);
  let tail: string[] = [];
  let head: string[] = [];
  let used = 0;
  for (let i = 0; i < characters.length; i++) {
    // Alternate from both ends, the end first.
    const fromEnd = i % 2 === 0;
    const character = fromEnd
      ? characters[characters.length - 1 - tail.length]
      : characters[head.length];
    if (character === undefined || used + textWidth(character) > keep) break;
    used += textWidth(character);
    if (fromEnd) tail = [character, ...tail];
    else head = [...head, character];
  }
  return `${head.join("")}…${tail.join("")}`;
}

/** Pads to a width on the side that `align` asks for. */
export function pad(text: string, width: number, align: "left" | "right" = "left"): string {
  const space = " ".repeat(Math.max(0, width - textWidth(text)));
  return align === "right" ? space + text : text + space;
}

/**
 * Lays out a table: a header, a rule, one line a row, two spaces between columns, no trailing blanks.
 *
 * @param rows cells in column order; missing ones are empty, surplus ones are ignored.
 * @returns lines joined by newlines, without a last newline.
 */
export function textTable(
  columns: readonly TextColumn[],
  rows: readonly (readonly string[])[],
): string {
  const clean = (text: string, column: TextColumn): string => {
    const safe = printable(text);
    return column.maxWidth === undefined ? safe : shorten(safe, column.maxWidth);
  };
  const cells = rows.map((row) => columns.map((column, c) => clean(row[c] ?? "", column)));
  const widths = columns.map((column, c) =>
    Math.max(textWidth(column.title), ...cells.map((row) => textWidth(row[c] ?? ""))),
  );
  const line = (row: readonly string[]): string =>
    columns
      .map((column, c) => pad(row[c] ?? "", widths[c] ?? 0, column.align))
      .join("  ")
      .trimEnd();
  return [
    line(columns.map((column) => column.title)),
    widths.map((width) => "-".repeat(width)).join("  "),
    ...cells.map(line),
  ].join("\n");
}
