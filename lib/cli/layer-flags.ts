/** Flags that several commands share: how layers are quantized. */
import { type Command, InvalidArgumentError, Option } from "commander";
import type { PrepareOptions } from "../compress/job-prepare.js";

/** What commander gives for the flags of `addLayerFlags`. */
export interface LayerFlags {
  readonly method?: "gptq" | "rtn";
  readonly bits?: string;
  readonly groupSize?: number;
  readonly sym?: boolean;
  readonly descAct?: boolean;
  readonly staticGroups?: boolean;
  readonly dampPercent?: number;
  readonly mse?: boolean;
  readonly blockSize?: number;
  readonly sequential?: boolean;
  readonly recipe?: string;
}

/** Parses an integer within bounds. */
export function integer(low: number, high = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== "" && Number.isInteger(value) && value >= low && value <= high)
      return value;
    const range = high === Number.MAX_SAFE_INTEGER ? `>= ${low}` : `from ${low} to ${high}`;
    throw new InvalidArgumentError(`It takes an integer ${range}.`);
  };
}

function groupSize(text: string): number {
  const value = Number(text);
  if (value === -1 || (Number.isInteger(value) && value >= 1)) return value;
  throw new InvalidArgumentError("It takes -1 (one group a row) or an integer >= 1.");
}

function fraction(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && value >= 0 && value <= 1) return value;
  throw new InvalidArgumentError("It takes a number from 0 to 1, such as 0.01.");
}

/** Adds the flags; none has a default here, so that a recipe's own options hold where none is given. */
export function addLayerFlags(command: Command): Command {
  return command
    .addOption(
      new Option(
        "--method <name>",
        "gptq: second order, needs calibration; rtn: plain rounding (default: gptq)",
      ).choices(["gptq", "rtn"]),
    )
    .addOption(
      new Option("--bits <n>", "bits per weight; 2 and 3 are stored in 4 (default: 4)").choices([
        "2",
        "3",
        "4",
        "8",
      ]),
    )
    .option(
      "--group-size <n>",
      "columns that share a scale; -1: the whole row (default: 128)",
      groupSize,
    )
    .option("--sym", "symmetric grid (default)")
    .option("--no-sym", "asymmetric grid: a zero point per group")
    .option("--desc-act", "quantize columns by falling activation ('act-order')")
    .option("--no-desc-act", "in the order they stand (default)")
    .option("--static-groups", "take all scales from the original weights")
    .option(
      "--damp-percent <x>",
      "damping, as a fraction of the mean diagonal (default: 0.01)",
      fraction,
    )
    .option("--mse", "search each scale for the least error")
    .option("--block-size <n>", "columns per lazy update; speed only (default: 128)", integer(1))
    .option("--sequential", "calibrate each layer on what the quantized part before it produces")
    .option("--no-sequential", "calibrate all layers in one pass (default)")
    .option("--recipe <file>", "YAML or JSON: options, and an ordered list of rules per layer");
}

/** The options of a job that the flags name. */
export function layerOptions(flags: LayerFlags): Omit<PrepareOptions, "model"> {
  const { bits, sequential, method, recipe, descAct, staticGroups, dampPercent } = flags;
  return {
    method,
    bits: bits === undefined ? undefined : (Number(bits) as 2 | 3 | 4 | 8),
    groupSize: flags.groupSize,
    sym: flags.sym,
    descAct,
    staticGroups,
    dampPercent,
    mse: flags.mse,
    blockSize: flags.blockSize,
    trueSequential: sequential,
    recipe,
  };
}
