/**
 * What every chart shares: scales, ticks, the accessible frame, symbols. Charts are SVG inside a page
 * of html.ts and take their colours from its variables, so they follow light and dark by themselves.
 * Each has a title, a description and text labels; hovering a mark shows its value (no script).
 */
import { html, raw, type Html, type HtmlValue } from "./html.js";

/** Width of every chart in user units; the page scales it. */
export const CHART_WIDTH = 960;

/** Title and description read by assistive technology; `id` must be unique in the page. */
export interface ChartText {
  readonly id: string;
  readonly title: string;
  readonly description: string;
}

/** Wraps marks into a labelled `<figure><svg>`. */
export function chartFrame(text: ChartText, height: number, body: HtmlValue): Html {
  return html`<figure>
    <svg
      viewBox="0 0 ${CHART_WIDTH} ${round(height)}"
      role="img"
      aria-labelledby="${text.id}-title ${text.id}-desc"
    >
      <title id="${text.id}-title">${text.title}</title>
      <desc id="${text.id}-desc">${text.description}</desc>
      ${body}
    </svg>
  </figure>`;
}

/** A coordinate with at most two decimals: smaller files, same picture. */
export function round(value: number): number {
  return Math.round(value * 100) / 100;
}

/** The colour of series `index` (from 0), as a CSS value. */
export function seriesColor(index: number): string {
  return `var(--series-${(index % 6) + 1})`;
}

/** Maps data to positions. */
export interface Scale {
  /** Position of a value, or `undefined` when the scale cannot show it. */
  at(value: number): number | undefined;
  readonly ticks: readonly { readonly value: number; readonly label: string }[];
}

/** A linear scale from a rounded minimum (0 unless values are negative or `fit`) to the maximum. */
export function linearScale(
  values: readonly number[],
  range: readonly [number, number],
  options: { format?: (value: number) => string; fit?: boolean; count?: number } = {},
): Scale {
  const finite = values.filter(Number.isFinite);
  let low = options.fit === true ? Math.min(...finite) : Math.min(0, ...finite);
  let high = options.fit === true ? Math.max(...finite) : Math.max(0, ...finite);
  if (finite.length === 0) [low, high] = [0, 1];
  if (low === high) high = low + (low === 0 ? 1 : Math.abs(low));
  const step = niceStep((high - low) / (options.count ?? 5));
  if (options.fit === true)
    [low, high] = [Math.floor(low / step) * step, Math.ceil(high / step) * step];
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) {
    const value = Number((k * step).toPrecision(12));
    // "50.0 ms" is right in a table, but a tick needs only "50 ms".
    const text = (options.format ?? String)(value).replace(/(\.\d*?)0+(?=\D|$)/, "$1");
    ticks.push({ value, label: text.replace(/\.(?=\D|$)/, "") });
  }
  return {
    at: (value) =>
      Number.isFinite(value)
        ? range[0] + ((value - low) / (high - low)) * (range[1] - range[0])
        : undefined,
    ticks,
  };
}

/** A logarithmic scale over whole decades; zero and negative values sit on its lower edge. */
export function logScale(values: readonly number[], range: readonly [number, number]): Scale {
  const positive = values.filter((value) => Number.isFinite(value) && value > 0);
  let low = positive.length === 0 ? -1 : Math.floor(Math.log10(Math.min(...positive)) + 1e-9);
  const high =
    positive.length === 0
      ? 0
      : Math.max(low + 1, Math.ceil(Math.log10(Math.max(...positive)) - 1e-9));
  // A value on the edge could be taken for zero.
  if (values.some((value) => value <= 0)) low -= 1;
  const every = Math.max(1, Math.ceil((high - low) / 9));
  const ticks = [];
  for (let decade = low; decade <= high; decade += every) {
    ticks.push({ value: 10 ** decade, label: decadeLabel(decade) });
  }
  return {
    at: (value) => {
      if (!Number.isFinite(value)) return undefined;
      const place = value > 0 ? (Math.log10(value) - low) / (high - low) : 0;
      return range[0] + Math.min(1, Math.max(0, place)) * (range[1] - range[0]);
    },
    ticks,
  };
}

