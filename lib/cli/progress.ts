/** Shows a job while it runs: a bar below the rows on a terminal, plain lines in a pipe, JSON lines on request. */
import cliProgress from "cli-progress";
import type { JobEvent } from "../compress/job-types.js";
import { formatError, formatSeconds } from "../report/format.js";
import { printable, shorten } from "../report/table.js";
import { type CliContext, print } from "./context.js";
import { rowHeader, rowLayout, rowText } from "./row-text.js";

export interface ProgressView {
  onEvent(event: JobEvent): void;
  /** Takes the bar away. Safe to call twice. */
  stop(): void;
}

/** Every event is a line of JSON on stdout. */
export function jsonView({ stdout }: CliContext): ProgressView {
  return {
    onEvent: (event) => {
      print(stdout, JSON.stringify(event));
    },
    stop: () => undefined,
  };
}

/** For people. `names`: of the layers to come, for the width of the first column. */
export function textView(context: CliContext, names: readonly string[]): ProgressView {
  const { stdout, stderr } = context;
  const bar = stdout.isTTY === true ? terminalBar() : undefined;
  const out = (text: string): void => {
    if (bar === undefined) print(stdout, text);
    else bar.log(text);
  };
  let layout = rowLayout(names, names.length);
  let saidCalibrating = false;
  let saidHeader = false;
  return {
    onEvent: (event) => {
      switch (event.type) {
        case "plan": {
          layout = rowLayout(names, event.layers);
          const resumed = event.resumed > 0 ? `, ${event.resumed} of them done before` : "";
          out(`${event.layers} layers to quantize${resumed}; ${event.kept} stay as they are`);
          break;
        }
        case "calibration":
          if (event.done) {
            out(`calibrated on ${event.batches} ${event.batches === 1 ? "batch" : "batches"}`);
          } else if (bar !== undefined) {
            bar.show(`calibrating: batch ${event.batches}`, undefined);
          } else if (!saidCalibrating) {
            out("calibrating ...");
            saidCalibrating = true;
          }
          break;
        case "layer-start":
          bar?.show(printable(event.name), { done: event.index - 1, total: event.total });
          break;
        case "layer": {
          if (!saidHeader) out(rowHeader(layout));
          saidHeader = true;
          out(rowText(event.row, event.index, layout));
          const eta = event.etaSeconds;
          if (bar !== undefined) {
            bar.show(eta === undefined ? "" : `${formatSeconds(eta)} left`, {
              done: event.index,
              total: event.total,
            });
          }
          break;
        }
        case "check":
          if (event.check.kind === "compared") {
            out(
              `the written file agrees with its dequantized weights in onnxruntime (difference ${formatError(event.check.difference)} of the largest output, on ${event.check.sample === "calibration" ? "a calibration sample" : "made-up inputs"})`,
            );
          }
          break;
        case "warning":
          if (bar === undefined) print(stderr, `osculate: warning: ${printable(event.message)}`);
          else bar.log(`warning: ${printable(event.message)}`);
          break;
        default:
          event satisfies never;
      }
    },
    stop: () => {
      bar?.stop();
    },
  };
}

interface Bar {
  log(text: string): void;
  show(text: string, at: { done: number; total: number } | undefined): void;
  stop(): void;
}

function terminalBar(): Bar {
  const multi = new cliProgress.MultiBar(
    {
      stream: process.stdout,
      clearOnComplete: true,
      hideCursor: true,
      format: "{bar} {value}/{total}  {text}",
      barsize: 24,
      barCompleteChar: "█",
      barIncompleteChar: "░",
      gracefulExit: false, // our own signal handler finishes the job's clean-up first
    },
    cliProgress.Presets.shades_classic,
  );
  const bar = multi.create(1, 0, { text: "" });
  return {
    log: (text) => {
      multi.log(text + "\n");
    },
    show: (text, at) => {
      if (at !== undefined) bar.setTotal(at.total);
      bar.update(at?.done ?? 0, { text: shorten(text, 48) });
    },
    stop: () => {
      multi.update(); // lines that wait for the next redraw
      multi.stop();
    },
  };
}
