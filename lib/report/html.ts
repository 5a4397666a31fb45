/**
 * HTML by tagged template: every interpolated value is escaped unless it is itself `Html`, so a layer
 * named `<script>` can only ever be text. Pages are one file: no script, no link, no request.
 */

/** Markup that is safe to insert as it is; made by `html` and `raw`. */
export class Html {
  constructor(readonly markup: string) {}
  toString(): string {
    return this.markup;
  }
}

/** What a template takes: text and numbers are escaped, `Html` is kept, lists are joined. */
export type HtmlValue = Html | string | number | null | undefined | false | readonly HtmlValue[];

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Control characters (never legal in XML, and able to reorder or hide text in a browser). */
const INVISIBLE =
  // eslint-disable-next-line no-control-regex
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\ufffe\uffff]/g;

/** Escapes text for element content and quoted attributes; invisible controls become U+FFFD. */
export function escapeHtml(text: string): string {
  return text
    .replace(/\p{Surrogate}/gu, "\ufffd")
    .replace(INVISIBLE, "\ufffd")
    .replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character);
}

/** Declares markup as safe. Only for constants written in the source. */
export function raw(markup: string): Html {
  return new Html(markup);
}

function render(value: HtmlValue): string {
  if (value === null || value === undefined || value === false) return "";
  if (value instanceof Html) return value.markup;
  if (typeof value === "object") return value.map(render).join("");
  return escapeHtml(String(value));
}

/** `html\`<p>${name}</p>\``: markup with every value escaped. */
export function html(strings: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  // Indentation of the source is no part of the page.
  const parts = strings.map((part) => part.replace(/\n\s*/g, "\n"));
  let out = parts[0] ?? "";
  values.forEach((value, i) => {
    out += render(value) + (parts[i + 1] ?? "");
  });
  return new Html(out);
}

/** Light and dark from one set of names; charts use the same names (see svg.ts). */
const STYLE = `
:root {
  color-scheme: light dark;
  --paper: #ffffff; --panel: #f6f7f9; --ink: #1b2330; --quiet: #5b6675; --rule: #dfe3e8; --grid: #e8ebef;
  --series-1: #2458c6; --series-2: #c2560c; --series-3: #2f7d4f; --series-4: #8a4bb0;
  --series-5: #a33a52; --series-6: #4a6b7c; --good: #23703f; --warn: #9a5b00; --bad: #b0262f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #12161c; --panel: #1a2028; --ink: #e6eaf0; --quiet: #9aa5b4; --rule: #2d3541; --grid: #262d37;
    --series-1: #79a5ff; --series-2: #f5a25d; --series-3: #6cc48f; --series-4: #c99bea;
    --series-5: #ef8ea3; --series-6: #93b4c6; --good: #6cc48f; --warn: #e8b25a; --bad: #f2868c;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 64px; }
header p { margin: 4px 0 0; color: var(--quiet); }
h1 { font-size: 26px; line-height: 1.25; margin: 0; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { font-size: 18px; line-height: 1.3; margin: 44px 0 4px; }
h2 + p { margin: 0 0 14px; color: var(--quiet); max-width: 72ch; }
code, pre { font: 13px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
code { overflow-wrap: anywhere; }
pre { background: var(--panel); border: 1px solid var(--rule); border-radius: 8px; padding: 12px 16px;
  overflow-x: auto; margin: 8px 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 12px; margin: 28px 0 0; padding: 0; }
.tile { background: var(--panel); border: 1px solid var(--rule); border-radius: 10px; padding: 14px 16px; }
.tile dt { color: var(--quiet); font-size: 13px; }
.tile dd { margin: 2px 0 0; font-size: 23px; font-weight: 600; letter-spacing: -0.01em; font-variant-numeric: tabular-nums; }
.tile dd small { display: block; font-size: 13px; font-weight: 400; color: var(--quiet); letter-spacing: 0; }
figure { margin: 12px 0 0; overflow-x: auto; }
figure svg { display: block; width: 100%; min-width: 700px; height: auto; }
figure svg text { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: var(--ink);
  font-variant-numeric: tabular-nums; }
figure svg .label { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 11.5px; }
figure svg .quiet { fill: var(--quiet); }
figure svg .grid { stroke: var(--grid); } figure svg .axis { stroke: var(--quiet); }
figure svg .stripe { fill: var(--panel); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 5px 10px; border-bottom: 1px solid var(--rule); vertical-align: top; }
thead th { color: var(--quiet); font-weight: 500; white-space: nowrap; border-bottom-color: var(--quiet); }
tbody th { font-weight: 500; }
table.layers tbody th { min-width: 150px; overflow-wrap: anywhere; }
table.layers { font-size: 13px; } table.layers th, table.layers td { padding: 4px 8px; }
table.outcomes td:first-child { white-space: nowrap; }
td.n, th.n { text-align: right; white-space: nowrap; }
tr.muted { color: var(--quiet); }
.mark { white-space: nowrap; font-weight: 500; }
.mark.good { color: var(--good); } .mark.warn { color: var(--warn); } .mark.bad { color: var(--bad); }
.empty { color: var(--quiet); }
details > summary { cursor: pointer; }
footer { margin-top: 48px; padding-top: 14px; border-top: 1px solid var(--rule); color: var(--quiet); font-size: 13px; }
@media print { main { max-width: none; padding: 0; } figure, .tile { break-inside: avoid; } }
`;

const POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/**
 * Wraps a body into one self-contained page: works offline, carries no script and forbids any.
 *
 * @param options.style extra CSS, a constant of the caller (never text from a model).
 */
export function page(options: { title: string; body: Html; style?: string }): string {
  const style = raw(STYLE + (options.style ?? ""));
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta http-equiv="Content-Security-Policy" content="${POLICY}" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${options.title}</title>
        <style>
          ${style}
        </style>
      </head>
      <body>
        <main>${options.body}</main>
      </body>
    </html>`.markup;
}