const SUPERSCRIPTS: Readonly<Record<string, string>> = {
  "-": "⁻",
  "0": "⁰",
  "1": "¹",
  "2": "²",
  "3": "³",
  "4": "⁴",
  "5": "⁵",
  "6": "⁶",
  "7": "⁷",
  "8": "⁸",
  "9": "⁹",
};

function decadeLabel(decade: number): string {
  if (decade === 0) return "1";
  if (decade >= -2 && decade < 0) return (10 ** decade).toFixed(-decade);
  if (decade === 1 || decade === 2) return String(10 ** decade);
  return `10${Array.from(String(decade), (c) => SUPERSCRIPTS[c] ?? c).join("")}`;
}

function niceStep(raw: number): number {
  const power = 10 ** Math.floor(Math.log10(raw));
  const lead = raw / power;
  return (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10) * power;
}

/** A short text at a place. `anchor` as in SVG. */
export function label(
  x: number,
  y: number,
  text: string,
  options: { anchor?: "start" | "middle" | "end"; className?: string } = {},
): Html {
  return html`<text
    x="${round(x)}"
    y="${round(y)}"
    text-anchor="${options.anchor ?? "start"}"
    class="${options.className ?? ""}"
    >${text}</text
  >`;
}

/** Vertical grid lines of a horizontal scale with their tick labels above and below. */
export function verticalGrid(scale: Scale, top: number, bottom: number, axisLabel: string): Html[] {
  const marks = scale.ticks.flatMap(({ value, label: text }) => {
    const x = scale.at(value) ?? 0;
    return [
      html`<line
        class="grid"
        x1="${round(x)}"
        x2="${round(x)}"
        y1="${round(top)}"
        y2="${round(bottom)}"
      />`,
      label(x, bottom + 16, text, { anchor: "middle", className: "quiet" }),
      bottom - top > 500
        ? label(x, top - 6, text, { anchor: "middle", className: "quiet" })
        : raw(""),
    ];
  });
  return [
    ...marks,
    label(CHART_WIDTH - 8, bottom + 34, axisLabel, { anchor: "end", className: "quiet" }),
  ];
}

/** Mark shapes differ as well as colours, for readers who do not tell the colours apart. */
export function symbol(index: number, x: number, y: number): Html {
  const color = seriesColor(index);
  const [px, py] = [round(x), round(y)];
  switch (index % 3) {
    case 0:
      return html`<circle cx="${px}" cy="${py}" r="4.5" style="fill:${color}" />`;
    case 1:
      return html`<circle
        cx="${px}"
        cy="${py}"
        r="4"
        style="fill:var(--paper);stroke:${color};stroke-width:2"
      />`;
    default:
      return html`<rect
        x="${px - 4}"
        y="${py - 4}"
        width="8"
        height="8"
        transform="rotate(45 ${px} ${py})"
        style="fill:${color}"
      />`;
  }
}

/** A row of symbols or swatches with names. */
export function legend(
  names: readonly string[],
  options: { x: number; y: number; swatch: "symbol" | "bar"; colors?: readonly string[] },
): Html[] {
  let x = options.x;
  return names.map((name, index) => {
    const mark =
      options.swatch === "symbol"
        ? symbol(index, x + 5, options.y - 4)
        : html`<rect
            x="${round(x)}"
            y="${options.y - 10}"
            width="11"
            height="11"
            rx="2"
            style="fill:${options.colors?.[index] ?? seriesColor(index)}"
          />`;
    const entry = html`<g>${mark}${label(x + 17, options.y, name)}</g>`;
    x += 17 + name.length * 6.9 + 22;
    return entry;
  });
}
