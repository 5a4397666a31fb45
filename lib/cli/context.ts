/** Where a command prints and how it is stopped: the process by default, something else in tests. */

/** The part of a stream that commands use. */
export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}

export interface CliContext {
  readonly stdout: Output;
  readonly stderr: Output;
  readonly signal: AbortSignal;
}

/** A running command. One that ends without an exception may still set another exit code than 0. */
export interface CommandContext extends CliContext {
  exitCode: number;
}

/** Prints a line. */
export function print(output: Output, text = ""): void {
  output.write(text + "\n");
}
