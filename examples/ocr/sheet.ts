/** The part of the demo's report that people look at first: pictures of lines and what was read. */
import { createCanvas } from "@napi-rs/canvas";
import { html, type Html } from "../../lib/report/html.js";
import { align } from "./align.js";
import type { LineReadings } from "./evaluate.js";
import type { Score } from "./metrics.js";
import { LINE_HEIGHT, type LineImage } from "./render.js";

/** A model in the sheet: its key in the scores and what people call it. */
export interface SheetModel {
  readonly key: string;
  readonly title: string;
  /** Whether its readings are shown, beside its scores. */
  readonly shown: boolean;
}

/** The style that `readingSection` needs. */
export const READING_STYLE = `
.readings { display: grid; gap: 18px; margin: 16px 0 0; padding: 0; list-style: none; }
.readings li { border: 1px solid var(--rule); border-radius: 10px; padding: 14px 16px; background: var(--panel); }
.readings img { display: block; max-width: 100%; height: 48px; border-radius: 4px; margin-bottom: 10px; }
.readings dl { display: grid; grid-template-columns: 150px 1fr; gap: 2px 12px; margin: 0; }
.readings dt { color: var(--quiet); font-size: 13px; }
.readings dd { margin: 0; font: 13.5px/1.6 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre-wrap; }
.wrong, .readings mark { background: none; color: var(--bad); font-weight: 700; text-decoration: underline; }
.missing, .readings del { color: var(--bad); opacity: .75; text-decoration: line-through; }
table.scores td.n, table.scores th.n { padding-left: 24px; }
`;

/** A table of the scores and, under it, lines as the models read them. */
export function readingSection(
  models: readonly SheetModel[],
  scores: Readonly<Record<string, Score>>,
  lines: readonly LineReadings[],
  lineCount: number,
): Html {
  const shown = models.filter((model) => model.shown);
  return html`<h2>Does it still read?</h2>
    <p>
      ${lineCount} lines of Moby Dick, drawn as a poor photocopy, none of them seen while
      calibrating. CER is the share of wrong characters; KL is how far the output distribution moved
      from the float32 model, the finest of the four measures.
    </p>
    ${scoreTable(models, scores, lineCount)}
    <h2>The first ${lines.length} of these lines</h2>
    <p>
      Wrong characters are <mark class="wrong">underlined</mark>, missing ones
      <del class="missing">struck through</del>.
    </p>
    <ol class="readings">
      ${lines.map((line) => lineItem(shown, line))}
    </ol>`;
}

function scoreTable(
  models: readonly SheetModel[],
  scores: Readonly<Record<string, Score>>,
  lineCount: number,
): Html {
  return html`<div class="scroll">
    <table class="scores">
      <thead>
        <tr>
          <th scope="col">model</th>
          <th scope="col" class="n">CER</th>
          <th scope="col" class="n">exact lines</th>
          <th scope="col" class="n">CTC loss a line</th>
          <th scope="col" class="n">KL a time step</th>
        </tr>
      </thead>
      <tbody>
        ${models.map(({ key, title }) => {
          const score = scores[key]!;
          return html`<tr>
            <th scope="row">${title}</th>
            <td class="n">${(100 * score.cer).toFixed(2)} %</td>
            <td class="n">${score.exact} of ${lineCount}</td>
            <td class="n">${score.ctc.toFixed(2)}</td>
            <td class="n">${score.kl.toFixed(4)}</td>
          </tr>`;
        })}
      </tbody>
    </table>
  </div>`;
}

function lineItem(models: readonly SheetModel[], line: LineReadings): Html {
  const { image, readings } = line;
  return html`<li>
    <img
      src="${dataUri(image)}"
      width="${image.width}"
      height="${LINE_HEIGHT}"
      alt="${image.text}"
    />
    <dl>
      <dt>truth</dt>
      <dd>${image.text}</dd>
      ${models.map(
        ({ key, title }) =>
          html`<dt>${title}</dt>
            <dd>${marked(image.text, readings[key] ?? "")}</dd>`,
      )}
    </dl>
  </li>`;
}

function marked(truth: string, reading: string): Html[] {
  return align(truth, reading).map(({ kind, text }) => {
    if (kind === "same") return html`${text}`;
    return kind === "wrong" ? html`<mark>${text}</mark>` : html`<del>${text}</del>`;
  });
}

/** The line as a picture inside the page: noise does not compress without loss, so it is a JPEG. */
function dataUri(image: LineImage): string {
  const canvas = createCanvas(image.width, LINE_HEIGHT);
  const context = canvas.getContext("2d");
  const picture = context.createImageData(image.width, LINE_HEIGHT);
  for (let i = 0; i < image.width * LINE_HEIGHT; i++) {
    for (let c = 0; c < 3; c++) picture.data[4 * i + c] = image.pixels[3 * i + c]!;
    picture.data[4 * i + 3] = 255;
  }
  context.putImageData(picture, 0, 0);
  return `data:image/jpeg;base64,${canvas.toBuffer("image/jpeg", 85).toString("base64")}`;
}
