#!/usr/bin/env node
/** The executable: signals and streams of the process around `runCli`. */
import { EXIT_ABORTED } from "./exit-codes.js";
import { runCli } from "./program.js";

const abort = new AbortController();
const stop = (): void => {
  // The first signal lets the job put its things away; the second one does not wait.
  if (abort.signal.aborted) process.exit(EXIT_ABORTED);
  abort.abort();
};
process.on("SIGINT", stop);
process.on("SIGTERM", stop);
// `osculate inspect | head` closes our output early: that is no error.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
}

const { stdout, stderr } = process;
void runCli(process.argv.slice(2), { stdout, stderr, signal: abort.signal }).then((code) => {
  process.exitCode = code;
});
