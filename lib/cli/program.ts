/** The command line as a function: arguments in, exit code out. */
import { Command, CommanderError } from "commander";
import { packageVersion } from "../binding/index.js";
import type { CliContext, CommandContext } from "./context.js";
import { errorText, EXIT_DONE, EXIT_USAGE, exitCodeOf } from "./exit-codes.js";
import { addInspect } from "./inspect.js";
import { addPlan } from "./plan.js";
import { addQuantize } from "./quantize.js";
import { addVerify } from "./verify.js";

const HELP = `
Start here:
  $ osculate inspect model.onnx                                  what is in it, what would change
  $ osculate plan model.onnx --group-size 32                     how large and how long
  $ osculate quantize model.onnx -o q.onnx --calibration c.mjs   do it
  $ osculate verify q.onnx                                       check the result
  $ osculate quantize --help                                     all options, with examples

Errors are one line on stderr; OSCULATE_DEBUG=1 adds the stack.`;

function build(context: CommandContext): Command {
  const program = new Command("osculate")
    .description("Second-order compression of neural networks.")
    .version(packageVersion(), "-V, --version", "print the version")
    .helpCommand("help [command]", "show help for a command")
    .addHelpText("after", HELP)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.stdout.write(text),
      writeErr: (text) => context.stderr.write(text),
      outputError: (text, write) => {
        write(text.replace(/^error: /, "osculate: "));
      },
    });
  for (const add of [addQuantize, addInspect, addVerify, addPlan]) add(program, context);
  for (const command of program.commands) {
    command.showHelpAfterError(`(osculate ${command.name()} --help shows the options)`);
  }
  return program;
}

/**
 * Run one command.
 *
 * @param args without node and script. @returns the exit code; nothing is thrown.
 */
export async function runCli(args: readonly string[], context: CliContext): Promise<number> {
  const running: CommandContext = { ...context, exitCode: EXIT_DONE };
  try {
    await build(running).parseAsync(args, { from: "user" });
    return running.exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_DONE : EXIT_USAGE;
    context.stderr.write(errorText(error) + "\n");
    if (args.includes("--json")) {
      const { message, code } = error as { message?: string; code?: string };
      context.stdout.write(JSON.stringify({ type: "error", code, message }) + "\n");
    }
    return exitCodeOf(error);
  }
}
