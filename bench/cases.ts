import { gptq, roundToNearest } from "../lib/compress/index.js";
import type { QuantizeResult } from "../lib/compress/index.js";
import { inputGram } from "../lib/curvature/index.js";
import { Tensor } from "../lib/tensor/index.js";
import { type Exchange, makeActivations, makeWeights } from "./inputs.js";
import { matrixCase, matrixNames } from "./matrix-cases.js";
import { stepCase, stepNames } from "./step-cases.js";

export const timedNames = [
  "input_gram",
  "gptq",
  "gptq_desc_act",
  "rtn",
  ...stepNames,
  ...matrixNames,
] as const;
export type TimedName = (typeof timedNames)[number];

/** Calibration tokens of every Gram matrix, timed or not. */
export const tokens = 16384;
/** Block size of both sides; equal to the group size, so that the reference's grids see all updates. */
const blockSize = 128;
const quantization = { bits: 4, sym: true, scaleDtype: "float16", report: "none" } as const;
const gptqOptions = { ...quantization, groupSize: 128, dampPercent: 0.01, blockSize };
const rtnOptions = { ...quantization, groupSize: -1 };

export interface Shape {
  readonly out: number;
  readonly in: number;
}

/** A case ready to run: inputs in memory for osculate, in files for the peers. */
export interface Case {
  readonly name: TimedName;
  /** "OUTxIN". */
  readonly shape: string;
  readonly size: Shape;
  /** What server.py needs to make its peers. */
  readonly job: Record<string, unknown>;
  /** One run of osculate; what is timed. */
  run(): Promise<unknown>;
  /** Runs once more and writes the result where the peers can compare it. */
  writeResult(): Promise<Record<string, string>>;
  /** Milliseconds of a run with another `report`, where there is one. */
  withReport?: (report: "full" | "sampled") => Promise<unknown>;
  dispose(): void;
}

export function shapeText(size: Shape): string {
  return `${size.out}x${size.in}`;
}

export function shapesOf(name: TimedName): readonly Shape[] {
  const square = (n: number): Shape => ({ out: n, in: n });
  switch (name) {
    case "input_gram":
      return [square(768), square(4096)];
    case "gptq":
    case "gptq_desc_act":
      return [square(768), { out: 3072, in: 768 }, square(4096), { out: 11008, in: 4096 }];
    case "rtn":
      return [square(768), square(4096)];
    case "adahessian_step":
    case "sophia_step":
      return [{ out: 2500, in: 4000 }]; // 10 M parameters
    case "shampoo_roots":
      return [{ out: 2 * 1024, in: 1024 }];
    case "matrix_sqrt":
      return [{ out: 32 * 128, in: 128 }];
  }
}

function activations(exchange: Exchange, columns: number): [Tensor, string] {
  const x = makeActivations(tokens, columns);
  const name = `x-${columns}.f32`;
  const path = exchange.has(name) ? exchange.path(name) : exchange.write(name, x);
  return [Tensor.from(x, [tokens, columns], { borrow: true }), path];
}

function weights(exchange: Exchange, size: Shape): [Tensor, string] {
  const w = makeWeights(size.out, size.in);
  const name = `w-${shapeText(size)}.f32`;
  const path = exchange.has(name) ? exchange.path(name) : exchange.write(name, w);
  return [Tensor.from(w, [size.out, size.in], { borrow: true }), path];
}

/** H = 2/N X^T X of the activations, float32, the same numbers for both sides. */
const hessians = new Map<number, Float32Array>();
async function hessian(exchange: Exchange, columns: number): Promise<[Tensor, string]> {
  const name = `h-${columns}.f32`;
  let values = hessians.get(columns);
  if (values === undefined) {
    const x = Tensor.from(makeActivations(tokens, columns), [tokens, columns], { borrow: true });
    const gram = inputGram(columns);
    await gram.add(x);
    const matrix = await gram.matrix();
    values = Float32Array.from((await matrix.data()) as Float32Array | Float64Array);
    hessians.set(columns, values);
    exchange.write(name, values);
    for (const one of [x, gram, matrix]) one.dispose();
  }
  return [Tensor.from(values, [columns, columns], { borrow: true }), exchange.path(name)];
}

