import type { Device } from "../binding/index.js";
import { FormatError } from "../errors.js";
import { readSafetensors, writeSafetensors } from "../formats/safetensors.js";
import { GRAM_CHUNK } from "../ops/input-gram.js";
import { Tensor, nativeArray } from "../tensor/index.js";
import { callSync } from "../binding/index.js";
import { GramState } from "./gram-state.js";

const KIND = "osculate.input_gram";
const VERSION = "1";

/** Writes one group's state: the accumulator and the rows staged, so that a loaded gram goes on to the same bits. */
export async function saveGram(path: string, state: GramState, group: number): Promise<void> {
  const { buffers, dispose } = state.buffers(group);
  const staged = buffers.staging.slice(0, 0, buffers.staged);
  try {
    const [sum, rows] = await Promise.all([buffers.accumulator.data(), staged.data()]);
    const n = state.inFeatures;
    await writeSafetensors(
      path,
      new Map([
        [
          "accumulator",
          {
            dtype: sum instanceof Float64Array ? "F64" : "F32",
            shape: [n, n],
            data: sum,
          },
        ],
        ["staging", { dtype: "F32", shape: [buffers.staged, n], data: rows }],
      ]),
      { kind: KIND, version: VERSION, count: String(state.count) },
    );
  } finally {
    staged.dispose();
    dispose();
  }
}

/** Reads what `saveGram` wrote. */
export async function loadGram(path: string, device: Device): Promise<GramState> {
  const refuse = (reason: string): never => {
    throw new FormatError(`InputGram.load: ${path} is not a saved gram: ${reason}`, {
      details: { path, reason },
    });
  };
  const file = await readSafetensors(path);
  try {
    if (file.metadata.get("kind") !== KIND)
      refuse(`kind is ${file.metadata.get("kind") ?? "not given"}, not ${KIND}`);
    if (file.metadata.get("version") !== VERSION)
      refuse(`version ${file.metadata.get("version") ?? "missing"}, this library reads ${VERSION}`);
    const count = Number(file.metadata.get("count"));
    const [sum, rows] = [file.entries.get("accumulator"), file.entries.get("staging")];
    if (sum === undefined || rows === undefined) return refuse("accumulator or staging is missing");
    const n = sum.shape[0] ?? -1;
    const staged = rows.shape[0] ?? -1;
    const fits =
      sum.shape.length === 2 &&
      sum.shape[1] === n &&
      rows.shape.length === 2 &&
      rows.shape[1] === n;
    if (!fits || rows.dtype !== "F32") refuse("shapes or dtypes do not fit");
    if (!Number.isSafeInteger(count) || count < 0 || staged !== count % GRAM_CHUNK)
      refuse("count does not fit the rows staged");
    const state = new GramState(1, n, device);
    if (sum.dtype !== (state.accumulator.dtype === "float64" ? "F64" : "F32"))
      refuse(`accumulator is ${sum.dtype}`);
    copyInto(state.accumulator.reshape([n, n]), (await file.read("accumulator")) as Float64Array);
    copyInto(
      state.staging.reshape([GRAM_CHUNK, n]).slice(0, 0, staged),
      (await file.read("staging")) as Float32Array,
    );
    state.count = count;
    state.staged = staged;
    return state;
  } finally {
    await file.close();
  }
}

function copyInto(target: Tensor, source: Float64Array | Float32Array): void {
  const fn = "InputGram.load";
  callSync(fn, "convert", target.device, {
    x: nativeArray(source, target.dtype, target.shape),
    y: target.native(fn),
  });
  target.dispose();
}
