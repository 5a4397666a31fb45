/** The file of a gram: safetensors with the exact state, so that a loaded gram goes on to the same bits. */
import type { Device } from "../binding/index.js";
import { FormatError } from "../errors.js";
import {
  readSafetensors,
  type SafetensorsFile,
  type SafetensorsTensor,
  writeSafetensors,
} from "../formats/safetensors.js";
import { findNonFinite } from "../ops/find-non-finite.js";
import { GRAM_CHUNK, GRAM_FLOAT64_COLUMNS, accumulateInputGram } from "../ops/input-gram.js";
import { setAccumulator } from "../ops/gram-matrix.js";
import { Tensor } from "../tensor/index.js";
import { GramState } from "./gram-state.js";

const KIND = "osculate.input_gram";
const VERSION = "1";

/** Writes one group's state: the accumulator (its lower half counts) and the rows staged. */
export async function saveGram(path: string, state: GramState, group: number): Promise<void> {
  const { inFeatures: n, count } = state; // now: more may be added while the data is read
  const { buffers, dispose } = state.buffers(group);
  const staged = buffers.staging.slice(0, 0, buffers.staged);
  try {
    const [sum, rows] = await Promise.all([buffers.accumulator.data(), staged.data()]);
    const tensors: [string, SafetensorsTensor][] = [
      ["accumulator", { dtype: fileDType(n), shape: [n, n], data: sum }],
      ["staging", { dtype: "F32", shape: [buffers.staged, n], data: rows }],
    ];
    const metadata = { kind: KIND, version: VERSION, count: String(count) };
    await writeSafetensors(path, new Map(tensors), metadata);
  } finally {
    staged.dispose();
    dispose();
  }
}

/** Reads what `saveGram` wrote. The caller disposes the state. */
export async function loadGram(path: string, device: Device): Promise<GramState> {
  const file = await readSafetensors(path);
  try {
    const { n, count } = checkFile(file);
    using sums = await finiteTensor(file, "accumulator", device);
    using rows = await finiteTensor(file, "staging", device);
    const state = new GramState(1, n, device);
    try {
      const { buffers, dispose } = state.buffers(0);
      try {
        await setAccumulator(buffers, sums);
        // Fewer rows than a chunk: they are staged, nothing is multiplied.
        state.staged = await accumulateInputGram("InputGram.load", rows, buffers);
      } finally {
        dispose();
      }
      state.count = count;
      return state;
    } catch (error) {
      state.dispose();
      throw error;
    }
  } finally {
    await file.close();
  }
}

function fileDType(n: number): "F32" | "F64" {
  return n <= GRAM_FLOAT64_COLUMNS ? "F64" : "F32";
}

function refuse(path: string, reason: string): never {
  throw new FormatError(`InputGram.load: ${path} is not a saved gram: ${reason}`, {
    details: { path, reason },
  });
}

function checkFile({ path, metadata, entries }: SafetensorsFile): { n: number; count: number } {
  const kind = metadata.get("kind");
  if (kind !== KIND) refuse(path, `its kind is ${kind ?? "not given"}, not ${KIND}`);
  const version = metadata.get("version");
  if (version !== VERSION)
    refuse(path, `its version is ${version ?? "not given"}, this osculate reads ${VERSION}`);
  const text = metadata.get("count") ?? "";
  const count = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(count))
    refuse(path, `its count is ${JSON.stringify(text)}`);
  const n = entries.get("accumulator")?.shape[0] ?? 0;
  const wanted = {
    accumulator: { dtype: fileDType(n), shape: [n, n] },
    staging: { dtype: "F32", shape: [count % GRAM_CHUNK, n] },
  };
  for (const [name, { dtype, shape }] of Object.entries(wanted)) {
    const entry = entries.get(name);
    if (entry?.dtype === dtype && entry.shape.join() === shape.join()) continue;
    const found = entry ? `${entry.dtype} [${entry.shape.join(", ")}]` : "missing";
    refuse(path, `${name} is ${found}, not ${dtype} [${shape.join(", ")}]`);
  }
  return { n, count };
}

async function finiteTensor(file: SafetensorsFile, name: string, device: Device): Promise<Tensor> {
  const data = (await file.read(name)) as Float32Array | Float64Array;
  const tensor = Tensor.from(data, file.entries.get(name)?.shape, { device });
  const { count } = await findNonFinite(tensor);
  if (count === 0) return tensor;
  tensor.dispose();
  return refuse(file.path, `${name} has ${count} NaN or Inf`);
}
