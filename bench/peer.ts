import { spawn, type ChildProcess } from "node:child_process";
import { createInterface, type Interface } from "node:readline";
import { join } from "node:path";

/** How a peer's process allocates: PyTorch is measured both ways, and the faster one counts. */
export type Allocator = "default" | "kept";

/** A heap that keeps what is freed: large blocks come from the heap, and the heap is never given back. */
const keptHeap = {
  MALLOC_MMAP_THRESHOLD_: String(2 ** 32),
  MALLOC_TRIM_THRESHOLD_: String(2 ** 40),
  MALLOC_TOP_PAD_: String(2 ** 26),
  MALLOC_ARENA_MAX: "1",
};

export interface TorchInfo {
  readonly torch: string;
  readonly blas: string;
}

type Reply = Record<string, unknown>;

/** One Python process of bench/peers/server.py. It answers one request at a time and sleeps between them. */
export class Peer {
  #lines: Interface;
  #waiting: { resolve: (reply: Reply) => void; reject: (error: Error) => void } | undefined;
  #ended: Error | undefined;
  #errors = "";

  private constructor(
    readonly allocator: Allocator,
    readonly child: ChildProcess,
  ) {
    this.#lines = createInterface({ input: child.stdout! });
    this.#lines.on("line", (line) => {
      const waiting = this.#waiting;
      this.#waiting = undefined;
      try {
        waiting?.resolve(JSON.parse(line) as Reply);
      } catch {
        waiting?.reject(new Error(`unexpected output of the peer: ${line}`));
      }
    });
    child.stderr!.on(
      "data",
      (text: Buffer) => (this.#errors = (this.#errors + String(text)).slice(-2000)),
    );
    const end = (reason: string) => {
      const last = this.#errors.trim().split("\n").at(-1) ?? "";
      this.#ended = new Error(last === "" ? reason : last);
      this.#waiting?.reject(this.#ended);
      this.#waiting = undefined;
    };
    child.on("error", (error) => {
      end(error.message);
    });
    child.on("close", (code, signal) => {
      end(`the peer ended with ${String(signal ?? code)}`);
    });
    child.stdin!.on("error", () => undefined);
  }

  /** Starts a process and asks what it runs on. Rejects when Python or torch is missing. */
  static async start(python: string, allocator: Allocator): Promise<[Peer, TorchInfo]> {
    const script = join(import.meta.dirname, "peers", "server.py");
    const env = {
      ...process.env,
      PYTHONDONTWRITEBYTECODE: "1",
      ...(allocator === "kept" ? keptHeap : {}),
    };
    const peer = new Peer(
      allocator,
      spawn(python, [script], { env, stdio: ["pipe", "pipe", "pipe"] }),
    );
    try {
      return [peer, (await peer.ask("hello")) as unknown as TorchInfo];
    } catch (error) {
      peer.stop();
      throw error;
    }
  }

  async ask(op: string, request: Reply = {}): Promise<Reply> {
    if (this.#ended) throw this.#ended;
    const reply = await new Promise<Reply>((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.child.stdin!.write(`${JSON.stringify({ op, ...request })}\n`);
    });
    if (typeof reply["error"] === "string") throw new Error(`peer: ${op}: ${reply["error"]}`);
    return reply;
  }

  /** Milliseconds of each of `repeats` runs of the peer named. */
  async time(peer: string, threads: number, repeats: number): Promise<number[]> {
    return (await this.ask("time", { peer, threads, repeats }))["ms"] as number[];
  }

  stop(): void {
    this.child.stdin?.end();
    this.child.kill();
    this.#lines.close();
  }
}

export interface Peers {
  /** Empty when there is no PyTorch. */
  readonly processes: readonly Peer[];
  readonly torch: TorchInfo | undefined;
  /** Why there is none. */
  readonly missing: string | undefined;
}

/** One process per allocator setting, in `$OSCULATE_BENCH_PYTHON`, else `python3`. */
export async function startPeers(): Promise<Peers> {
  const python = process.env["OSCULATE_BENCH_PYTHON"] ?? "python3";
  const processes: Peer[] = [];
  try {
    let torch: TorchInfo | undefined;
    for (const allocator of ["default", "kept"] as const) {
      const [peer, info] = await Peer.start(python, allocator);
      processes.push(peer);
      torch = info;
    }
    return { processes, torch, missing: undefined };
  } catch (error) {
    for (const peer of processes) peer.stop();
    return { processes: [], torch: undefined, missing: (error as Error).message };
  }
}
