/** Tensors by name in a safetensors file: what weights, optimizer states and statistics are kept in. */
import type { Device } from "../binding/index.js";
import { FormatError } from "../errors.js";
import { type DType, Tensor } from "../tensor/index.js";
import { readSafetensors, type SafetensorsFile, writeSafetensors } from "./safetensors.js";
import type { SafetensorsDType } from "./safetensors-header.js";

const fileDTypes: Record<DType, SafetensorsDType> = {
  float32: "F32",
  float64: "F64",
  int32: "I32",
  uint8: "U8",
  float16: "F16",
  bfloat16: "BF16",
  int8: "I8",
  int64: "I64",
  bool: "BOOL",
};

/** Tensors by name, and strings that belong to them. The caller disposes the tensors. */
export interface NamedTensors {
  readonly tensors: ReadonlyMap<string, Tensor>;
  readonly metadata: ReadonlyMap<string, string>;
}

/**
 * Writes tensors of any device and layout, whole (temporary file, fsync, rename). Values are those at the time of the call:
 * work queued later does not change them.
 *
 * @throws ArgumentError for a name or metadata that is not valid Unicode; DisposedError; IoError
 */
export async function saveTensors(
  path: string,
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const rows = await Promise.all(
    Array.from(tensors, async ([name, tensor]) => {
      const row = {
        dtype: fileDTypes[tensor.dtype],
        shape: tensor.shape,
        data: await tensor.data(),
      };
      return [name, row] as const;
    }),
  );
  await writeSafetensors(path, new Map(rows), metadata);
}

/** A tensor of an open file. The caller disposes it. */
export async function readTensor(
  file: SafetensorsFile,
  name: string,
  device: Device = "cpu",
): Promise<Tensor> {
  const data = await file.read(name);
  const entry = file.entries.get(name);
  const dtype = Object.entries(fileDTypes).find(([, stored]) => stored === entry?.dtype)?.[0];
  if (entry === undefined || dtype === undefined) {
    throw new FormatError(
      `readTensor: ${file.path}: tensor ${name} has dtype ${entry?.dtype ?? "unknown"}, which no Tensor has`,
      { details: { path: file.path, name, dtype: entry?.dtype } },
    );
  }
  return Tensor.from(data as Uint8Array, entry.shape, { dtype: dtype as DType, device });
}

/**
 * Reads every tensor of a file.
 *
 * @throws FormatError when the file is malformed or holds a dtype that no Tensor has; IoError; DeviceError
 */
export async function loadTensors(path: string, device: Device = "cpu"): Promise<NamedTensors> {
  await using file = await readSafetensors(path);
  const tensors = new Map<string, Tensor>();
  try {
    for (const name of file.entries.keys()) tensors.set(name, await readTensor(file, name, device));
    return { tensors, metadata: file.metadata };
  } catch (error) {
    for (const tensor of tensors.values()) tensor.dispose();
    throw error;
  }
}
