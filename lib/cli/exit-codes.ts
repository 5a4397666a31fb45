/** What a failure means for the shell: 2 usage, 3 bad input, 4 numerical, 5 device or memory, 130 aborted. */
import { describe, OsculateError } from "../errors.js";

export const EXIT_DONE = 0;
export const EXIT_INTERNAL = 1;
export const EXIT_USAGE = 2;
export const EXIT_INPUT = 3;
export const EXIT_NUMERICAL = 4;
export const EXIT_DEVICE = 5;
export const EXIT_ABORTED = 130;

/** Failures of the JavaScript engine and of the system that mean "not enough memory". */
const MEMORY = /Array buffer allocation failed|Invalid typed array length|out of memory|ENOMEM/i;

export function exitCodeOf(error: unknown): number {
  if (!(error instanceof OsculateError)) {
    const text = error instanceof Error ? `${error.name} ${error.message}` : String(error);
    return MEMORY.test(text) ? EXIT_DEVICE : EXIT_INTERNAL;
  }
  switch (error.code) {
    case "ARGUMENT":
      // Calibration data are an input, however they were named on the command line.
      return error.details["reason"] === "calibration" ? EXIT_INPUT : EXIT_USAGE;
    case "SHAPE":
    case "DTYPE":
    case "DISPOSED":
    case "RECIPE":
    case "FORMAT":
    case "IO":
    case "LOCKED":
      return EXIT_INPUT;
    case "NOT_POSITIVE_DEFINITE":
    case "NOT_CONVERGED":
    case "SINGULAR":
    case "NON_FINITE":
    case "NO_TOKENS":
      return EXIT_NUMERICAL;
    case "DEVICE_UNAVAILABLE":
    case "UNSUPPORTED_ON_DEVICE":
    case "OUT_OF_MEMORY":
    case "BINDING":
      return EXIT_DEVICE;
    case "ABORTED":
      return EXIT_ABORTED;
    case "INTERNAL":
      return EXIT_INTERNAL;
    default:
      return error.code satisfies never;
  }
}

/** The one message of a failure; with OSCULATE_DEBUG set, the stack and every cause as well. */
export function errorText(error: unknown): string {
  const debug = (process.env["OSCULATE_DEBUG"] ?? "") !== "";
  if (!(error instanceof Error)) return `osculate: ${String(error)}`;
  if (debug) return `osculate: ${stackText(error)}`;
  if (error instanceof OsculateError) return `osculate: ${error.message}`;
  return `osculate: ${error.message} (${error.name}; set OSCULATE_DEBUG=1 for the stack)`;
}

function stackText(error: Error): string {
  const own = error.stack ?? error.message;
  if (error.cause === undefined) return own;
  const cause = error.cause instanceof Error ? stackText(error.cause) : describe(error.cause);
  return `${own}\ncaused by: ${cause}`;
}
