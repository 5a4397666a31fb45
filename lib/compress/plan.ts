/** What a job would do and cost, before any work. */
import { availableParallelism } from "node:os";
import { inputGram } from "../curvature/index.js";
import type { QuantizableLayer } from "../graph/layers.js";
import { Tensor } from "../tensor/index.js";
import { gptq } from "./gptq.js";
import { prepare, type Prepared, type PrepareOptions } from "./job-prepare.js";
import {
  denseBytes,
  gramBytes,
  gramFlops,
  gramKey,
  quantizeFlops,
  storedBytes,
  workBytes,
} from "./layer-cost.js";
import { type Assignment, recipeText } from "./recipe.js";

export interface PlanOptions extends PrepareOptions {
  /** Calibration tokens (rows of activations) per layer that times are for. Default 8192. */
  readonly tokens?: number | undefined;
  /** Measure this machine, in well under a second; else no seconds. Default true. */
  readonly measure?: boolean | undefined;
}

export interface PlanRow {
  readonly name: string;
  readonly op: string;
  readonly rows: number;
  readonly columns: number;
  readonly groups: number;
  readonly parameters: number;
  readonly status: "quantize" | "keep" | "impossible";
  /** Why it is kept, or why it cannot be written as asked. */
  readonly reason?: string;
  readonly rule?: number;
  readonly method: "gptq" | "rtn";
  readonly bits: number;
  readonly groupSize: number;
  readonly sym: boolean;
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  /** Of quantizing, and of the Gram matrix (0 where another layer makes the same one). */
  readonly flops: number;
  readonly gramFlops: number;
  /** Both; undefined when nothing was measured. */
  readonly seconds?: number;
  readonly memoryBytes: number;
}

export interface Plan {
  readonly model: string;
  readonly opset: number | undefined;
  readonly nodes: number;
  readonly recipe: string;
  readonly rows: readonly PlanRow[];
  readonly tokens: number;
  readonly peak?: MachinePeak;
  readonly totals: {
    readonly quantize: number;
    readonly keep: number;
    readonly impossible: number;
    readonly parameters: number;
    readonly quantizedParameters: number;
    /** Of the weights listed. */
    readonly bytesBefore: number;
    readonly bytesAfter: number;
    readonly flops: number;
    readonly seconds?: number;
    /** Native memory at most: all Gram matrices in one pass, those of one step with trueSequential. */
    readonly memoryBytes: number;
  };
}

/** What this machine was measured to do. */
export interface MachinePeak {
  readonly threads: number;
  /** Operations a second of Gram matrices, and of GPTQ on a layer. */
  readonly gramFlops: number;
  readonly quantizeFlops: number;
  /** Seconds that any call costs. */
  readonly overhead: number;
}

/**
 * Plan a job: which layer falls under which rule, its size before and after, its operations and the
 * seconds they take on this machine. Needs no calibration data and writes nothing.
 *
 * @throws IoError, FormatError, RecipeError as `quantizeOnnx`; what cannot be exported is in the rows.
 */
export async function planOnnx(options: PlanOptions): Promise<Plan> {
  const { tokens = 8192, measure = true } = options;
  const prepared = await prepare(options);
  const peak = measure ? await measurePeak() : undefined;
  const seen = new Set<string>();
  const rows = prepared.assignments.map((assignment) =>
    planRow(assignment, prepared, { tokens, peak, seen }),
  );
  const work = rows.filter(({ status }) => status === "quantize");
  const sum = (list: readonly PlanRow[], key: keyof PlanRow): number =>
    list.reduce((total, row) => total + Number(row[key] ?? 0), 0);
  const count = (status: PlanRow["status"]): number =>
    rows.filter((row) => row.status === status).length;
  return {
    model: options.model,
    opset: prepared.model.opset(),
    nodes: prepared.model.graph.node.length,
    recipe: recipeText(prepared.recipe),
    rows,
    tokens,
    ...(peak === undefined ? {} : { peak }),
    totals: {
      quantize: count("quantize"),
      keep: count("keep"),
      impossible: count("impossible"),
      parameters: sum(rows, "parameters"),
      quantizedParameters: sum(work, "parameters"),
      bytesBefore: sum(rows, "bytesBefore"),
      bytesAfter: sum(rows, "bytesAfter"),
      flops: sum(work, "flops") + sum(work, "gramFlops"),
      ...(peak === undefined ? {} : { seconds: sum(work, "seconds") }),
      memoryBytes: memory(prepared),
    },
  };
}

