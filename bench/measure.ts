import { setThreads } from "../lib/binding/index.js";
import { compare } from "./agreement.js";
import type { Case } from "./cases.js";
import { floorMs, type Peak } from "./floor.js";
import type { Peers } from "./peer.js";
import { waitForQuiet } from "./quiet.js";
import { best, median, sleep } from "./statistics.js";

/** One line of the result. These names are read by other tools: never rename them. */
export interface Row {
  readonly name: string;
  /** "OUTxIN". */
  readonly shape: string;
  readonly threads: number;
  /** Best of osculate's runs. */
  readonly ms: number;
  /** "r", "b", "f", or null without PyTorch. */
  readonly peer: string | null;
  /** Best of the peer's runs, over both allocator settings. */
  readonly peerMs: number | null;
  /** peerMs / ms. */
  readonly ratio: number | null;
  readonly floorMs: number | null;
  /** ms / floorMs. */
  readonly floorRatio: number | null;
  /** Whether both computed the same (agreement.ts); null without a peer, or with one that computes something else. */
  readonly agrees: boolean | null;
}

/** What is behind a row: how many runs, how far apart. */
export interface Detail {
  readonly name: string;
  readonly shape: string;
  readonly threads: number;
  readonly peer: string | null;
  readonly runs: number;
  readonly medianMs: number;
  readonly peerRuns: number;
  /** Best of each allocator setting. */
  readonly peerBestMs: Readonly<Record<string, number>>;
  readonly peerMedianMs: number | null;
  readonly agreement: string | null;
  /** One minute load average when the row was done. */
  readonly load: number;
}

/** Someone who runs the case: osculate, or one peer under one allocator setting. */
interface Contender {
  readonly times: number[];
  run(repeats: number): Promise<number[]>;
}

export interface RunOptions {
  readonly threads: number;
  /** Rounds; default: as many as fit the time budget, 3 to 25. */
  readonly rounds: number | undefined;
  /** How long to wait for a quiet machine before a visit, milliseconds; 0: do not wait. */
  readonly patienceMs: number;
  readonly load: () => number;
}

/** A contender is done after this long, if it had its least rounds. */
const budgetMs = 8000;
const leastRounds = 3;
const mostRounds = 25;
/** Short runs are repeated within a visit, so that caches and clocks are as warm for all. */
const visitMs = 60;
/** Between visits: spinning worker threads of the last contender go to sleep. */
const pauseMs = 30;

function ours(benchCase: Case): Contender {
  return {
    times: [],
    async run(repeats) {
      globalThis.gc?.();
      const found: number[] = [];
      for (let i = 0; i < repeats; ++i) {
        const start = performance.now();
        await benchCase.run();
        found.push(performance.now() - start);
      }
      return found;
    },
  };
}

/** Contenders take turns, so that a busy minute on the machine hits all of them. */
async function takeTurns(contenders: readonly Contender[], options: RunOptions): Promise<void> {
  const { rounds, patienceMs } = options;
  const spent = new Map<Contender, number>();
  for (let round = 0; round < (rounds ?? mostRounds); ++round) {
    for (const contender of contenders) {
      const used = spent.get(contender) ?? 0;
      if (rounds === undefined && round >= leastRounds && used > budgetMs) continue;
      await (patienceMs > 0 ? waitForQuiet(patienceMs) : sleep(pauseMs));
      const typical = contender.times.length > 0 ? best(contender.times) : Infinity;
      const repeats = Math.max(1, Math.min(10, Math.round(visitMs / typical)));
      const found = await contender.run(repeats);
      contender.times.push(...found);
      spent.set(contender, used + found.reduce((sum, one) => sum + one, 0));
    }
  }
}

/** Measures one case against all its peers, checks that they agree, and gives one row a peer. */
export async function measureCase(
  benchCase: Case,
  peers: Peers,
  peak: Peak | undefined,
  options: RunOptions,
): Promise<{ rows: Row[]; details: Detail[] }> {
  const { threads } = options;
  setThreads(threads);
  const names = peers.processes.length > 0 ? (benchCase.job["peers"] as string[]) : [];
  const us = ours(benchCase);
  const others = names.flatMap((name) =>
    peers.processes.map((process) => ({
      name,
      process,
      times: [] as number[],
      run: (repeats: number) => process.time(name, threads, repeats),
    })),
  );
  await takeTurns([us, ...others], options);

  const ms = best(us.times);
  const floor = floorMs(benchCase, peak);
  const common = { name: benchCase.name, shape: benchCase.shape, threads };
  const rows: Row[] = [];
  const details: Detail[] = [];
  const files = names.length > 0 ? await benchCase.writeResult() : {};
  for (const name of names.length > 0 ? names : [null]) {
    const mine = others.filter((other) => other.name === name);
    const peerTimes = mine.flatMap((other) => other.times);
    const peerMs = peerTimes.length > 0 ? best(peerTimes) : null;
    const agreement =
      mine[0] && name !== null ? await compare(benchCase, mine[0].process, name, files) : null;
    rows.push({
      ...common,
      ms,
      peer: name,
      peerMs,
      ratio: peerMs === null ? null : peerMs / ms,
      floorMs: floor,
      floorRatio: floor === null ? null : ms / floor,
      agrees: agreement?.agrees ?? null,
    });
    details.push({
      ...common,
      peer: name,
      runs: us.times.length,
      medianMs: median(us.times),
      peerRuns: peerTimes.length,
      peerBestMs: Object.fromEntries(
        mine.map((other) => [other.process.allocator, best(other.times)]),
      ),
      peerMedianMs: peerTimes.length > 0 ? median(peerTimes) : null,
      agreement: agreement?.text ?? null,
      load: options.load(),
    });
  }
  return { rows, details };
}
