/**
 * Tensors whose bytes live in another file. A model may only name regular files inside its own folder:
 * no absolute path, no way out by `..`, and no symbolic link that leads out.
 */
import { closeSync, constants, fstatSync, openSync, readSync, realpathSync } from "node:fs";
import { dirname, isAbsolute, relative, resolve, sep, win32 } from "node:path";
import { FormatError } from "../../errors.js";
import type { TensorProto } from "./onnx_pb.js";

/** `data_location` EXTERNAL. */
const EXTERNAL = 1;

/** Where the bytes of an external tensor are. */
export interface ExternalPlace {
  /** The file, with every link resolved. */
  file: string;
  offset: number;
  length: number;
}

export function isExternal(tensor: TensorProto): boolean {
  return tensor.dataLocation === EXTERNAL;
}

/**
 * Resolves and checks the place of an external tensor; reads no data.
 *
 * @param modelPath the path of the .onnx file.
 * @throws FormatError with `details.reason` "external-missing", "external-outside",
 *   "external-bounds" or "external-entry".
 */
export function externalPlace(modelPath: string, tensor: TensorProto): ExternalPlace {
  const refuse = (reason: string, why: string): FormatError =>
    new FormatError(
      `readOnnx: expected external data inside the folder of ${modelPath} for tensor ` +
        `${JSON.stringify(tensor.name)} but ${why}`,
      { details: { reason, tensor: tensor.name, path: modelPath } },
    );
  const entries = new Map(tensor.externalData.map(({ key, value }) => [key, value]));
  const location = entries.get("location") ?? "";
  const offset = wholeNumber(entries.get("offset") ?? "0");
  const lengthEntry = entries.get("length");
  const length = lengthEntry === undefined ? undefined : wholeNumber(lengthEntry);
  if (location === "" || location.includes("\0")) {
    throw refuse("external-entry", "its location is empty or not a path");
  }
  if (offset === undefined || (lengthEntry !== undefined && length === undefined)) {
    throw refuse("external-entry", "its offset or length is not a whole number");
  }
  const shown = JSON.stringify(location.slice(0, 200));
  if (modelPath === "") throw refuse("external-missing", "the model was not read from a file");
  const folder = dirname(resolve(modelPath));
  if (
    isAbsolute(location) ||
    win32.isAbsolute(location) ||
    !inside(folder, resolve(folder, location))
  ) {
    throw refuse("external-outside", `${shown} is outside`);
  }
  let file: string;
  let size: number;
  try {
    file = realpathSync(resolve(folder, location));
    if (!inside(realpathSync(folder), file)) {
      throw refuse("external-outside", `${shown} is a link that leads outside`);
    }
    const opened = openRegular(file);
    size = opened.size;
    closeSync(opened.fd);
  } catch (cause) {
    if (cause instanceof FormatError) throw cause;
    throw refuse("external-missing", `${shown} is missing or cannot be read`);
  }
  const available = size - offset;
  if (available < 0 || (length ?? 0) > available) {
    throw refuse(
      "external-bounds",
      `bytes ${offset} to ${offset + (length ?? 0)} are asked of ${shown}, which has ${size}`,
    );
  }
  return { file, offset, length: length ?? available };
}

/** Reads the bytes of a place that `externalPlace` gave. */
export function readExternal({ file, offset, length }: ExternalPlace): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  const { fd } = openRegular(file);
  try {
    let done = 0;
    while (done < length) {
      // One call reads less than 2 GiB.
      const read = readSync(fd, bytes, done, Math.min(length - done, 2 ** 30), offset + done);
      if (read === 0) {
        throw new FormatError(`readOnnx: expected ${length} bytes for ${file} but it ended early`, {
          details: { reason: "external-bounds", path: file },
        });
      }
      done += read;
    }
  } finally {
    closeSync(fd);
  }
  return bytes;
}

/** Opens without following a link that appeared meanwhile; a pipe or a device would block or never end. */
function openRegular(file: string): { fd: number; size: number } {
  const fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const stat = fstatSync(fd);
  if (!stat.isFile()) {
    closeSync(fd);
    throw new Error("not a regular file");
  }
  return { fd, size: stat.size };
}

function inside(folder: string, file: string): boolean {
  const path = relative(folder, file);
  return path !== "" && path !== ".." && !path.startsWith(`..${sep}`) && !isAbsolute(path);
}

function wholeNumber(text: string): number | undefined {
  if (!/^\d{1,16}$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}