function planRow(
  assignment: Assignment<QuantizableLayer>,
  prepared: Prepared,
  known: { tokens: number; peak: MachinePeak | undefined; seen: Set<string> },
): PlanRow {
  const { layer, options, rule, skip } = assignment;
  const problem = prepared.problems.find((entry) => entry.layer === layer.name);
  const reason = skip ?? problem?.reason;
  const status = skip !== undefined ? "keep" : problem === undefined ? "quantize" : "impossible";
  const bytesBefore = denseBytes(layer);
  const base = {
    name: layer.name,
    op: layer.op,
    rows: layer.rows,
    columns: layer.columns,
    groups: layer.groups,
    parameters: layer.parameters,
    status,
    ...(reason === undefined ? {} : { reason }),
    ...(rule === undefined ? {} : { rule }),
    method: options.method,
    bits: options.bits,
    groupSize: options.groupSize,
    sym: options.sym,
    bytesBefore,
  } as const;
  if (status !== "quantize") {
    return { ...base, bytesAfter: bytesBefore, flops: 0, gramFlops: 0, memoryBytes: 0 };
  }
  const key = gramKey(layer);
  const shared = known.seen.has(key) || options.method === "rtn";
  if (options.method !== "rtn") known.seen.add(key);
  const flops = quantizeFlops(layer, options);
  const gram = shared ? 0 : gramFlops(layer, known.tokens);
  const { peak } = known;
  return {
    ...base,
    bytesAfter: storedBytes(layer, options, { opset: prepared.model.opset() }),
    flops,
    gramFlops: gram,
    ...(peak === undefined
      ? {}
      : {
          seconds:
            flops / peak.quantizeFlops + gram / peak.gramFlops + layer.groups * peak.overhead,
        }),
    memoryBytes: workBytes(layer) + (options.method === "rtn" ? 0 : gramBytes(layer)),
  };
}

function memory({ chosen, recipe }: Prepared): number {
  const grams = new Map<string, number>();
  let work = 0;
  for (const { layer, options } of chosen) {
    work = Math.max(work, workBytes(layer));
    if (options.method !== "rtn") grams.set(gramKey(layer), gramBytes(layer));
  }
  const sizes = [...grams.values()];
  const held =
    recipe.trueSequential === true ? Math.max(0, ...sizes) : sizes.reduce((a, b) => a + b, 0);
  return work + held;
}

/** Times a Gram matrix and a GPTQ layer of 512 columns; the better of two runs each. */
export async function measurePeak(): Promise<MachinePeak> {
  const size = 512;
  const tokens = 2048;
  const rows = 512;
  // Any numbers do; a fixed sequence keeps the measurement repeatable.
  const values = Float32Array.from(
    { length: tokens * size },
    (_, i) => ((i * 0.6180339887498949) % 1) - 0.5,
  );
  const X = Tensor.from(values, [tokens, size]);
  const W = Tensor.from(values.slice(0, rows * size), [rows, size]);
  const tiny = Tensor.from(values.slice(0, 64), [8, 8]);
  const gram = inputGram(size);
  const tinyGram = inputGram(8);
  try {
    await tinyGram.add(tiny);
    const gramSeconds = await best(async () => {
      await gram.add(X);
    });
    const run = async (weight: Tensor, matrix: typeof gram): Promise<void> => {
      await gptq(weight, matrix, { groupSize: -1, report: "none" });
    };
    const layerSeconds = await best(() => run(W, gram));
    const overhead = await best(() => run(tiny, tinyGram));
    const work = size ** 3 / 3 + rows * size ** 2;
    return {
      threads: availableParallelism(),
      gramFlops: (tokens * size ** 2) / gramSeconds,
      quantizeFlops: work / layerSeconds,
      overhead,
    };
  } finally {
    for (const thing of [X, W, tiny, gram, tinyGram]) thing.dispose();
  }
}

async function best(work: () => Promise<void>): Promise<number> {
  let least = Infinity;
  for (let round = 0; round < 3; round += 1) {
    const start = performance.now();
    await work();
    least = Math.min(least, (performance.now() - start) / 1000);
  }
  return least;
}
