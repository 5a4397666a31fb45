import type { Exchange } from "../inputs.js";

export interface ModeInput {
  readonly exchange: Exchange;
  readonly threads: number;
}

export interface ModeResult {
  /** For people: a few lines, each figure beside its bar. */
  readonly text: string;
  /** For the JSON file. */
  readonly figures: unknown;
}

/** `12.3 (bar 20: met)`. */
export function beside(value: string, bar: string, met: boolean): string {
  return `${value} (bar ${bar}: ${met ? "met" : "MISSED"})`;
}
