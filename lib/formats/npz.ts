/** NumPy .npz files: a zip of .npy arrays, stored or deflated. */
import { unzipSync, zipSync, type UnzipFileInfo } from "fflate";
import { promises as fs } from "node:fs";
import { ArgumentError, expected, FormatError, OsculateError } from "../errors.js";
import { toIoError } from "../io/fs-errors.js";
import { encodeNpy, type NpyArray, parseNpy } from "./npy.js";

export interface NpzOptions {
  /** Bytes that all arrays together may take; default 4 GiB. A small zip can claim any size. */
  maxBytes?: number;
}

/** Deflate cannot do better; a larger claim is a lie. */
const MAX_RATIO = 1032;
const MAX_ENTRIES = 65535;
const STORED = 0;
const DEFLATED = 8;

/**
 * Reads a .npz file whole. See `parseNpz`.
 *
 * @throws IoError when the file cannot be read; FormatError.
 */
export async function readNpz(
  path: string,
  options: NpzOptions = {},
): Promise<Map<string, NpyArray>> {
  let bytes: Uint8Array;
  try {
    bytes = await fs.readFile(path);
  } catch (cause) {
    throw toIoError("readNpz", "read", path, cause);
  }
  return parseNpz(bytes, options);
}

/**
 * Decodes the arrays of a .npz file.
 *
 * @returns arrays by name (without ".npy"), in the order of the file.
 * @throws FormatError when it is no zip, holds anything but .npy arrays, or would take more than
 *   `maxBytes`; nothing is decompressed before all sizes are checked.
 */
export function parseNpz(bytes: Uint8Array, options: NpzOptions = {}): Map<string, NpyArray> {
  const { maxBytes = 2 ** 32 } = options;
  try {
    const seen = new Map<string, number>();
    let total = 0;
    unzipSync(bytes, {
      filter(entry) {
        checkEntry(entry, seen);
        total += entry.originalSize;
        if (total > maxBytes) fail(`at most ${maxBytes} bytes of arrays`, entry.name, total);
        return false;
      },
    });
    const arrays = new Map<string, NpyArray>();
    for (const [name, file] of Object.entries(unzipSync(bytes))) {
      const size = seen.get(name) ?? 0;
      if (file.length !== size) fail(`${size} bytes`, name, file.length);
      arrays.set(name.slice(0, -".npy".length), parseNpy(file));
    }
    return arrays;
  } catch (cause) {
    if (cause instanceof OsculateError) throw cause;
    throw new FormatError(`parseNpz: expected a zip of .npy arrays: ${String(cause)}`, { cause });
  }
}

function fail(what: string, name: string, received: unknown): never {
  throw new FormatError(expected("parseNpz", what, name, received));
}

function checkEntry(entry: UnzipFileInfo, seen: Map<string, number>): void {
  const { name, size, originalSize, compression } = entry;
  if (!name.endsWith(".npy")) fail("only .npy files", "the zip", name);
  if (seen.has(name)) fail("each name once", "the zip", name);
  if (seen.size >= MAX_ENTRIES) fail(`at most ${MAX_ENTRIES} files`, "the zip", seen.size + 1);
  seen.set(name, originalSize);
  if (compression !== STORED && compression !== DEFLATED) {
    fail("a stored or deflated file", name, `compression method ${compression}`);
  }
  const most = compression === STORED ? size : size * MAX_RATIO;
  if (!(originalSize <= most)) fail(`at most ${most} bytes`, name, originalSize);
}

/**
 * Encodes arrays as a .npz file; the same arrays give the same bytes.
 *
 * @param options.compress deflate instead of storing; default false.
 * @throws ArgumentError for an empty name or arrays above 4 GiB; see also `encodeNpy`.
 */
export function encodeNpz(
  arrays: ReadonlyMap<string, NpyArray>,
  options: { compress?: boolean } = {},
): Uint8Array {
  const files = Object.create(null) as Record<string, Uint8Array>;
  let total = 0;
  for (const [name, array] of arrays) {
    if (name === "") throw new ArgumentError(expected("encodeNpz", "a name", "arrays", name));
    const bytes = encodeNpy(array);
    files[`${name}.npy`] = bytes;
    total += bytes.length + 2 * name.length;
  }
  if (total > 0xffff_0000) {
    throw new ArgumentError(expected("encodeNpz", "less than 4 GiB", "arrays", `${total} bytes`));
  }
  // The earliest time a zip can hold, whatever the clock and the time zone say.
  return zipSync(files, { level: options.compress === true ? 6 : 0, mtime: new Date(1980, 0, 1) });
}
