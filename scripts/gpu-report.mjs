// Puts the steps of gpu-check.sh (standard input: "name status seconds reason") and the benchmark rows into one JSON object.
//   node scripts/gpu-report.mjs LOG_FOLDER DEVICE
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const [logs, device] = process.argv.slice(2);
const LAST_LINES = 15;

function lastLines(name) {
  const path = join(logs, `${name}.log`);
  if (!existsSync(path)) return [];
  return readFileSync(path, "utf8").trimEnd().split("\n").slice(-LAST_LINES);
}

function benchmark(name) {
  try {
    return JSON.parse(readFileSync(join(logs, `${name}.json`), "utf8"));
  } catch {
    return undefined; // the step did not run, or did not finish: its status says so
  }
}

const steps = readFileSync(0, "utf8")
  .trimEnd()
  .split("\n")
  .map((line) => {
    const [name, status, seconds, ...reason] = line.split(" ");
    if (status === "skipped") return { name, skipped: reason.join(" ") };
    const passed = status === "0";
    return { name, passed, exit: Number(status), seconds: Number(seconds), end: lastLines(name) };
  });
const report = { device, date: new Date().toISOString(), steps };
console.log(
  JSON.stringify({ ...report, osculate: benchmark("bench"), torch: benchmark("torch") }, null, 2),
);
