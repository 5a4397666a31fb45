import { writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { setThreads } from "../lib/binding/index.js";
import { textTable } from "../lib/report/table.js";
import { floorBar, ratioBar } from "./bars.js";
import { type Case, type TimedName, makeCase, shapeText, shapesOf, timedNames } from "./cases.js";
import { type Peak, measurePeak } from "./floor.js";
import { Exchange } from "./inputs.js";
import { describeMachine } from "./machine.js";
import { type Detail, type Row, measureCase } from "./measure.js";
import { busy } from "./modes/busy.js";
import { latency } from "./modes/latency.js";
import { overhead } from "./modes/overhead.js";
import { memory } from "./modes/memory.js";
import { type Peers, startPeers } from "./peer.js";
import { best, digits } from "./statistics.js";

const usage = `npm run bench [-- NAME...] [--threads 1,2] [--json FILE] [--shape OUTxIN,...] [--rounds N] [--wait-quiet SECONDS]

NAME  ${timedNames.join(", ")}: beside PyTorch (default: all of them)
      busy: gptq beside another busy process    memory: peak memory of a layer
      latency: event loop delay and time to abort
      overhead: an operation on one element
Peers run in $OSCULATE_BENCH_PYTHON, else python3, with torch. See bench/README.md.`;

const modes = { busy, memory, latency, overhead };
type ModeName = keyof typeof modes;

interface Wanted {
  readonly timed: readonly TimedName[];
  readonly modes: readonly ModeName[];
  readonly threads: readonly number[];
  readonly shapes: readonly string[] | undefined;
  readonly rounds: number | undefined;
  readonly patienceMs: number;
  readonly json: string | undefined;
}

function fail(message: string): never {
  console.error(`bench: ${message}\n\n${usage}`);
  process.exit(2);
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    fail(`expected a whole number from 1 for ${name} but received ${text}`);
  return value;
}

function parse(): Wanted {
  const text = { type: "string" } as const;
  const { values, positionals } = (() => {
    try {
      return parseArgs({
        options: {
          threads: text,
          json: text,
          shape: text,
          rounds: text,
          "wait-quiet": text,
          help: { type: "boolean" },
        },
        allowPositionals: true,
      });
    } catch (error) {
      return fail((error as Error).message);
    }
  })();
  if (values.help) {
    console.log(usage);
    process.exit(0);
  }
  const isTimed = (name: string): name is TimedName => timedNames.some((one) => one === name);
  const isMode = (name: string): name is ModeName => name in modes;
  for (const name of positionals) {
    if (!isTimed(name) && !isMode(name)) fail(`there is no bench named ${name}`);
  }
  return {
    timed: positionals.length === 0 ? timedNames : positionals.filter(isTimed),
    modes: positionals.filter(isMode),
    threads: (values.threads ?? "1,2").split(",").map((one) => positive("--threads", one)),
    shapes: values.shape?.split(","),
    rounds: values.rounds === undefined ? undefined : positive("--rounds", values.rounds),
    patienceMs:
      values["wait-quiet"] === undefined ? 0 : 1e3 * positive("--wait-quiet", values["wait-quiet"]),
    json: values.json,
  };
}

const oneMinuteLoad = (): number => loadavg()[0] ?? 0;

function printRows(rows: readonly Row[], details: readonly Detail[]): void {
  const right = (title: string) => ({ title, align: "right" as const });
  const columns = [
    { title: "name" },
    right("shape"),
    right("threads"),
    right("ms"),
    { title: "peer" },
    right("peer ms"),
    right("ratio"),
    right("bar"),
    right("floor ms"),
    right("x floor"),
    { title: "agrees" },
    right("runs"),
    { title: "heap" },
  ];
  const lines = rows.map((row, i) => {
    const detail = details[i]!;
    const name = row.name as TimedName;
    const bar = ratioBar(name, row.shape, row.threads, row.peer);
    const limit = floorBar(name, row.shape, row.threads);
    const met =
      bar === undefined || row.ratio === null ? "" : row.ratio >= bar ? " met" : " MISSED";
    const floorMet =
      limit === undefined || row.floorRatio === null
        ? ""
        : row.floorRatio <= limit
          ? " met"
          : " MISSED";
    const allocators = Object.entries(detail.peerBestMs).sort((a, b) => a[1] - b[1]);
    return [
      row.name,
      row.shape,
      String(row.threads),
      digits(row.ms),
      row.peer ?? "none",
      row.peerMs === null ? "" : digits(row.peerMs),
      row.ratio === null ? "" : `${row.ratio.toFixed(2)}x`,
      bar === undefined ? "" : `${bar}x${met}`,
      row.floorMs === null ? "" : digits(row.floorMs),
      row.floorRatio === null ? "" : `${row.floorRatio.toFixed(2)}${floorMet}`,
      row.agrees === null ? "" : row.agrees ? "yes" : "NO",
      `${detail.runs}/${detail.peerRuns}`,
      allocators[0]?.[0] ?? "",
    ];
  });
  console.log(textTable(columns, lines));
}

/** What the report of a layer costs beside `report: "none"`, which is what is timed. */
async function reportCost(
  benchCase: Case,
  threads: number,
  noneMs: number,
): Promise<string | undefined> {
  const run = benchCase.withReport;
  if (!run) return undefined;
  setThreads(threads);
  const time = async (report: "full" | "sampled"): Promise<number> => {
    const times: number[] = [];
    for (let i = 0; i < 3; ++i) {
      const start = performance.now();
      await run(report);
      times.push(performance.now() - start);
    }
    return best(times);
  };
  const cost = async (report: "full" | "sampled") =>
    `${report} +${digits(Math.max(0, (await time(report)) - noneMs))} ms`;
  return `${benchCase.name} ${benchCase.shape} ${threads} threads: none ${digits(noneMs)} ms, ${await cost("sampled")}, ${await cost("full")}`;
}

async function timeCases(wanted: Wanted, peers: Peers, exchange: Exchange) {
  const peaks = new Map<number, Peak | undefined>();
  for (const threads of wanted.threads) {
    const peak = await measurePeak(peers, threads, wanted.patienceMs);
    peaks.set(threads, peak);
    if (peak) {
      console.log(
        `peak at ${threads} threads: sgemm ${digits(peak.sgemm / 1e9)} GFLOP/s, dgemm ${digits(peak.dgemm / 1e9)} GFLOP/s` +
          (peak.copy > 0 ? `, copy ${digits(peak.copy / 1e9)} GB/s` : ""),
      );
    }
  }
  const rows: Row[] = [];
  const details: Detail[] = [];
  const costs: string[] = [];
  for (const name of wanted.timed) {
    for (const size of shapesOf(name)) {
      if (wanted.shapes && !wanted.shapes.includes(shapeText(size))) continue;
      const benchCase = await makeCase(name, size, exchange);
      for (const peer of peers.processes) await peer.ask("load", benchCase.job);
      for (const threads of wanted.threads) {
        const options = {
          threads,
          rounds: wanted.rounds,
          patienceMs: wanted.patienceMs,
          load: oneMinuteLoad,
        };
        const found = await measureCase(benchCase, peers, peaks.get(threads), options);
        rows.push(...found.rows);
        details.push(...found.details);
        for (const [i, row] of found.rows.entries()) {
          const against =
            row.ratio === null ? "no peer" : `${row.ratio.toFixed(2)}x of ${String(row.peer)}`;
          const agreement = found.details[i]?.agreement ?? "";
          console.error(
            `${name} ${row.shape} ${threads} threads: ${digits(row.ms)} ms, ${against}; ${agreement}`,
          );
        }
        const cost = await reportCost(benchCase, threads, found.rows[0]!.ms);
        if (cost !== undefined) costs.push(cost);
      }
      benchCase.dispose();
      globalThis.gc?.();
    }
  }
  console.log();
  printRows(rows, details);
  if (costs.length > 0) console.log(`\ncost of the report:\n${costs.join("\n")}`);
  return { rows, details, peaks: Object.fromEntries(peaks) };
}

async function main(): Promise<void> {
  const wanted = parse();
  const needPeers = wanted.timed.length > 0;
  const peers: Peers = needPeers
    ? await startPeers()
    : { processes: [], torch: undefined, missing: "not needed" };
  const exchange = new Exchange();
  try {
    const machine = describeMachine(peers);
    console.log(
      `${machine.cpu}, ${machine.cores} cores, load ${machine.load.map((one) => one.toFixed(2)).join(" ")}\n` +
        `osculate ${machine.commit?.slice(0, 10) ?? "(no commit)"}${machine.dirty ? " with changes" : ""}, ${machine.codePath}, ${machine.blas}`,
    );
    if (needPeers) {
      console.log(
        peers.torch
          ? `peers: torch ${peers.torch.torch} (${peers.torch.blas})`
          : `No peers: torch could not be loaded (${peers.missing ?? ""}). Name a Python that has it in OSCULATE_BENCH_PYTHON.`,
      );
    }
    const result: Record<string, unknown> = { ...machine };
    if (needPeers) Object.assign(result, await timeCases(wanted, peers, exchange));
    for (const name of wanted.modes) {
      console.log(`\n${name}`);
      const threads = Math.max(...wanted.threads);
      const found = await modes[name]({ exchange, threads });
      console.log(found.text);
      result[name] = found.figures;
    }
    if (wanted.json !== undefined) {
      writeFileSync(
        wanted.json,
        `${JSON.stringify({ ...result, loadAtEnd: loadavg() }, null, 2)}\n`,
      );
    }
  } finally {
    for (const peer of peers.processes) peer.stop();
    exchange.remove();
  }
}

await main();