/** What the peers are told: the numbers of one layer. */
export async function makeLayer(
  exchange: Exchange,
  size: Shape,
): Promise<{ W: Tensor; H: Tensor; files: { w: string; h: string }; dispose: () => void }> {
  const [W, w] = weights(exchange, size);
  const [H, h] = await hessian(exchange, size.in);
  const dispose = () => {
    W.dispose();
    H.dispose();
  };
  return { W, H, files: { w, h }, dispose };
}

async function writeQuantized(
  exchange: Exchange,
  q: QuantizeResult,
): Promise<Record<string, string>> {
  const dense = q.dequantize();
  const files = {
    codes: exchange.write("codes.u8", q.codes),
    scales: exchange.write("scales.f32", q.scales),
    dequantized: exchange.write("dequantized.f32", await dense.data()),
  };
  dense.dispose();
  return files;
}

async function gramCase(exchange: Exchange, size: Shape): Promise<Case> {
  const [X, path] = activations(exchange, size.in);
  const run = async (): Promise<Tensor> => {
    const gram = inputGram(size.in);
    try {
      await gram.add(X);
      return await gram.matrix();
    } finally {
      gram.dispose();
    }
  };
  return Promise.resolve({
    name: "input_gram",
    shape: shapeText(size),
    size,
    job: { kind: "gram", in: size.in, tokens, x: path, peers: ["r", "b"] },
    run: async () => {
      (await run()).dispose();
    },
    writeResult: async () => {
      const matrix = await run();
      const values = Float32Array.from((await matrix.data()) as Float32Array | Float64Array);
      matrix.dispose();
      return { matrix: exchange.write("matrix.f32", values) };
    },
    dispose: () => {
      X.dispose();
    },
  });
}

async function gptqCase(exchange: Exchange, size: Shape, descAct: boolean): Promise<Case> {
  const { W, H, files, dispose } = await makeLayer(exchange, size);
  const options = { ...gptqOptions, descAct };
  const { bits, groupSize, sym, dampPercent } = options;
  return {
    name: descAct ? "gptq_desc_act" : "gptq",
    shape: shapeText(size),
    size,
    job: {
      kind: "gptq",
      ...size,
      ...files,
      peers: ["r", "b"],
      options: { bits, groupSize, sym, dampPercent, descAct, blockSize, halfScales: true },
    },
    run: () => gptq(W, H, options),
    withReport: (report) => gptq(W, H, { ...options, report }),
    writeResult: async () => writeQuantized(exchange, await gptq(W, H, options)),
    dispose,
  };
}

async function rtnCase(exchange: Exchange, size: Shape): Promise<Case> {
  const [W, path] = weights(exchange, size);
  return Promise.resolve({
    name: "rtn",
    shape: shapeText(size),
    size,
    job: { kind: "rtn", ...size, w: path, peers: ["r", "b"], options: { bits: rtnOptions.bits } },
    run: () => roundToNearest(W, rtnOptions),
    writeResult: async () => writeQuantized(exchange, await roundToNearest(W, rtnOptions)),
    dispose: () => {
      W.dispose();
    },
  });
}

export function makeCase(name: TimedName, size: Shape, exchange: Exchange): Promise<Case> {
  switch (name) {
    case "input_gram":
      return gramCase(exchange, size);
    case "gptq":
    case "gptq_desc_act":
      return gptqCase(exchange, size, name === "gptq_desc_act");
    case "rtn":
      return rtnCase(exchange, size);
    case "adahessian_step":
    case "sophia_step":
      return Promise.resolve(stepCase(name, size, shapeText(size), exchange));
    case "shampoo_roots":
    case "matrix_sqrt":
      return Promise.resolve(matrixCase(name, size, shapeText(size), exchange));
  }
}

/** The options every GPTQ measurement of this folder uses. */
export { gptqOptions };
