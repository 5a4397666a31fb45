/** Calibration samples in .npz and .safetensors files. */
import { ArgumentError, FormatError, ShapeError, expected } from "../errors.js";
import { readNpz, readSafetensors, type SafetensorsDType } from "../formats/index.js";
import { elementCount, type ElementArray } from "./element-types.js";
import type { ModelInput } from "./model-inputs.js";
import { sampleDetails } from "./sample-check.js";

/** An array of a file. `type` is what the file says, in onnxruntime's words where there is one. */
interface FileTensor {
  data: ElementArray;
  dims: readonly number[];
  type: string;
}

const SAFETENSORS_TYPES: Partial<Record<SafetensorsDType, string>> = {
  F16: "float16",
  F32: "float32",
  F64: "float64",
  I8: "int8",
  I16: "int16",
  I32: "int32",
  I64: "int64",
  U8: "uint8",
  U16: "uint16",
  U32: "uint32",
  U64: "uint64",
  BOOL: "bool",
};

export function isSampleFile(path: string): boolean {
  return /\.(npz|safetensors)$/.test(path);
}

/**
 * The batches of one file. Each array is one input, by name. The first axis counts samples: a file is cut
 * along it into batches of `batchSize`, or into what the model's inputs fix as their first dimension, or
 * not at all.
 *
 * @throws IoError, FormatError of the file; ShapeError when it has to be cut and its arrays do not have
 *   the same first dimension, or a fixed batch does not divide it.
 */
export async function* fileBatches(
  path: string,
  inputs: readonly ModelInput[],
  options: { batchSize?: number | undefined },
): AsyncGenerator<Record<string, FileTensor>> {
  const arrays = await readArrays(path);
  const fixed = fixedBatch(inputs);
  const size = options.batchSize ?? fixed;
  const samples = [...new Set([...arrays.values()].map(({ dims }) => dims[0]))];
  const [count] = samples;
  if (size === undefined || (samples.length === 1 && count === size)) {
    yield Object.fromEntries(arrays);
    return;
  }
  if (samples.length !== 1 || count === undefined) {
    throw new ShapeError(
      expected("calibration", "the same first dimension for all arrays", path, samples),
      { details: sampleDetails(undefined, { path }) },
    );
  }
  if (fixed !== undefined && count % fixed !== 0) {
    throw new ShapeError(expected("calibration", `a multiple of ${fixed} samples`, path, count), {
      details: sampleDetails(undefined, { path }),
    });
  }
  for (let start = 0; start < count; start += size) {
    const end = Math.min(start + size, count);
    yield Object.fromEntries(
      Array.from(arrays, ([name, array]) => [name, rows(array, start, end)]),
    );
  }
}

/** The first dimension that all inputs fix alike. */
function fixedBatch(inputs: readonly ModelInput[]): number | undefined {
  const firsts = new Set(inputs.map((input) => input.dims?.[0]));
  const [first] = firsts;
  return firsts.size === 1 && typeof first === "number" ? first : undefined;
}

function rows({ data, dims, type }: FileTensor, start: number, end: number): FileTensor {
  const row = elementCount(dims.slice(1));
  return {
    data: data.subarray(start * row, end * row),
    dims: [end - start, ...dims.slice(1)],
    type,
  };
}

async function readArrays(path: string): Promise<Map<string, FileTensor>> {
  const arrays = new Map<string, FileTensor>();
  if (path.endsWith(".npz")) {
    for (const [name, { data, shape, dtype }] of await readNpz(path).catch(namePath(path))) {
      arrays.set(name, { data, dims: shape, type: dtype });
    }
  } else {
    const file = await readSafetensors(path);
    try {
      for (const [name, { shape, dtype }] of file.entries) {
        const type = SAFETENSORS_TYPES[dtype] ?? dtype;
        arrays.set(name, { data: await file.read(name), dims: shape, type });
      }
    } finally {
      await file.close();
    }
  }
  if (arrays.size > 0) return arrays;
  throw new ArgumentError(expected("calibration", "at least one array", path, 0), {
    details: sampleDetails(undefined, { path }),
  });
}

/** Errors of the zip do not know where it came from. */
function namePath(path: string): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof FormatError)) throw error;
    throw new FormatError(`${error.message} in ${path}`, { details: { path }, cause: error });
  };
}
